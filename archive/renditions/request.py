"""What can be asked of a picture (PS3.18 Section 8.3.5), as values that were looked at. No I/O."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass
from typing import Any, Final

from dicomrelay.errors import ConfigurationError

JPEG: Final = "image/jpeg"
PNG: Final = "image/png"
MEDIA_TYPES: Final = (JPEG, PNG)
LARGEST_SIDE: Final = 8192
THUMBNAIL_SIDE: Final = 256
QUALITY: Final = 90
# Frames that are asked for in place of a number.
REPRESENTATIVE: Final = 0
MIDDLE: Final = -1
FUNCTIONS: Final = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
_NUMBER: Final = re.compile(
    r"[+-]?(?:[0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})(?:[eE][+-]?[0-9]{1,2})?", re.ASCII
)
_WHOLE: Final = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_SEVEN_DECIMALS: Final = 1e-7


@dataclass(frozen=True, slots=True)
class Window:
    """Which values become which brightness (PS3.3 Section C.11.2.1.2): in the units behind the modality transformation."""

    center: float
    width: float
    function: str = "LINEAR"


@dataclass(frozen=True, slots=True)
class Region:
    """A part of an image.

    Attributes
    ----------
    x, y, width, height : float
        In pixels; of the image as a whole from 0 to 1, where `is_fraction`. 0 for width or height: up to the edge.
    mirror_x, mirror_y : bool
        Left and right, top and bottom are exchanged.
    """

    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0
    mirror_x: bool = False
    mirror_y: bool = False
    is_fraction: bool = False


@dataclass(frozen=True, slots=True)
class PictureRequest:
    """One picture of one frame.

    Attributes
    ----------
    media_type : str
        image/jpeg or image/png.
    width, height : int
        It is scaled to fit into so many pixels, its shape kept; 0 for as it is.
    enlarges : bool
        Whether it is scaled up too.
    window : Window, optional
        In place of what the data set says.
    quality : int
        Of JPEG, 1 to 100.
    """

    media_type: str = JPEG
    width: int = 0
    height: int = 0
    enlarges: bool = True
    region: Region | None = None
    window: Window | None = None
    quality: int = QUALITY

    def as_json(self) -> dict[str, Any]:
        """As it goes to the child."""
        return asdict(self)

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> PictureRequest:
        """What `as_json` made."""
        region, window = said["region"], said["window"]
        return cls(
            **{
                **said,
                "region": Region(**region) if region else None,
                "window": Window(**window) if window else None,
            }
        )

    @property
    def key(self) -> str:
        """The same for the same request, and for no other."""
        text = json.dumps(self.as_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def thumbnail(
    media_type: str = JPEG, width: int = THUMBNAIL_SIDE, height: int = THUMBNAIL_SIDE
) -> PictureRequest:
    """A small picture: never larger than the frame."""
    return PictureRequest(media_type, width, height, enlarges=False, quality=80)


def parse_window(text: str) -> Window:
    """`centre,width,function` (PS3.18 Section 8.3.5.1.4). Raises ConfigurationError."""
    fields = text.split(",", 3)
    if len(fields) != 3 or fields[2].lower() not in FUNCTIONS:
        raise ConfigurationError(
            f"window: {text[:80]!r} is none; write centre,width,function with {', '.join(FUNCTIONS)}"
        )
    return checked_window(fields[0], fields[1], FUNCTIONS[fields[2].lower()])


def checked_window(center: str, width: str, function: str = "LINEAR") -> Window:
    """A window from two decimal numbers. Raises ConfigurationError."""
    for name, value in (("centre", center), ("width", width)):
        if not _NUMBER.fullmatch(value):
            raise ConfigurationError(f"window: the {name} {value[:40]!r} is no decimal number")
    window = Window(float(center), float(width), function)
    least = 1.0 if function == "LINEAR" else _SEVEN_DECIMALS
    if not math.isfinite(window.center + window.width) or window.width < least:
        raise ConfigurationError(
            "window: the width must be 1 or more, above 0 for linear-exact and sigmoid (PS3.3 Section C.11.2.1.2)"
        )
    return window


def parse_quality(text: str) -> int:
    """1 to 100 (PS3.18 Section 8.3.5.1.2). Raises ConfigurationError."""
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= 100:
        raise ConfigurationError(f"quality: {text[:40]!r} is no whole number from 1 to 100")
    return int(text)


def parse_viewport(text: str, *, with_region: bool = True) -> tuple[int, int, Region | None]:
    """`w,h` or `w,h,x,y,sw,sh` (PS3.18 Section 8.3.5.1.3). Raises ConfigurationError."""
    fields = text.split(",", 6)
    if len(fields) not in ({2, 6} if with_region else {2}):
        form = "w,h or w,h,x,y,sw,sh" if with_region else "w,h"
        raise ConfigurationError(f"viewport: {text[:80]!r} is none; write {form}")
    width, height = (side(value, "viewport") for value in fields[:2])
    if len(fields) == 2:
        return width, height, None
    x, y, across, down = (_pixels(value) for value in fields[2:])
    if x < 0 or y < 0:
        raise ConfigurationError("viewport: x and y count from 0, from the upper left corner")
    return width, height, Region(x, y, abs(across), abs(down), mirror_x=across < 0, mirror_y=down < 0)


def parse_fractions(text: str) -> Region:
    """`xmin,ymin,xmax,ymax` from 0 to 1: the region of WADO-URI (PS3.18 Section 9.1.2.2.6). Raises ConfigurationError."""
    fields = text.split(",", 4)
    if len(fields) == 4 and all(_NUMBER.fullmatch(value) for value in fields):
        left, top, right, bottom = (float(value) for value in fields)
        if 0 <= left < right <= 1 and 0 <= top < bottom <= 1:
            return Region(left, top, right - left, bottom - top, is_fraction=True)
    raise ConfigurationError(f"region: {text[:80]!r} is none; write xmin,ymin,xmax,ymax, each from 0 to 1")


def side(text: str, name: str) -> int:
    """Width or height of a picture. Raises ConfigurationError."""
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= LARGEST_SIDE:
        raise ConfigurationError(f"{name}: {text[:40]!r} is no whole number from 1 to {LARGEST_SIDE}")
    return int(text)


def _pixels(text: str) -> float:
    if not text:
        return 0.0
    if not _NUMBER.fullmatch(text) or abs(float(text)) > 1e9:
        raise ConfigurationError(f"viewport: {text[:40]!r} is no number of pixels")
    return float(text)
