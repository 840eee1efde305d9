"""The bytes of one frame, chunk by chunk, as they are served: little endian, beginning on a byte.

Uncompressed frames stored in big endian are swapped and those that begin inside a byte are shifted as they pass; all
others are read and handed on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from archive.frame_header import FrameLayout
from archive.frame_index import FrameIndex, FrameLocation
from dicomrelay.errors import FrameError

CHUNK_BYTES: Final = 256 * 1024


def frame_chunks(index: FrameIndex, location: FrameLocation, descriptor: int) -> Iterator[bytes]:
    """The bytes of a frame from the open data file, at most 256 KiB at a time; `location.length_bytes` in all.

    Raises
    ------
    FrameError
        The data file ends inside the frame, or the index is damaged.
    """
    header = index.header
    if header.swap_bytes > 1:
        yield from _shifted(_swapped(index, location, descriptor), location, header.frame_bits)
    elif is_plain(index, location):
        yield from _plain(index, location, descriptor)
    else:
        yield from _shifted(_plain(index, location, descriptor), location, header.frame_bits)


def is_plain(index: FrameIndex, location: FrameLocation) -> bool:
    """Whether the bytes of the frame are served as they stand in the data file."""
    if index.header.layout is not FrameLayout.UNIFORM:
        return True
    return index.header.swap_bytes <= 1 and not location.shift_bits and not index.header.frame_bits % 8


def read_exactly(descriptor: int, length: int, offset: int) -> bytes:
    """So many bytes of a file. Raises FrameError when it ends before."""
    data = os.pread(descriptor, length, offset)
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            raise FrameError(f"the data file ends at byte {offset + len(data)}, inside a frame")
        data += more
    return data


def _plain(index: FrameIndex, location: FrameLocation, descriptor: int) -> Iterator[bytes]:
    for offset, length in index.pieces(location):
        for start in range(0, length, CHUNK_BYTES):
            yield read_exactly(descriptor, min(CHUNK_BYTES, length - start), offset + start)


def _swapped(index: FrameIndex, location: FrameLocation, descriptor: int) -> Iterator[bytes]:
    """The bytes with each unit reversed. A frame may begin or end inside a unit: 8-bit samples in 16-bit words."""
    unit = index.header.swap_bytes
    base = index.header.pixel_offset
    first = location.offset - base
    last = first + location.span_bytes
    aligned_last = -(-last // unit) * unit
    for start in range(first // unit * unit, aligned_last, CHUNK_BYTES):
        data = read_exactly(descriptor, min(CHUNK_BYTES, aligned_last - start), base + start)
        swapped = bytearray(len(data))
        for byte in range(unit):
            swapped[byte::unit] = data[unit - 1 - byte :: unit]
        yield bytes(swapped[max(0, first - start) : max(0, last - start)])


def _shifted(chunks: Iterator[bytes], location: FrameLocation, frame_bits: int) -> Iterator[bytes]:
    """The bits moved to the beginning of the first byte, with zeros behind the last one (PS3.5 Section 8.1.1)."""
    shift = location.shift_bits
    unused = location.length_bytes * 8 - frame_bits
    if not shift and not unused:
        yield from chunks
        return
    left = location.length_bytes
    carry = b""
    for chunk in chunks:
        data = carry + chunk
        # The last byte waits for its neighbour's bits.
        size = min(left, len(data) if not shift else len(data) - 1)
        carry = data[size:]
        if size > 0:
            left -= size
            yield _move(data[: size + 1], size, shift, unused if left == 0 else 0)
    if left:
        yield _move(carry, left, shift, unused)


def _move(data: bytes, size: int, shift: int, unused: int) -> bytes:
    number = int.from_bytes(data, "little") >> shift
    number &= (1 << (size * 8 - unused)) - 1
    return number.to_bytes(size, "little")
