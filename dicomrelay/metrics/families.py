"""What a metric is, as a value. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

OTHER: Final = "other"
_LONGEST_VALUE: Final = 64
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")

# Seconds: from an answer on loopback to one of a peer at its limit; from one task to a night's backlog.
ANSWER_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
WORK_S: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
JOURNEY_S: Final = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)


class Kind(StrEnum):
    """As the text format of Prometheus names them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Merge(StrEnum):
    """What becomes of a gauge that several processes show."""

    SUM = "sum"
    MAX = "max"


@dataclass(frozen=True, slots=True)
class Family:
    """A metric by its name.

    Attributes
    ----------
    name : str
        With its unit, and `_total` of a counter.
    help : str
        One line.
    labels : sequence of str
        In the order in which values are given.
    values : mapping
        Of labels whose values are a closed list, that list.
    buckets : sequence of float
        Upper bounds of a histogram, rising, without the infinite one.
    by : str
        Which processes write it.
    """

    name: str
    kind: Kind
    help: str
    labels: Sequence[str] = ()
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    buckets: Sequence[float] = ()
    merge: Merge = Merge.SUM
    by: str = ""

    @property
    def width(self) -> int:
        """How many figures a series of it has: of a histogram the counts of its buckets, the infinite one's, and the sum."""
        return len(self.buckets) + 2 if self.kind is Kind.HISTOGRAM else 1

    @property
    def sample_names(self) -> tuple[str, ...]:
        """The names under which its samples are shown."""
        if self.kind is Kind.HISTOGRAM:
            return tuple(f"{self.name}_{end}" for end in ("bucket", "sum", "count"))
        return (self.name,)


def clean(value: str) -> str:
    """A label's value as it may be shown: printable ASCII, 64 characters at most."""
    return _UNPRINTABLE.sub("?", value)[:_LONGEST_VALUE]
