"""Colour frames as RGB of 8 bits: palettes, YBR, more than 8 bits. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_BYTE_BITS: Final = 8
# PS3.3 Section C.7.6.3.1.2, turned around: full range, as in JFIF.
_FROM_YBR: Final = np.array(
    [[1.0, 1.0, 1.0], [0.0, -0.114 * 1.772 / 0.587, 1.772], [1.402, -0.299 * 1.402 / 0.587, 0.0]], np.float32
)
_ROWS_AT_ONCE: Final = 512


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """Red, green and blue for each stored value from `first` on, as bytes: an array of 3 columns."""

    first: int
    entries: NDArray[np.uint8]

    def __call__(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Each pixel's colour; below and above, the ends."""
        place = np.clip(values.astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return self.entries[place]


def rgb_of_ybr(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """YBR_FULL as RGB, strip by strip."""
    out = np.empty_like(pixels)
    for top in range(0, len(pixels), _ROWS_AT_ONCE):
        strip = pixels[top : top + _ROWS_AT_ONCE].astype(np.float32)
        strip[..., 1:] -= 128
        out[top : top + _ROWS_AT_ONCE] = np.clip(np.floor(strip @ _FROM_YBR + 0.5), 0, 255)
    return out


def unfolded_422(data: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """Native YBR_FULL_422, two luminances and one of each chrominance for two pixels, with a sample for each pixel.

    Parameters
    ----------
    columns : int
        Even (PS3.3 Section C.7.6.3.1.2).
    """
    pairs = data[: rows * columns * 2].reshape(rows, columns // 2, 4)
    out = np.empty((rows, columns, 3), np.uint8)
    out[:, 0::2, 0], out[:, 1::2, 0] = pairs[..., 0], pairs[..., 1]
    for sample in (1, 2):
        out[:, 0::2, sample] = out[:, 1::2, sample] = pairs[..., sample + 1]
    return out


def as_bytes(pixels: NDArray[Any], bits_stored: int) -> NDArray[np.uint8]:
    """The upper 8 of the bits that are stored; fewer are spread over the range."""
    if bits_stored > _BYTE_BITS:
        return (pixels >> (bits_stored - _BYTE_BITS)).astype(np.uint8)
    if bits_stored < _BYTE_BITS:
        whole = (1 << bits_stored) - 1
        return (pixels.astype(np.uint16) * 255 // whole).astype(np.uint8)
    return pixels.astype(np.uint8)
