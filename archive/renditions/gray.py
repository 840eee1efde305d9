"""From stored values to brightness: modality transformation, VOI, presentation (PS3.4 Annex N.2). No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from archive.renditions.request import Window

_WHITE: Final = 255.0
# So many different values there can be, and a table of them all is made.
_TABLE_BITS: Final = 16
_BYTE_BITS: Final = 8

Values = NDArray[Any]


@dataclass(frozen=True, slots=True)
class LookUpTable:
    """A LUT of a data set (PS3.3 Section C.11.1.1.1): `entries` from the value `first` on; below and above, the ends."""

    first: int
    entries: NDArray[np.float64]
    bits: int

    def __call__(self, values: Values) -> NDArray[np.float64]:
        """Each value's entry."""
        place = np.clip(np.floor(values) - self.first, 0, len(self.entries) - 1).astype(np.int64)
        found: NDArray[np.float64] = self.entries[place]
        return found


@dataclass(frozen=True, slots=True, eq=False)
class GrayLook:
    """How the values of one frame are shown, as its data set says.

    Attributes
    ----------
    bits_stored : int
    is_signed, is_float : bool
    slope, intercept : float
    modality, voi : LookUpTable, optional
        Each in place of what rescale and window say.
    window : Window, optional
    padding : tuple of float, optional
        The smallest and the largest stored value that is no image (Pixel Padding Value and its range limit).
    is_inverted : bool
        The least is white.
    """

    bits_stored: int = 8
    is_signed: bool = False
    is_float: bool = False
    slope: float = 1.0
    intercept: float = 0.0
    modality: LookUpTable | None = None
    voi: LookUpTable | None = None
    window: Window | None = None
    padding: tuple[float, float] | None = None
    is_inverted: bool = False

    @property
    def spans_all(self) -> bool:
        """Whether without a window all values that there can be are shown, black to white."""
        return (
            self.bits_stored <= _BYTE_BITS
            and not (self.is_signed or self.is_float)
            and self.modality is None
            and (self.slope, self.intercept) == (1.0, 0.0)
        )


def brightness(values: Values, look: GrayLook, window: Window | None = None) -> NDArray[np.uint8]:
    """A frame as 0 (black) to 255 (white).

    Parameters
    ----------
    values : array of integers or floats
        As they are stored, unused bits gone and signs right.
    window : Window, optional
        In place of what the look says.
    """
    low, high = _ends(values, look, window)
    if look.is_float or look.bits_stored > _TABLE_BITS:
        return _shown(values, look, window, low, high)
    least = -(1 << (look.bits_stored - 1)) if look.is_signed else 0
    every = np.arange(least, least + (1 << look.bits_stored))
    table = _shown(every, look, window, low, high)
    # Wide enough for the difference, whatever the type of the values.
    return table[values.astype(np.int32) - least]


def _shown(
    values: Values, look: GrayLook, window: Window | None, low: float, high: float
) -> NDArray[np.uint8]:
    modality = _modality(values, look)
    if window is not None:
        shown = through(modality, window)
    elif look.voi is not None:
        shown = look.voi(modality) * _WHITE / ((1 << look.voi.bits) - 1)
    elif look.window is not None:
        shown = through(modality, look.window)
    elif high > low:
        shown = (modality - low) * _WHITE / (high - low)
    else:
        shown = np.where(modality > low, _WHITE, 0.0)
    shown = np.nan_to_num(shown, nan=0.0, posinf=_WHITE, neginf=0.0)
    if look.is_inverted:
        shown = _WHITE - shown
    return np.clip(np.rint(shown), 0, _WHITE).astype(np.uint8)


def through(values: Values, window: Window) -> NDArray[np.float64]:
    """Values through a window, 0 to 255 (PS3.3 Sections C.11.2.1.2 and C.11.2.1.3)."""
    center, width = window.center, window.width
    x = values.astype(np.float64)
    if window.function == "SIGMOID":
        with np.errstate(over="ignore"):
            return _WHITE / (1 + np.exp(-4 * (x - center) / width))
    if window.function == "LINEAR":
        # Half a value to the left, one less wide: the steps of whole numbers are even so.
        center, width = center - 0.5, width - 1
    if width <= 0:
        return np.where(x <= center, 0.0, _WHITE)
    return np.clip(((x - center) / width + 0.5) * _WHITE, 0.0, _WHITE)


def _modality(values: Values, look: GrayLook) -> NDArray[np.float64]:
    if look.modality is not None:
        return look.modality(values)
    return values.astype(np.float64) * look.slope + look.intercept


def _ends(values: Values, look: GrayLook, window: Window | None) -> tuple[float, float]:
    """What is black and what is white where nothing says so, behind the modality transformation."""
    if window is not None or look.voi is not None or look.window is not None:
        return 0.0, 0.0
    if look.spans_all:
        return 0.0, float((1 << look.bits_stored) - 1)
    seen = values
    if look.is_float:
        seen = seen[np.isfinite(seen)]
    if look.padding is not None:
        first, last = sorted(look.padding)
        image = seen[(seen < first) | (seen > last)]
        seen = image if image.size else seen
    if not seen.size:
        return 0.0, 0.0
    ends = _modality(np.array([seen.min(), seen.max()]), look)
    return float(ends.min()), float(ends.max())
