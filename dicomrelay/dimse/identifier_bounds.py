"""What is asked of an identifier before it is decoded, and what of its elements afterwards. Pure."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset

from dicomrelay.dicom.elements import SHORT_VRS, UNDEFINED_LENGTH, looks_like_vr, tag_name
from dicomrelay.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.errors import MalformedDataSet

# Elements and items, whatever they stand in. All attributes of the dictionary are as many; pydicom takes a second for them.
MAX_ELEMENTS: Final = 5000
_DELIMITERS: Final = 0xFFFE
_HEAD: Final = struct.Struct("<HH2sH")
_LENGTH: Final = struct.Struct("<I")
# Text that is matched, and written, alike: what one edition of the dictionary calls SH is LO in the next.
_TEXTS: Final = frozenset({"AE", "AS", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT"})


class TooManyElements(MalformedDataSet):
    """An identifier of more than `MAX_ELEMENTS`."""


def require_few_elements(raw: bytes, transfer_syntax_uid: str, limit: int = MAX_ELEMENTS) -> None:
    """Count elements and items, those in sequences too, and no further than the limit.

    Sequences are gone into and their ends not kept in mind: whether the bytes are a whole data set is not asked here.

    Raises
    ------
    TooManyElements
        There are more.
    """
    explicit = transfer_syntax_uid != IMPLICIT_VR_LITTLE_ENDIAN
    pos = count = 0
    while pos + _HEAD.size <= len(raw):
        count += 1
        if count > limit:
            raise TooManyElements(f"an identifier of more than {limit} elements", offset=pos)
        group, element, vr, short = _HEAD.unpack_from(raw, pos)
        if explicit and group != _DELIMITERS and looks_like_vr(vr):
            if vr in SHORT_VRS:
                pos += _HEAD.size + short
                continue
            pos += _LENGTH.size
            if pos + _HEAD.size > len(raw):
                return
        (length,) = _LENGTH.unpack_from(raw, pos + 4)
        pos += _HEAD.size
        holds_items = vr == b"SQ" or "SQ" in _vrs(group << 16 | element)
        if length != UNDEFINED_LENGTH and group != _DELIMITERS and not holds_items:
            pos += length


def foreign_vr(identifier: Dataset) -> int | None:
    """The tag of the first element, of items too, that has not the VR of its attribute (PS3.6); None when all have.

    Private attributes and those that the dictionary does not know may have any; UN says nothing, and text may be other
    text.
    """
    for element in identifier:
        vrs = _vrs(int(element.tag))
        if vrs and str(element.VR) not in vrs:
            return int(element.tag)
        if element.VR == "SQ":
            for item in element.value:
                if (found := foreign_vr(item)) is not None:
                    return found
    return None


def has_its_vr(tag: int, vr: str) -> bool:
    """Whether an attribute may have that VR, as `foreign_vr` sees it."""
    vrs = _vrs(tag)
    return not vrs or vr in vrs


def not_its_vr(tag: int) -> str:
    """What is said of an element that `foreign_vr` found."""
    return f"{keyword_for_tag(tag)} {tag_name(tag)}: not its VR"


@lru_cache(maxsize=8192)
def _vrs(tag: int) -> frozenset[str]:
    """The VRs that an attribute may have; none when nothing is known of it."""
    try:
        vr = str(dictionary_VR(tag))
    except KeyError:
        return frozenset()
    found = {vr, *vr.split(" or ")}
    return frozenset(found | {"UN"} | (_TEXTS if found & _TEXTS else frozenset()))
