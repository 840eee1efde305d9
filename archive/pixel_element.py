"""Finding the pixel data of a data set without reading it: where its value lies, and the geometry in front of it.

pydicom reads what comes before group 7FE0; the headers of that group are read here, so that offset tables of millions of
frames stay on the disk.
"""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from archive.attributes import UNREADABLE
from archive.frame_header import Geometry, PixelKind
from dicomrelay.errors import MalformedDataSet

UNDEFINED_LENGTH: Final = 0xFFFFFFFF
_PIXEL_GROUP: Final = 0x7FE0
_EXTENDED_OFFSET_TABLE: Final = 0x0001
_EXTENDED_OFFSET_TABLE_LENGTHS: Final = 0x0002
_KINDS: Final = {0x0008: PixelKind.FLOAT, 0x0009: PixelKind.DOUBLE_FLOAT, 0x0010: PixelKind.PIXEL_DATA}
_LONG_VRS: Final = frozenset({b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN"})
_TAGS: Final[list[BaseTag | int]] = [
    0x00280002, 0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102, 0x00280103,
]  # fmt: skip
_LARGEST: Final = {"Rows": 2**32 - 1, "Columns": 2**32 - 1, "NumberOfFrames": 2**63 - 1}


@dataclass(frozen=True, slots=True)
class Extent:
    """A value in a file: where it begins and how long it is, in bytes."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class PixelElement:
    """What a data set says about its frames.

    Attributes
    ----------
    kind : PixelKind
        NONE: there is no pixel data in the data set.
    value : Extent
        Its value; `UNDEFINED_LENGTH` when it is encapsulated.
    is_words : bool
        Its value representation is OW: 16-bit words, which matters in big endian.
    offset_table, offset_table_lengths : Extent, optional
        The values of the Extended Offset Table (PS3.3 Section C.7.6.3.1.8).
    """

    kind: PixelKind
    geometry: Geometry
    declared_frames: int
    value: Extent = Extent(0, 0)
    is_words: bool = False
    offset_table: Extent | None = None
    offset_table_lengths: Extent | None = None


@dataclass(slots=True)
class _Stop:
    """Whether and how group 7FE0 begins."""

    reached: bool = False
    is_implicit: bool = False

    def __call__(self, tag: BaseTag, vr: str | None, _length: int) -> bool:
        if tag.group < _PIXEL_GROUP:
            return False
        self.reached = tag.group == _PIXEL_GROUP
        self.is_implicit = vr is None
        return True


def find_pixel_element(
    file: BinaryIO, *, data_set_offset: int, is_implicit_vr: bool, is_little_endian: bool
) -> PixelElement:
    """Find the pixel data of the data set that begins at `data_set_offset`, in bytes.

    Raises
    ------
    MalformedDataSet
        The data set cannot be read up to its pixel data.
    OSError
        The file cannot be read.
    """
    stop = _Stop()
    file.seek(data_set_offset)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data_set = read_dataset(
                file,
                is_implicit_vr,
                is_little_endian,
                stop_when=stop,
                defer_size=65_536,
                specific_tags=_TAGS,
            )
            geometry = _geometry(data_set)
            frames = max(1, _number(data_set, "NumberOfFrames"))
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the file system's; pydicom raises one without a number over malformed data
        raise MalformedDataSet(
            f"the data set cannot be read up to its pixel data ({type(error).__name__})",
            offset=file.tell() - data_set_offset,
        ) from error
    if not stop.reached:
        return PixelElement(PixelKind.NONE, geometry, frames)
    return _read_group(file, stop.is_implicit, "<" if is_little_endian else ">", (geometry, frames))


def _read_group(file: BinaryIO, is_implicit: bool, order: str, facts: tuple[Geometry, int]) -> PixelElement:
    """Walk the element headers of group 7FE0 up to the pixel data."""
    tables: dict[int, Extent] = {}
    while len(head := file.read(8)) == 8:
        group, element, vr, length = struct.unpack(f"{order}HH2sH", head)
        if group != _PIXEL_GROUP:
            break
        if is_implicit:
            (length,) = struct.unpack(f"{order}I", head[4:])
        elif vr in _LONG_VRS:
            (length,) = struct.unpack(f"{order}I", file.read(4).ljust(4, b"\0"))
        value = Extent(file.tell(), length)
        if element in _KINDS:
            return PixelElement(
                _KINDS[element],
                *facts,
                value=value,
                is_words=is_implicit or vr == b"OW",
                offset_table=tables.get(_EXTENDED_OFFSET_TABLE),
                offset_table_lengths=tables.get(_EXTENDED_OFFSET_TABLE_LENGTHS),
            )
        if length == UNDEFINED_LENGTH:
            raise MalformedDataSet(f"(7FE0,{element:04X}) has undefined length", offset=value.offset)
        tables[element] = value
        file.seek(value.offset + length)
    return PixelElement(PixelKind.NONE, *facts)


def _geometry(data_set: Dataset) -> Geometry:
    return Geometry(
        rows=_number(data_set, "Rows"),
        columns=_number(data_set, "Columns"),
        samples_per_pixel=_number(data_set, "SamplesPerPixel") or 1,
        bits_allocated=_number(data_set, "BitsAllocated"),
        bits_stored=_number(data_set, "BitsStored"),
        high_bit=_number(data_set, "HighBit"),
        pixel_representation=_number(data_set, "PixelRepresentation"),
        planar_configuration=_number(data_set, "PlanarConfiguration"),
        photometric_interpretation=str(_first(data_set, "PhotometricInterpretation") or "")[:64].strip(),
    )


def _number(data_set: Dataset, keyword: str) -> int:
    """A count; 0 when it is missing or makes no sense."""
    try:
        number = int(_first(data_set, keyword) or 0)
    except UNREADABLE:
        return 0
    return number if 0 <= number <= _LARGEST.get(keyword, 65_535) else 0


def _first(data_set: Dataset, keyword: str) -> Any:
    value = data_set.get(keyword)
    if isinstance(value, MultiValue | list):
        return value[0] if value else None
    return value
