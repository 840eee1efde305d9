"""Native (not encapsulated) pixel data: the size of a frame and how many there are (PS3.5 Section 8.1.1 and 8.2)."""

from __future__ import annotations

from dataclasses import dataclass

from archive.frame_header import Geometry, PixelKind
from archive.pixel_element import PixelElement

# Two samples of chrominance for two pixels: three samples become two (PS3.3 Section C.7.6.3.1.2).
_SUBSAMPLED = frozenset({"YBR_FULL_422", "YBR_PARTIAL_422"})


@dataclass(frozen=True, slots=True)
class UniformFrames:
    """Frames one behind the other; `count` of `declared` are there whole."""

    frame_bits: int
    count: int
    reason: str
    swap_bytes: int


def uniform_frames(element: PixelElement, *, available_bytes: int, is_little_endian: bool) -> UniformFrames:
    """How native pixel data is divided.

    Parameters
    ----------
    available_bytes : int
        Bytes of the value that are in the file: fewer than its length when the file was cut.
    """
    shape = element.geometry
    bits = {PixelKind.FLOAT: 32, PixelKind.DOUBLE_FLOAT: 64}.get(element.kind, shape.bits_allocated)
    frame_bits = shape.rows * shape.columns * shape.samples_per_pixel * bits
    if frame_bits <= 0:
        return UniformFrames(0, 0, "Rows, Columns or Bits Allocated is missing or zero", 1)
    frame_bits = _subsampled(shape, frame_bits, available_bytes, element.declared_frames)
    there = available_bytes * 8 // frame_bits
    count = min(element.declared_frames, there)
    reason = ""
    if count < element.declared_frames:
        reason = (
            f"pixel data ends after {available_bytes} bytes: "
            f"{count} of {element.declared_frames} frames of {-(-frame_bits // 8)} bytes are whole"
        )
    swap = 1 if is_little_endian else max(bits // 8, 2 if element.is_words else 1)
    return UniformFrames(frame_bits, count, reason, swap)


def _subsampled(shape: Geometry, frame_bits: int, available_bytes: int, frames: int) -> int:
    if shape.photometric_interpretation not in _SUBSAMPLED or shape.samples_per_pixel != 3:
        return frame_bits
    # Some equipment says YBR_FULL_422 and writes all the samples.
    if available_bytes * 8 >= frame_bits * frames:
        return frame_bits
    return frame_bits * 2 // 3
