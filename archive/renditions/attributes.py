"""What a data set says about how its frames are to be shown. For the child process: pydicom reads what strangers wrote.

What it cannot make sense of counts as not said: a window that is no number must not hide an image.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from typing import BinaryIO, Final

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from archive.frame_header import Geometry, PixelKind
from archive.renditions.gray import GrayLook
from archive.renditions.request import FUNCTIONS, Window
from archive.renditions.tables import COLOURS, table
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.errors import NotTranscodable

_PIXELS: Final = 0x7FE00000
_WANTED: Final = [
    "BitsAllocated", "BitsStored", "PixelRepresentation", "SmallestImagePixelValue",
    "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence", "RescaleSlope", "RescaleIntercept",
    "ModalityLUTSequence", "PixelPaddingValue", "PixelPaddingRangeLimit", "PresentationLUTShape",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "RepresentativeFrameNumber",
    *(f"{colour}PaletteColorLookupTable{what}" for colour in COLOURS for what in ("Descriptor", "Data")),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in COLOURS),
]  # fmt: skip
_FUNCTIONS: Final = frozenset(FUNCTIONS.values())


def read_attributes(file: BinaryIO, offset: int, transfer_syntax_uid: str) -> Dataset:
    """What is said about the image, of a data set that begins at `offset`; pixel data is not looked at.

    Raises
    ------
    NotTranscodable
        It cannot be read.
    """
    syntax = transfer_syntax(transfer_syntax_uid)
    file.seek(offset)
    try:
        return read_dataset(
            file,
            is_implicit_VR=syntax.is_implicit_vr,
            is_little_endian=syntax.is_little_endian,
            stop_when=_is_behind,
            specific_tags=[BaseTag(tag) for tag in _tags()],
        )
    except Exception as error:  # whatever it raises over a malformed one
        raise NotTranscodable(f"the data set cannot be read: {type(error).__name__}") from error


def gray_look(ds: Dataset, frame_number: int, geometry: Geometry, kind: PixelKind) -> GrayLook:
    """How a frame of one sample is shown; what its functional groups say comes first."""
    is_signed = geometry.pixel_representation == 1
    groups = _groups(ds, frame_number)
    rescale = _macro(groups, "PixelValueTransformationSequence") or ds
    voi = _macro(groups, "FrameVOILUTSequence") or ds
    slope, intercept = _number(rescale, "RescaleSlope"), _number(rescale, "RescaleIntercept")
    modality = table(_first(rescale, "ModalityLUTSequence"), is_signed=is_signed)
    shape = _text(ds, "PresentationLUTShape")
    return GrayLook(
        bits_stored=geometry.bits_stored or geometry.bits_allocated,
        is_signed=is_signed,
        is_float=kind in {PixelKind.FLOAT, PixelKind.DOUBLE_FLOAT},
        slope=1.0 if slope is None or not slope else slope,
        intercept=intercept or 0.0,
        modality=modality,
        voi=table(
            _first(voi, "VOILUTSequence"),
            is_signed=modality is None and (is_signed or (intercept or 0.0) < 0),
        ),
        window=_window(voi),
        padding=_padding(ds),
        is_inverted=geometry.photometric_interpretation == "MONOCHROME1" or shape == "INVERSE",
    )


def representative_frame(ds: Dataset, frame_count: int) -> int:
    """The frame that stands for the others (0028,6010); the first when it does not say."""
    number = _number(ds, "RepresentativeFrameNumber")
    return int(number) if number is not None and 1 <= number <= frame_count else 1


def _tags() -> Iterable[int]:
    return (tag for tag in map(tag_for_keyword, _WANTED) if tag is not None)


def _is_behind(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return int(tag) >= _PIXELS


def _groups(ds: Dataset, frame_number: int) -> list[Dataset]:
    """The functional groups of a frame: its own, then those that all share (PS3.3 Section C.7.6.16)."""
    found = []
    per_frame = ds.get("PerFrameFunctionalGroupsSequence")
    if per_frame and len(per_frame) >= frame_number:
        found.append(per_frame[frame_number - 1])
    shared = _first(ds, "SharedFunctionalGroupsSequence")
    return [*found, shared] if shared is not None else found


def _macro(groups: list[Dataset], name: str) -> Dataset | None:
    return next((item for group in groups if (item := _first(group, name)) is not None), None)


def _first(ds: Dataset, name: str) -> Dataset | None:
    with suppress(Exception):  # pydicom converts when it is asked, and raises what it likes
        items = ds.get(name)
        return items[0] if items else None
    return None


def _number(ds: Dataset, name: str) -> float | None:
    """The first value, when it is a finite number."""
    with suppress(Exception):
        value = ds.get(name)
        value = value[0] if isinstance(value, MultiValue | list) and len(value) else value
        number = float(value)
        return number if math.isfinite(number) else None
    return None


def _text(ds: Dataset, name: str) -> str:
    with suppress(Exception):
        return str(ds.get(name) or "").strip().upper()
    return ""


def _window(ds: Dataset) -> Window | None:
    center, width = _number(ds, "WindowCenter"), _number(ds, "WindowWidth")
    function = _text(ds, "VOILUTFunction") or "LINEAR"
    if center is None or width is None or function not in _FUNCTIONS:
        return None
    if width < 1 and function == "LINEAR":
        # Not allowed, and found where floating-point values are shown: what was meant is plain.
        function = "LINEAR_EXACT"
    return Window(center, width, function) if width > 0 else None


def _padding(ds: Dataset) -> tuple[float, float] | None:
    value, limit = _number(ds, "PixelPaddingValue"), _number(ds, "PixelPaddingRangeLimit")
    return None if value is None else (value, value if limit is None else limit)
