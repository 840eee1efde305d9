"""The header of a frame index, as a value and as bytes (docs/design/frame-index.md). Knows bytes only."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final
from zlib import crc32

from dicomrelay.errors import FrameError

MAGIC: Final = b"DCMFRIDX"
VERSION: Final = 1
ALIGNMENT: Final = 32
LARGEST_HEADER_BYTES: Final = 65_536

_FIXED: Final = struct.Struct("<8sHHIQQQQQQ32sIIHHHHHHHHQ")
START: Final = struct.Struct("<8sHHI")
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
    _, version, _, length = START.unpack_from(data)
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
