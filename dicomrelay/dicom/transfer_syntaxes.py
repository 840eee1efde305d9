"""The registry of transfer syntaxes (PS3.6 Annex A, Table A-1), taken from pydicom's dictionary."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final

from dicomrelay.dicom.uid_dictionary import UID_DICTIONARY

IMPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1.99"
EXPLICIT_VR_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"

# Their whole data set is one deflated stream (PS3.5 Annex A.5). JPIP's deflated form is one too (PS3.5 Annex A.7).
_DEFLATED: Final = frozenset(
    {DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
)
# Pixel data is native, or elsewhere (JPIP, SMPTE ST 2110).
_NATIVE: Final = frozenset(
    {
        IMPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_LITTLE_ENDIAN,
        DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_BIG_ENDIAN,
        "1.2.840.10008.1.2.4.94",
        "1.2.840.10008.1.2.4.95",
        "1.2.840.10008.1.2.4.204",
        "1.2.840.10008.1.2.4.205",
        "1.2.840.10008.1.2.7.1",
        "1.2.840.10008.1.2.7.2",
        "1.2.840.10008.1.2.7.3",
    }
)
# One bit stream for all frames: no frame stands alone (PS3.5 Section 8.2.5 to 8.2.9).
_VIDEO_PREFIXES: Final = tuple(
    f"1.2.840.10008.1.2.4.{n}" for n in (100, 101, 102, 103, 104, 105, 106, 107, 108)
)
_PREFIX: Final = "1.2.840.10008.1.2."


class TransferSyntaxCategory(StrEnum):
    """What a transfer syntax does to pixel data."""

    UNCOMPRESSED = "uncompressed"
    DEFLATED = "deflated"
    LOSSLESS = "lossless"
    LOSSY = "lossy"
    VIDEO = "video"
    HTJ2K = "htj2k"
    JPEG_XL = "jpeg-xl"
    REFERENCED = "referenced"
    REAL_TIME = "real-time"
    RETIRED = "retired"
    PRIVATE = "private"

    @property
    def heading(self) -> str:
        """A heading for people."""
        return _HEADINGS[self]


_HEADINGS: Final = {
    TransferSyntaxCategory.UNCOMPRESSED: "Uncompressed",
    TransferSyntaxCategory.DEFLATED: "Deflated",
    TransferSyntaxCategory.LOSSLESS: "Compressed without loss",
    TransferSyntaxCategory.LOSSY: "Compressed, perhaps with loss",
    TransferSyntaxCategory.VIDEO: "Video",
    TransferSyntaxCategory.HTJ2K: "High-throughput JPEG 2000",
    TransferSyntaxCategory.JPEG_XL: "JPEG XL",
    TransferSyntaxCategory.REFERENCED: "Pixel data elsewhere (JPIP)",
    TransferSyntaxCategory.REAL_TIME: "Real-time video (SMPTE ST 2110)",
    TransferSyntaxCategory.RETIRED: "Retired",
    TransferSyntaxCategory.PRIVATE: "Private or unknown",
}
# Of those that the standard has not retired; video by its prefixes.
_CATEGORIES: Final = {
    f"{_PREFIX}{number}" if number else IMPLICIT_VR_LITTLE_ENDIAN: category
    for category, numbers in {
        TransferSyntaxCategory.UNCOMPRESSED: ("", "1", "1.98"),
        TransferSyntaxCategory.DEFLATED: ("1.99", "8.1"),
        TransferSyntaxCategory.LOSSLESS: ("4.57", "4.70", "4.80", "4.90", "4.92", "5"),
        TransferSyntaxCategory.LOSSY: ("4.50", "4.51", "4.81", "4.91", "4.93"),
        TransferSyntaxCategory.HTJ2K: ("4.201", "4.202", "4.203"),
        TransferSyntaxCategory.JPEG_XL: ("4.110", "4.111", "4.112"),
        TransferSyntaxCategory.REFERENCED: ("4.94", "4.95", "4.204", "4.205"),
        TransferSyntaxCategory.REAL_TIME: ("7.1", "7.2", "7.3"),
    }.items()
    for number in numbers
}
# MIME and XML wrappings and Papyrus 3: forms of a file, never of a data set on an association.
_NOT_ON_AN_ASSOCIATION: Final = ("1.2.840.10008.1.2.6.1", "1.2.840.10008.1.2.6.2", "1.2.840.10008.1.20")
# Newer than pydicom's dictionary (PS3.6 2024e and later). pynetdicom adds them to it when it happens to be imported.
_NEWER: Final = {
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression",
}


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """How the bytes of a data set are laid out.

    Attributes
    ----------
    uid, name : str
        As in PS3.6 Table A-1.
    retired : bool
        Whether the standard has retired it; it is accepted and forwarded all the same.
    """

    uid: str
    name: str
    retired: bool

    @property
    def is_implicit_vr(self) -> bool:
        """Whether the value representations are left out."""
        return self.uid == IMPLICIT_VR_LITTLE_ENDIAN

    @property
    def is_little_endian(self) -> bool:
        """Whether the least significant byte comes first."""
        return self.uid != EXPLICIT_VR_BIG_ENDIAN

    @property
    def is_deflated(self) -> bool:
        """Whether the whole data set is a deflated stream."""
        return self.uid in _DEFLATED

    @property
    def is_encapsulated(self) -> bool:
        """Whether pixel data is a sequence of fragments (PS3.5 Annex A.4)."""
        return self.uid not in _NATIVE

    @property
    def is_video(self) -> bool:
        """Whether all frames share one bit stream."""
        return self.uid.startswith(_VIDEO_PREFIXES)

    @property
    def category(self) -> TransferSyntaxCategory:
        """What it does to pixel data; retired ones and those that the standard does not know are kinds of their own."""
        if self.retired:
            return TransferSyntaxCategory.RETIRED
        if self.is_video:
            return TransferSyntaxCategory.VIDEO
        return _CATEGORIES.get(self.uid, TransferSyntaxCategory.PRIVATE)


@cache
def transfer_syntaxes() -> dict[str, TransferSyntax]:
    """Every transfer syntax of the standard, retired ones too, by UID."""
    found = {
        uid: TransferSyntax(uid, name, retired == "Retired")
        for uid, (name, kind, _info, retired, _keyword) in UID_DICTIONARY.items()
        if kind == "Transfer Syntax"
    }
    for uid, name in _NEWER.items():
        found.setdefault(uid, TransferSyntax(uid, name, retired=False))
    for uid in _NOT_ON_AN_ASSOCIATION:
        found.pop(uid, None)
    return found


def transfer_syntax(uid: str) -> TransferSyntax:
    """The transfer syntax of that UID; an unknown one is taken as explicit VR little endian, encapsulated.

    PS3.5 Section 10 and Annex A.4: every syntax added since 1993 but the native ones is built that way.
    """
    return transfer_syntaxes().get(uid) or TransferSyntax(uid, uid, retired=False)
