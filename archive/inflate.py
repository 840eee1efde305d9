"""Deflated data sets (PS3.5 Annex A.5): inflated once into a file of their own, so that frames can be addressed."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Final

from archive.disk import CHUNK_BYTES, flush, new_file
from dicomrelay.errors import MalformedDataSet

# A stream of zeros deflates to a thousandth: what is announced by nobody is bounded by us.
MAX_INFLATED_BYTES: Final = 4 * 1024**3


def inflate(source: Path, *, offset: int, target: Path, limit_bytes: int = MAX_INFLATED_BYTES) -> int:
    """Inflate a file from `offset` on into a new file, flush it and return its size in bytes.

    Raises
    ------
    MalformedDataSet
        It is no deflated stream, is cut short, or inflates to more than `limit_bytes`. The target is then incomplete.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    total = 0
    with source.open("rb", buffering=0) as reader, new_file(target) as writer:
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
            writer.write(data)
        writer.flush()
        flush(writer.fileno())
    return total
