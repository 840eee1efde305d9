"""The frame index: a small file that says where every frame of a stored instance lies.

docs/design/frame-index.md specifies every byte. A frame is found in one positioned read whatever their number; nothing
of the tables is kept in memory. This module knows bytes and descriptors, never a data set, a database or HTTP.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final
from zlib import crc32

from dicomrelay.errors import FrameError, FrameOutOfRange, FramesNotAddressable

MAGIC: Final = b"DCMFRIDX"
VERSION: Final = 1
ALIGNMENT: Final = 32
LARGEST_HEADER_BYTES: Final = 65_536
FRAME_ENTRY: Final = struct.Struct("<QQQII")
FRAGMENT_ENTRY: Final = struct.Struct("<QII")

_FIXED: Final = struct.Struct("<8sHHIQQQQQQ32sIIHHHHHHHHQ")
_START: Final = struct.Struct("<8sHHI")
_TEXTS: Final = (
    "data_path",
    "stored_path",
    "study_instance_uid",
    "series_instance_uid",
    "sop_instance_uid",
    "sop_class_uid",
    "transfer_syntax_uid",
    "photometric_interpretation",
    "reason",
)
_PAGE: Final = 1024


class FrameLayout(IntEnum):
    """How the frames lie in the data file."""

    NONE = 0  # no frame can be addressed; `reason` says why
    UNIFORM = 1  # one behind the other, all of the same number of bits
    FRAGMENTS = 2  # encapsulated: a table of frames, and one of fragments


class PixelKind(IntEnum):
    """Which element holds the frames."""

    NONE = 0
    PIXEL_DATA = 1  # (7FE0,0010)
    FLOAT = 2  # (7FE0,0008)
    DOUBLE_FLOAT = 3  # (7FE0,0009)


@dataclass(frozen=True, slots=True)
class Geometry:
    """What a receiver of bare frames has to know; 0 or "" for what the data set leaves out (PS3.3 Section C.7.6.3)."""

    rows: int = 0
    columns: int = 0
    samples_per_pixel: int = 1
    bits_allocated: int = 0
    bits_stored: int = 0
    high_bit: int = 0
    pixel_representation: int = 0
    planar_configuration: int = 0
    photometric_interpretation: str = ""


@dataclass(frozen=True, slots=True)
class FrameIndexHeader:
    """The head of a frame index.

    Attributes
    ----------
    data_path, stored_path : str
        Relative to the archive's root: the file that the offsets are of, and the stored instance. They differ when the
        stored data set is deflated.
    data_bytes, stored_bytes : int
        Sizes of both files.
    digest : str
        SHA-256 of the stored data set, in hexadecimal.
    frame_count, declared_frames : int
        Frames that can be served, and what Number of Frames says.
    pixel_offset, frame_bits : int
        Uniform layout: where frame 1 begins in the data file, in bytes; the bits of one frame.
    swap_bytes : int
        1, or the size of the units whose bytes are to be reversed (stored big endian, served little endian).
    """

    layout: FrameLayout
    pixel_kind: PixelKind
    frame_count: int
    declared_frames: int
    data_path: str
    data_bytes: int
    stored_path: str
    stored_bytes: int
    digest: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    geometry: Geometry
    pixel_offset: int = 0
    frame_bits: int = 0
    swap_bytes: int = 1
    fragment_count: int = 0
    reason: str = ""

    def encode(self) -> bytes:
        """The bytes of the header. Raises FrameError when a text is too long."""
        texts = bytearray()
        for name in _TEXTS:
            value = self._text(name).encode()
            texts += struct.pack("<H", len(value)) + value
        length = -(-(_FIXED.size + len(texts) + 4) // ALIGNMENT) * ALIGNMENT
        if length > LARGEST_HEADER_BYTES:
            raise FrameError(f"a frame index header of {length} bytes is over {LARGEST_HEADER_BYTES}")
        shape = self.geometry
        fixed = _FIXED.pack(
            MAGIC,
            VERSION,
            self.layout,
            length,
            self.frame_count,
            self.pixel_offset,
            self.frame_bits,
            self.fragment_count,
            self.data_bytes,
            self.stored_bytes,
            bytes.fromhex(self.digest),
            shape.rows,
            shape.columns,
            shape.samples_per_pixel,
            shape.bits_allocated,
            shape.bits_stored,
            shape.high_bit,
            shape.pixel_representation,
            shape.planar_configuration,
            self.swap_bytes,
            self.pixel_kind,
            self.declared_frames,
        )
        body = (fixed + texts).ljust(length - 4, b"\0")
        return body + struct.pack("<I", crc32(body))

    def _text(self, name: str) -> str:
        owner = self.geometry if name == "photometric_interpretation" else self
        return str(getattr(owner, name))


def decode_header(data: bytes) -> FrameIndexHeader:
    """The header at the start of a frame index.

    Raises
    ------
    FrameError
        It is none, of another version, cut short or damaged.
    """
    if len(data) < _FIXED.size or data[:8] != MAGIC:
        raise FrameError("the file is no frame index")
    _, version, _, length = _START.unpack_from(data)
    if version != VERSION:
        raise FrameError(f"the frame index has version {version}; this program reads {VERSION}")
    if not _FIXED.size <= length <= min(len(data), LARGEST_HEADER_BYTES):
        raise FrameError(
            f"the frame index is cut short: its header has {length} bytes, {len(data)} are there"
        )
    if crc32(data[: length - 4]) != struct.unpack_from("<I", data, length - 4)[0]:
        raise FrameError("the frame index is damaged: the checksum of its header is wrong")
    fixed = _FIXED.unpack_from(data)
    texts = _decode_texts(data, length)
    try:
        return FrameIndexHeader(
            layout=FrameLayout(fixed[2]),
            frame_count=fixed[4],
            pixel_offset=fixed[5],
            frame_bits=fixed[6],
            fragment_count=fixed[7],
            data_bytes=fixed[8],
            stored_bytes=fixed[9],
            digest=fixed[10].hex(),
            geometry=_decode_geometry(fixed, texts.pop("photometric_interpretation")),
            swap_bytes=fixed[19],
            pixel_kind=PixelKind(fixed[20]),
            declared_frames=fixed[21],
            **texts,
        )
    except ValueError as error:
        raise FrameError(f"the frame index is of no kind that is known: {error}") from error


def _decode_geometry(fixed: tuple[int, ...], photometric_interpretation: str) -> Geometry:
    rows, columns, samples, allocated, stored, high, representation, planar = fixed[11:19]
    return Geometry(
        rows, columns, samples, allocated, stored, high, representation, planar, photometric_interpretation
    )


def _decode_texts(data: bytes, length: int) -> dict[str, str]:
    texts: dict[str, str] = {}
    position = _FIXED.size
    for name in _TEXTS:
        (size,) = struct.unpack_from("<H", data, position)
        position += 2
        if position + size > length - 4:
            raise FrameError(f"the frame index is damaged: {name} leaves the header")
        texts[name] = data[position : position + size].decode("utf-8", "replace")
        position += size
    return texts


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
        It is no frame index, or a damaged one.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        try:
            head = os.pread(descriptor, 4096, 0)
            if len(head) >= _START.size and _START.unpack_from(head)[3] > len(head):
                head = os.pread(descriptor, LARGEST_HEADER_BYTES, 0)
            self.header = decode_header(head)
            self._frames_at = _START.unpack_from(head)[3]
        except (FrameError, OSError):
            os.close(descriptor)
            raise
        self._fragments_at = self._frames_at + FRAME_ENTRY.size * self.header.frame_count

    @classmethod
    def open(cls, path: os.PathLike[str]) -> FrameIndex:
        """Open the frame index at a path. Raises FrameError, FileNotFoundError."""
        return cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

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
        FrameError
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
            raise FrameError(
                f"the frame index of {header.sop_instance_uid} is damaged at frame {frame_number}"
            )
        offset, length, first, fragments, _ = FRAME_ENTRY.unpack(entry)
        return FrameLocation(offset, length, length, first, fragments)

    def pieces(self, location: FrameLocation) -> Iterator[tuple[int, int]]:
        """Offset and length, in bytes, of every piece of a frame in the data file. Raises FrameError."""
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
                    raise FrameError(
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
