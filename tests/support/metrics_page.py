"""docs/reference/metrics.md, written from the catalogue: `python -m tests.support.metrics_page --write`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from dicomrelay.metrics import catalogue
from dicomrelay.metrics.families import Family, Kind
from tests.support.markdown import ROOT

PAGE = ROOT / "docs" / "reference" / "metrics.md"
INTRODUCTION = """\
# Metrics

<!-- Written by `python -m tests.support.metrics_page --write` from dicomrelay/metrics/catalogue.py; a test compares them. -->

Every family that `/metrics` shows. [Watch it with Prometheus](../howto/prometheus.md) says how to ask for them, and has
rules and a dashboard; [how they are made](../design/metrics.md) is a page of its own. Flower's own families (`flower_…`)
follow them at Flower's port.

A histogram has `_bucket`, `_sum` and `_count`. `destination` is a name of the settings, or an address that a job gave;
`source` a calling AE title (of STOW-RS `streamer.stow.ae_title`). Where a label has a closed list of values, it stands
behind it. Of one family a process shows 256 series at most, what comes after them under `other`.

What is said to be from the ledger is of the moment of `dicomrelay_ledger_asked_timestamp_seconds`, which is
`metrics.refresh_seconds` ago at most.
"""
# The first family of each part, and its heading.
_PARTS = {
    catalogue.RECEIVED.name: "What arrives",
    catalogue.TASK_SECONDS.name: "Work in the house",
    catalogue.OUTCOMES.name: "What goes out",
    catalogue.WAITING.name: "Destinations, queues and stages at a moment",
    catalogue.SPOOL_ITEMS.name: "The host",
    catalogue.HTTP_SECONDS.name: "The streamer",
    catalogue.ALERTS.name: "What the relay tells by itself",
    catalogue.PROCESSES.name: "Processes",
}


def render() -> str:
    """The whole page."""
    return "".join([INTRODUCTION, *_rows()])


def _rows() -> Iterator[str]:
    for family in catalogue.FAMILIES.values():
        if family.name in _PARTS:
            yield f"\n## {_PARTS[family.name]}\n\n| family | kind | labels | is | written by |\n|---|---|---|---|---|\n"
        yield f"| `{family.name}` | {family.kind.value} | {_labels(family)} | {_meaning(family)} | {family.by} |\n"


def _labels(family: Family) -> str:
    shown = []
    for label in family.labels:
        values = ", ".join(family.values.get(label, ()))
        shown.append(f"`{label}`{f' ({values})' if values else ''}")
    return "<br>".join(shown)


def _meaning(family: Family) -> str:
    if family.kind is not Kind.HISTOGRAM:
        return family.help
    return f"{family.help} Bounds: {', '.join(f'{bound:g}' for bound in family.buckets)}"


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(render(), "utf-8")
    else:
        sys.stdout.write(render())
