"""Value representations when an element changes its syntax: which one it gets, and how its bytes turn. No I/O."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from pydicom.datadict import dictionary_VR

PIXEL_DATA: Final = 0x7FE00010

# Bytes of one number (PS3.5 Table 6.2-1): what turns around between little and big endian.
_WIDTHS: Final = {
    b"US": 2, b"SS": 2, b"OW": 2, b"AT": 2,
    b"UL": 4, b"SL": 4, b"FL": 4, b"OF": 4, b"OL": 4,
    b"FD": 8, b"OD": 8, b"SV": 8, b"UV": 8, b"OV": 8,
}  # fmt: skip
_BYTES: Final = frozenset(b"AE AS CS DA DS DT IS LO LT OB PN SH SQ ST TM UC UI UN UR UT".split())
_PADDED_WITH_NUL: Final = frozenset({b"UI", b"OB", b"UN"})


def width(vr: bytes) -> int | None:
    """Bytes of one number of a value, 1 for text and octets; None for a VR that nobody knows."""
    return 1 if vr in _BYTES else _WIDTHS.get(vr)


def padding(vr: bytes) -> bytes:
    """What makes a value even (PS3.5 Section 6.2)."""
    return b"\0" if vr in _PADDED_WITH_NUL or vr in _WIDTHS else b" "


@lru_cache(maxsize=8192)
def dictionary_vr(tag: int) -> str:
    """What the data dictionary says of a tag (PS3.6), "UN" for what it does not know; "US or SS" and such as they stand."""
    group, element = tag >> 16, tag & 0xFFFF
    if element == 0:
        return "UL"  # group length
    if group % 2:
        # A private creator is LO; what it reserves, only its maker knows (PS3.5 Section 7.8.1).
        return "LO" if 0x10 <= element <= 0xFF else "UN"
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"


def explicit_vr(tag: int, *, signed: bool) -> bytes:
    """The VR of an element whose source leaves VRs out.

    Parameters
    ----------
    signed : bool
        Whether Pixel Representation (0028,0103) of this data set says that samples are signed.

    References: PS3.5 Annex A.1 and A.2, Section 6.2.2.
    """
    vr = dictionary_vr(tag)
    if vr == "US or SS":
        return b"SS" if signed else b"US"
    if " or " in vr:
        return b"OW"  # as implicit VR has it, and allowed for any depth
    return b"UN" if len(vr) != 2 else vr.encode("ascii")
