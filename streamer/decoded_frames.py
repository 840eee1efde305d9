"""Single frames in Explicit VR Little Endian, of compressed ones: decoded by the child of a workshop, never in this process.

A frame is put alone into a data set that says of the image what its frame index says, and that is transcoded
(docs/design/transcode.md); what comes out ends with the pixels.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from archive.frame_header import Geometry
from archive.frame_index import FrameLocation
from archive.frame_reader import CHUNK_BYTES, frame_chunks, read_exactly
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.transcode.values import Source
from streamer.answers import HttpError
from streamer.open_frames import OpenFrames
from streamer.transcoding import Transcoding

# What one request may have decoded, in bytes, compressed and decoded.
MOST_BYTES: Final = 256 << 20
_LARGEST_US: Final = 0xFFFF
_ITEM: Final = struct.Struct("<HHI")


@dataclass(slots=True)
class DecodedFrames:
    """Some frames, decoded, one behind the other in an open file. Close the descriptor."""

    descriptor: int
    offset: int
    frame_bytes: int
    count: int

    def chunks(self, position: int) -> Iterator[bytes]:
        """The bytes of one of them, counted from 0, at most 256 KiB at a time. Raises FrameError, OSError."""
        begin = self.offset + position * self.frame_bytes
        for at in range(0, self.frame_bytes, CHUNK_BYTES):
            yield read_exactly(self.descriptor, min(CHUNK_BYTES, self.frame_bytes - at), begin + at)

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)


def decode(frames: OpenFrames, locations: Sequence[FrameLocation], transcoding: Transcoding) -> DecodedFrames:
    """Decode frames; takes as long as that takes: for a thread.

    Raises
    ------
    HttpError
        406: they cannot be decoded, or are more than 256 MiB. 503: too many are asked for.
    FrameError
        The data file ends inside a frame.
    ServiceUnavailable
        There is no room for them.
    """
    header = frames.index.header
    size = _decoded_bytes(header.geometry)
    stored = sum(location.length_bytes for location in locations)
    if not 0 < size * len(locations) <= MOST_BYTES or stored > MOST_BYTES:
        raise HttpError(
            406,
            f"{len(locations)} frames of {size} bytes are not decoded at once: ask for fewer, or for what is stored "
            'with transfer-syntax="*"',
        )
    descriptor = os.memfd_create("frames", os.MFD_CLOEXEC)
    with open(descriptor, "wb") as file:
        file.writelines(_image(header.geometry, len(locations)))
        for location in locations:
            file.write(_ITEM.pack(0xFFFE, 0xE000, location.length_bytes + location.length_bytes % 2))
            file.writelines(frame_chunks(frames.index, location, frames.descriptor))
            file.write(b"\0" * (location.length_bytes % 2))
        file.write(_ITEM.pack(0xFFFE, 0xE0DD, 0))
        file.flush()
        source = Source(
            Path(f"/proc/{os.getpid()}/fd/{descriptor}"), 0, file.tell(), header.transfer_syntax_uid
        )
        copy = transcoding.copy(source, EXPLICIT_VR_LITTLE_ENDIAN)
    made = size * len(locations)
    return DecodedFrames(copy.descriptor, copy.length - made - made % 2, size, len(locations))


def _decoded_bytes(geometry: Geometry) -> int:
    sample = -(-geometry.bits_allocated // 8)
    return geometry.rows * geometry.columns * geometry.samples_per_pixel * sample


def _image(geometry: Geometry, count: int) -> Iterable[bytes]:
    """The attributes of the image, and the beginning of its pixel data with an empty Basic Offset Table (PS3.5 Section A.4)."""
    numbers = (
        (0x0002, geometry.samples_per_pixel),
        (0x0004, geometry.photometric_interpretation),
        (0x0006, geometry.planar_configuration),
        (0x0008, count),
        (0x0010, geometry.rows),
        (0x0011, geometry.columns),
        (0x0100, geometry.bits_allocated),
        (0x0101, geometry.bits_stored),
        (0x0102, geometry.high_bit),
        (0x0103, geometry.pixel_representation),
    )
    for element, value in numbers:
        if isinstance(value, str) or element == 0x0008:
            text = str(value).encode("ascii", "replace")
            text += b" " * (len(text) % 2)
            yield (
                struct.pack("<HH2sH", 0x0028, element, b"IS" if element == 0x0008 else b"CS", len(text))
                + text
            )
        elif element == 0x0006 and geometry.samples_per_pixel == 1:
            continue
        elif value > _LARGEST_US:
            raise HttpError(406, "an image of more than 65,535 rows or columns is not decoded")
        else:
            yield struct.pack("<HH2sHH", 0x0028, element, b"US", 2, value)
    yield struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + _ITEM.pack(0xFFFE, 0xE000, 0)
