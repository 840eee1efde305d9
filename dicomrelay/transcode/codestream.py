"""What a compressed frame says of itself, read before a decoder sees it: no decoder is asked for more than was agreed. No I/O."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from dicomrelay.errors import NotTranscodable

_JP2_SIGNATURE: Final = b"\0\0\0\x0cjP  \r\n\x87\n"
# Start of frame of every process (ITU-T T.81 Table B.1), and JPEG-LS (ITU-T T.87).
_START_OF_FRAME: Final = frozenset(
    {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
)
_LOSSLESS: Final = frozenset({0xC3, 0xC7, 0xCB, 0xF7})
_STAND_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_RGB_IDS: Final = (b"RGB", b"rgb")


@dataclass(frozen=True, slots=True)
class Codestream:
    """The head of a compressed frame.

    Attributes
    ----------
    precision : int
        Bits of a sample.
    colour : str
        "RGB" or "YBR" where the stream itself says so, else "".
    """

    rows: int
    columns: int
    samples: int
    precision: int
    colour: str = ""


def read_jpeg(frame: bytes) -> Codestream:
    """Of JPEG and of JPEG-LS.

    Raises
    ------
    NotTranscodable
        There is no start of frame.
    """
    if frame[:2] != b"\xff\xd8":
        raise NotTranscodable("a frame is no JPEG stream")
    colour, at = "", 2
    while at + 4 <= len(frame):
        if frame[at] != 0xFF:
            break
        marker = frame[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _STAND_ALONE:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", frame, at + 2)
        segment = frame[at + 4 : at + 2 + length]
        if marker == 0xE0 and segment.startswith(b"JFIF"):
            colour = "YBR"
        elif marker == 0xEE and segment.startswith(b"Adobe") and len(segment) >= 12:
            colour = "YBR" if segment[11] else "RGB"
        elif marker in _START_OF_FRAME:
            # Lossless processes transform no colours, whatever their markers say.
            return _start_of_frame(segment, "" if marker in _LOSSLESS else colour)
        at += 2 + length
    raise NotTranscodable("a frame has no start of frame")


def _start_of_frame(segment: bytes, colour: str) -> Codestream:
    if len(segment) < 6 or len(segment) < 6 + 3 * segment[5]:
        raise NotTranscodable("a frame's start is cut off")
    precision, rows, columns, samples = struct.unpack_from(">BHHB", segment)
    if samples == 3 and segment[6:15:3] in _RGB_IDS:
        colour = "RGB"
    return Codestream(rows, columns, samples, precision, colour if samples == 3 else "")


def read_jpeg_2000(frame: bytes) -> Codestream:
    """Of JPEG 2000 and High-Throughput JPEG 2000, bare or in a JP2 box.

    Raises
    ------
    NotTranscodable
        There is no image and tile size at its beginning, or the components differ in size or precision.

    References: ITU-T T.800 Annex A.5.1.
    """
    start = 0
    if frame.startswith(_JP2_SIGNATURE):
        start = frame.find(b"jp2c", 0, 1 << 16) + 4
    if frame[start : start + 4] != b"\xff\x4f\xff\x51" or len(frame) < start + 42:
        raise NotTranscodable("a frame is no JPEG 2000 stream")
    _, _, right, bottom, left, top = struct.unpack_from(">HHIIII", frame, start + 4)
    (count,) = struct.unpack_from(">H", frame, start + 40)
    components = {frame[start + 42 + 3 * n : start + 45 + 3 * n] for n in range(min(count, 4))}
    if len(components) != 1 or next(iter(components))[1:] != b"\1\1":
        raise NotTranscodable("the components of a frame differ in size or precision")
    precision = (next(iter(components))[0] & 0x7F) + 1
    return Codestream(bottom - top, right - left, count, precision)
