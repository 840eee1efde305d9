"""How full a spool is."""

from __future__ import annotations

import os
from dataclasses import dataclass

from dicomrelay.spool.items import count_items
from dicomrelay.spool.layout import Layout


@dataclass(frozen=True, slots=True)
class SpoolUsage:
    """How full the spool is: items by folder, bytes of their files, bytes free on the file system."""

    new: int
    kept: int
    aside: int
    corrupt: int
    bytes: int
    free_bytes: int
    bytes_estimated: bool = False  # from the sizes of some of the files


def usage_of(places: Layout, *, free_bytes: int, measured: int | None = None) -> SpoolUsage:
    """Count everything; it reads every folder of the spool.

    Parameters
    ----------
    free_bytes : int
        On its file system.
    measured : int, optional
        Ask about so many files for their size at most, and take the others to be like them; by default all.
    """
    buckets = [places.kept / name for name in os.listdir(places.kept)]
    each = None if measured is None else max(1, measured // (3 + len(buckets)))
    new, aside, corrupt, *kept = (
        count_items(folder, measured=each) for folder in (places.new, places.aside, places.corrupt, *buckets)
    )
    return SpoolUsage(
        new=new.items,
        kept=sum(bucket.items for bucket in kept),
        aside=aside.items,
        corrupt=corrupt.items,
        bytes=sum(folder.bytes for folder in (new, aside, corrupt, *kept)),
        free_bytes=free_bytes,
        bytes_estimated=any(folder.estimated for folder in (new, aside, corrupt, *kept)),
    )
