"""The frame index: a small file that says where every frame of a stored instance lies.

docs/design/frame-index.md specifies every byte. A frame is found in one positioned read whatever their number; nothing
of the tables is kept in memory. This module knows bytes and descriptors, never a data set, a database or HTTP.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from archive.frame_header import LARGEST_HEADER_BYTES, START, FrameLayout, decode_header
from dicomrelay.errors import FrameError, FrameIndexDamaged, FrameOutOfRange, FramesNotAddressable

FRAME_ENTRY: Final = struct.Struct("<QQQII")
FRAGMENT_ENTRY: Final = struct.Struct("<QII")
_PAGE: Final = 1024
# Most headers are shorter than this: one read.
_HEAD_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class FrameLocation:
    """Where one frame is.

    Attributes
    ----------
    offset, span_bytes : int
        One piece: the bytes to read from the data file. Several: the offset of the first, and their sum.
    length_bytes : int
        The bytes that the frame has when it is served.
    first_fragment, fragments : int
        Its rows in the fragment table, when there are several.
    shift_bits : int
        How many bits of the first byte belong to the frame before (0 to 7).
    """

    offset: int
    span_bytes: int
    length_bytes: int
    first_fragment: int = 0
    fragments: int = 1
    shift_bits: int = 0


class FrameIndex:
    """An open frame index. Threads may share it; `close` it once.

    Parameters
    ----------
    descriptor : int
        An open file; the index owns it from now on.

    Raises
    ------
    FrameError
        It is no frame index, of another version, or a damaged one.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        try:
            head = os.pread(descriptor, _HEAD_BYTES, 0)
            if len(head) >= START.size and START.unpack_from(head)[3] > len(head):
                head = os.pread(descriptor, LARGEST_HEADER_BYTES, 0)
            self.header = decode_header(head)
            self._frames_at = START.unpack_from(head)[3]
            self._check_length()
        except (FrameError, OSError):
            os.close(descriptor)
            raise
        self._fragments_at = self._frames_at + FRAME_ENTRY.size * self.header.frame_count

    @classmethod
    def open(cls, path: os.PathLike[str]) -> FrameIndex:
        """Open the frame index at a path. Raises FrameError, FileNotFoundError."""
        return cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def _check_length(self) -> None:
        header = self.header
        length = self._frames_at
        if header.layout is FrameLayout.FRAGMENTS:
            length += FRAME_ENTRY.size * header.frame_count + FRAGMENT_ENTRY.size * header.fragment_count
        actual = os.fstat(self._descriptor).st_size
        if actual != length:
            raise FrameIndexDamaged(
                f"the frame index of {header.sop_instance_uid} has {actual} bytes where its header expects {length}"
            )

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def locate(self, frame_number: int) -> FrameLocation:
        """Where a frame is; frames are counted from 1.

        Raises
        ------
        FramesNotAddressable
            The instance has no frames that can be addressed.
        FrameOutOfRange
            The number is not in 1 to `frame_count`.
        FrameIndexDamaged
            The entry is damaged.
        """
        header = self.header
        if header.layout is FrameLayout.NONE:
            raise FramesNotAddressable(
                f"instance {header.sop_instance_uid} has no single frames: {header.reason}"
            )
        if not 1 <= frame_number <= header.frame_count:
            raise FrameOutOfRange(
                f"instance {header.sop_instance_uid} has frames 1 to {header.frame_count}, not {frame_number}",
                number=frame_number,
                count=header.frame_count,
            )
        if header.layout is FrameLayout.UNIFORM:
            first_bit = (frame_number - 1) * header.frame_bits
            shift = first_bit % 8
            return FrameLocation(
                offset=header.pixel_offset + first_bit // 8,
                span_bytes=-(-(shift + header.frame_bits) // 8),
                length_bytes=-(-header.frame_bits // 8),
                shift_bits=shift,
            )
        position = self._frames_at + FRAME_ENTRY.size * (frame_number - 1)
        entry = os.pread(self._descriptor, FRAME_ENTRY.size, position)
        if len(entry) < FRAME_ENTRY.size or frame_entry_crc(entry, frame_number) != entry[-4:]:
            raise FrameIndexDamaged(
                f"the frame index of {header.sop_instance_uid} is damaged at frame {frame_number}"
            )
        offset, length, first, fragments, _ = FRAME_ENTRY.unpack(entry)
        return FrameLocation(offset, length, length, first, fragments)

    def pieces(self, location: FrameLocation) -> Iterator[tuple[int, int]]:
        """Offset and length, in bytes, of every piece of a frame in the data file. Raises FrameIndexDamaged."""
        if location.fragments == 1:
            yield location.offset, location.span_bytes
            return
        left = location.span_bytes
        for start in range(0, location.fragments, _PAGE):
            rows = min(_PAGE, location.fragments - start)
            position = self._fragments_at + FRAGMENT_ENTRY.size * (location.first_fragment + start)
            page = os.pread(self._descriptor, rows * FRAGMENT_ENTRY.size, position)
            for row in range(0, rows * FRAGMENT_ENTRY.size, FRAGMENT_ENTRY.size):
                entry = page[row : row + FRAGMENT_ENTRY.size]
                if len(entry) < FRAGMENT_ENTRY.size or crc32(entry[:12]) != FRAGMENT_ENTRY.unpack(entry)[2]:
                    raise FrameIndexDamaged(
                        f"the frame index of {self.header.sop_instance_uid} is damaged in its fragments"
                    )
                offset, length, _ = FRAGMENT_ENTRY.unpack(entry)
                # The last fragment may hold a byte of padding that is no part of the frame.
                yield offset, min(length, left)
                left -= min(length, left)


def frame_entry_crc(entry: bytes, frame_number: int) -> bytes:
    """The checksum of a row of the frame table; it knows its row, so that a row in a wrong place is found too."""
    return struct.pack("<I", crc32(entry[:-4], frame_number & 0xFFFFFFFF))


def encode_frame_entry(
    frame_number: int, offset: int, length: int, first_fragment: int, fragments: int
) -> bytes:
    """A row of the frame table."""
    row = FRAME_ENTRY.pack(offset, length, first_fragment, fragments, 0)
    return row[:-4] + frame_entry_crc(row, frame_number)


def encode_fragment_entry(offset: int, length: int) -> bytes:
    """A row of the fragment table."""
    row = struct.pack("<QI", offset, length)
    return row + struct.pack("<I", crc32(row))
