"""Deflated data sets (PS3.5 Annex A.5): inflated once into a file of their own, so that frames can be addressed."""

from __future__ import annotations

import os
import shutil
import zlib
from pathlib import Path
from typing import Final

from archive.disk import CHUNK_BYTES, flush, new_file
from dicomrelay.errors import FramesNotAddressable, MalformedDataSet

# A stream of zeros deflates to a thousandth: what is announced by nobody is bounded by us.
MAX_INFLATED_BYTES: Final = 1024**3
MAX_RATIO: Final = 200
# So much a small data set may inflate to whatever the ratio: one plain image of zeros is no bomb.
FREE_OF_RATIO_BYTES: Final = 16 * 1024**2
# Left free for what matters more than frames; the smaller of the two.
RESERVE_BYTES: Final = 1024**3
RESERVE_SHARE: Final = 0.05


def largest_inflated(deflated_bytes: int) -> int:
    """How many bytes a deflated data set may inflate to."""
    return min(MAX_INFLATED_BYTES, MAX_RATIO * deflated_bytes + FREE_OF_RATIO_BYTES)


def inflate(source: Path, *, offset: int, target: Path, limit_bytes: int | None = None) -> int:
    """Inflate a file from `offset` on into a new file, flush it and return its size in bytes.

    Parameters
    ----------
    limit_bytes : int, optional
        How much it may inflate to; `largest_inflated` of its size when not given.

    Raises
    ------
    MalformedDataSet
        It is no deflated stream, is cut short, or inflates to more than `limit_bytes`. The target is then incomplete.
    FramesNotAddressable
        The disk would fall under its reserve. The target is then incomplete.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    total = 0
    with source.open("rb", buffering=0) as reader, new_file(target) as writer:
        if limit_bytes is None:
            limit_bytes = largest_inflated(os.fstat(reader.fileno()).st_size - offset)
        reader.seek(offset)
        while not inflater.eof:
            chunk = inflater.unconsumed_tail or reader.read(CHUNK_BYTES)
            try:
                data = inflater.decompress(chunk, CHUNK_BYTES)
            except zlib.error as error:
                raise MalformedDataSet(
                    f"the deflated data set is damaged: {error}", offset=reader.tell()
                ) from error
            if not chunk and not data and not inflater.eof:
                raise MalformedDataSet("the deflated data set is cut short", offset=reader.tell())
            total += len(data)
            if total > limit_bytes:
                raise MalformedDataSet(f"the data set inflates to more than {limit_bytes} bytes", offset=0)
            _keep_reserve(target.parent, len(data))
            writer.write(data)
        writer.flush()
        flush(writer.fileno())
    return total


def _keep_reserve(folder: Path, more_bytes: int) -> None:
    disk = shutil.disk_usage(folder)
    reserve = min(RESERVE_BYTES, int(RESERVE_SHARE * disk.total))
    if disk.free - more_bytes < reserve:
        raise FramesNotAddressable(
            f"there was no room to inflate the data set: {reserve} bytes of the disk stay free; "
            "make room and remove the frame index, and it is tried again"
        )
