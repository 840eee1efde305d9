"""The Image Pixel module (PS3.3 Section C.7.6.3) of a data set, read before anything is spent on it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from dicomrelay.dicom.elements import tag_name, text
from dicomrelay.errors import NotTranscodable
from dicomrelay.transcode.reader import Element, Reader
from dicomrelay.transcode.representations import PIXEL_DATA
from dicomrelay.transcode.values import TranscodeLimits

SAMPLES_PER_PIXEL: Final = 0x00280002
PHOTOMETRIC_INTERPRETATION: Final = 0x00280004
PLANAR_CONFIGURATION: Final = 0x00280006
NUMBER_OF_FRAMES: Final = 0x00280008
ROWS: Final = 0x00280010
COLUMNS: Final = 0x00280011
BITS_ALLOCATED: Final = 0x00280100
BITS_STORED: Final = 0x00280101
PIXEL_REPRESENTATION: Final = 0x00280103
EXTENDED_OFFSETS: Final = 0x7FE00001
EXTENDED_LENGTHS: Final = 0x7FE00002
# VR CS (PS3.5 Table 6.2-1).
_CODE_STRING: Final = re.compile(r"[A-Z0-9_ ]{1,16}", re.ASCII)
_NUMBERS: Final = frozenset(
    {
        SAMPLES_PER_PIXEL,
        PLANAR_CONFIGURATION,
        ROWS,
        COLUMNS,
        BITS_ALLOCATED,
        BITS_STORED,
        PIXEL_REPRESENTATION,
    }
)
_WANTED: Final = _NUMBERS | {PHOTOMETRIC_INTERPRETATION, NUMBER_OF_FRAMES}


@dataclass(frozen=True, slots=True)
class Image:
    """What a data set says of its pixel data; 0 and "" for what it does not say.

    Attributes
    ----------
    pixel_data, extended_offsets, extended_lengths : Element or None
    """

    samples_per_pixel: int = 0
    photometric_interpretation: str = ""
    planar_configuration: int = 0
    number_of_frames: int = 1
    rows: int = 0
    columns: int = 0
    bits_allocated: int = 0
    bits_stored: int = 0
    pixel_representation: int = 0
    pixel_data: Element | None = None
    extended_offsets: Element | None = None
    extended_lengths: Element | None = None

    @property
    def is_encapsulated(self) -> bool:
        """Whether the pixel data are fragments."""
        return self.pixel_data is not None and self.pixel_data.is_fragments

    @property
    def frame_bytes(self) -> int:
        """One frame, decoded."""
        return self.rows * self.columns * self.samples_per_pixel * self.bits_allocated // 8

    @property
    def plugin_options(self) -> dict[str, Any]:
        """What pydicom's plug-ins want to be told of one frame."""
        return {
            "rows": self.rows,
            "columns": self.columns,
            "number_of_frames": 1,
            "samples_per_pixel": self.samples_per_pixel,
            "photometric_interpretation": self.photometric_interpretation,
            "planar_configuration": self.planar_configuration,
            "bits_allocated": self.bits_allocated,
            "bits_stored": self.bits_stored,
            "pixel_representation": self.pixel_representation,
        }

    def check(self, limits: TranscodeLimits) -> None:
        """See that the frames can be decoded at all, and within the limits.

        Raises
        ------
        NotTranscodable
        """
        if not (self.rows and self.columns and self.samples_per_pixel in {1, 3}):
            raise NotTranscodable(
                f"the pixel data say {self.rows} rows, {self.columns} columns, {self.samples_per_pixel} samples per pixel"
            )
        if _CODE_STRING.fullmatch(self.photometric_interpretation) is None:
            raise NotTranscodable("the photometric interpretation is no code string")
        if self.bits_allocated not in {8, 16, 32} or not 0 < self.bits_stored <= self.bits_allocated:
            raise NotTranscodable(
                f"{self.bits_stored} bits stored in {self.bits_allocated} allocated: only 8, 16 and 32 are decoded"
            )
        if not 0 < self.number_of_frames <= limits.max_frames:
            raise NotTranscodable(
                f"the pixel data say {self.number_of_frames} frames, 1 to {limits.max_frames} are decoded"
            )
        if self.frame_bytes > limits.max_frame_bytes:
            raise NotTranscodable(
                f"a frame has {self.frame_bytes} bytes when decoded, more than {limits.max_frame_bytes}"
            )
        # The length of native pixel data is a 32-bit number, even, and not FFFFFFFF (PS3.5 Section 7.1).
        if self.frame_bytes * self.number_of_frames >= min(0xFFFFFFFE, limits.max_bytes):
            raise NotTranscodable(
                f"{self.number_of_frames} frames of {self.frame_bytes} bytes do not fit into native pixel data"
            )


def read_image(reader: Reader) -> Image:
    """Walk over a whole data set, and say what it says of its pixel data. Leaves the reader at the end.

    Raises
    ------
    NotTranscodable
        The bytes are no data set in the syntax they are said to be in.
    """
    values: dict[int, bytes] = {}
    found: dict[int, Element] = {}
    while (element := reader.head(reader.end)) is not None:
        if element.tag in {PIXEL_DATA, EXTENDED_OFFSETS, EXTENDED_LENGTHS}:
            found.setdefault(element.tag, element)
        if element.tag in _WANTED and not element.is_undefined:
            values.setdefault(element.tag, reader.kept(element))
        else:
            reader.skip(element, reader.end)

    def number(tag: int) -> int:
        value = values.get(tag, b"")
        order = "little" if reader.syntax.head.format.startswith("<") else "big"
        return int.from_bytes(value[:2], order) if len(value) >= 2 else 0  # type: ignore[arg-type]

    return Image(
        samples_per_pixel=number(SAMPLES_PER_PIXEL),
        photometric_interpretation=text(values.get(PHOTOMETRIC_INTERPRETATION, b"")),
        planar_configuration=number(PLANAR_CONFIGURATION),
        number_of_frames=_count(values.get(NUMBER_OF_FRAMES, b"")),
        rows=number(ROWS),
        columns=number(COLUMNS),
        bits_allocated=number(BITS_ALLOCATED),
        bits_stored=number(BITS_STORED),
        pixel_representation=number(PIXEL_REPRESENTATION),
        pixel_data=found.get(PIXEL_DATA),
        extended_offsets=found.get(EXTENDED_OFFSETS),
        extended_lengths=found.get(EXTENDED_LENGTHS),
    )


def _count(value: bytes) -> int:
    """Number of Frames, VR IS; one where it is not said."""
    said = text(value).lstrip("+")
    if not said:
        return 1
    if not said.isdecimal() or len(said) > 12:
        raise NotTranscodable(f"{tag_name(NUMBER_OF_FRAMES)} is no number")
    return int(said)
