"""Deflated data sets, in and out, in steps (PS3.5 Annex A.5)."""

from __future__ import annotations

import zlib
from typing import BinaryIO, Final

from dicomrelay.errors import NotTranscodable
from dicomrelay.transcode.values import TranscodeLimits

_STEP_BYTES: Final = 1 << 18
# A small stream may become this much without being looked at askance: a blank image does.
_FREE_BYTES: Final = 64 << 20


def inflate(source: BinaryIO, length: int, out: BinaryIO, limits: TranscodeLimits) -> int:
    """Inflate `length` bytes; how many came out.

    Raises
    ------
    NotTranscodable
        The stream is damaged or cut off, or becomes larger than the limits allow.
    """
    most = min(limits.max_bytes, max(_FREE_BYTES, length * limits.max_inflation))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    left, made = length, 0
    while left and not inflater.eof:
        data = source.read(min(left, _STEP_BYTES))
        if not data:
            raise NotTranscodable("the file ends inside the deflated stream")
        left -= len(data)
        while data and not inflater.eof:
            try:
                step = inflater.decompress(data, _STEP_BYTES)
            except zlib.error as error:
                raise NotTranscodable("the deflated stream is damaged") from error
            data = inflater.unconsumed_tail
            made += len(step)
            if made > most:
                raise NotTranscodable(f"the deflated stream becomes more than {most} bytes")
            out.write(step)
    while not inflater.eof:
        # What its window still holds.
        step = inflater.decompress(b"", _STEP_BYTES)
        if not step:
            raise NotTranscodable("the deflated stream is cut off")
        made += len(step)
        if made > most:
            raise NotTranscodable(f"the deflated stream becomes more than {most} bytes")
        out.write(step)
    return made


def deflate(source: BinaryIO, length: int, out: BinaryIO) -> None:
    """Deflate `length` bytes, made even with a NUL.

    Raises
    ------
    NotTranscodable
        The file is shorter.
    """
    deflater = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    left, made = length, 0
    while left:
        data = source.read(min(left, _STEP_BYTES))
        if not data:
            raise NotTranscodable("the file ends inside the data set")
        left -= len(data)
        made += out.write(deflater.compress(data))
    made += out.write(deflater.flush())
    out.write(b"\0" * (made % 2))
