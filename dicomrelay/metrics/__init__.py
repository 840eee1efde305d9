"""Figures of the relay for Prometheus: what there is, where a process writes it, how it is gathered and shown.

Of the lowest layer, and of nothing but the standard library: the gateway's way to an answer goes through it.
See docs/design/metrics.md.
"""

from dicomrelay.metrics.families import Family, Kind, Merge
from dicomrelay.metrics.recorder import add, begin, level, levels, observe

__all__ = ["Family", "Kind", "Merge", "add", "begin", "level", "levels", "observe"]
