"""What was gathered, in the text format of Prometheus 0.0.4. No I/O.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from dicomrelay.metrics import catalogue
from dicomrelay.metrics.families import Family, Kind
from dicomrelay.metrics.gathering import Gathered

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def render(gathered: Gathered) -> str:
    """All families that have a series, in the catalogue's order."""
    series = gathered.by_family()
    return "".join(
        _family(family, series[name]) for name, family in catalogue.FAMILIES.items() if name in series
    )


def _family(family: Family, series: Mapping[tuple[str, ...], Sequence[float]]) -> str:
    lines = [f"# HELP {family.name} {_escaped(family.help)}", f"# TYPE {family.name} {family.kind.value}"]
    for labels, figures in series.items():
        lines += _samples(family, labels, figures)
    return "\n".join([*lines, ""])


def _samples(family: Family, labels: Sequence[str], figures: Sequence[float]) -> Iterator[str]:
    pairs = [f'{name}="{_quoted(value)}"' for name, value in zip(family.labels, labels, strict=True)]
    if family.kind is not Kind.HISTOGRAM:
        yield f"{family.name}{_braces(pairs)} {_number(figures[0])}"
        return
    below = 0.0
    for bound, count in zip([*map(_number, family.buckets), "+Inf"], figures, strict=False):
        below += count
        inside = [*pairs, f'le="{bound}"']
        yield f"{family.name}_bucket{_braces(inside)} {_number(below)}"
    yield f"{family.name}_sum{_braces(pairs)} {_number(figures[-1])}"
    yield f"{family.name}_count{_braces(pairs)} {_number(below)}"


def _braces(pairs: Sequence[str]) -> str:
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "+Inf" if value > 0 else "-Inf" if value < 0 else "NaN"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _quoted(value: str) -> str:
    return _escaped(value).replace('"', r"\"")


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n")
