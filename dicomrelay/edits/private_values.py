"""What a private value is where the syntax does not say: implicit VR, and UN (PS3.5 Sections 6.2.2 and 7.8)."""

from __future__ import annotations

import re
from typing import Final

from dicomrelay.dicom.uids import is_tolerable_uid
from dicomrelay.edits.text import stripped
from dicomrelay.edits.tree import Item, Leaf

# The version of a program, and an address, have fewer parts and are shorter; a fraction has but one dot.
_UID: Final = re.compile(r"[0-2](?:\.\d+){5,}|(?=.{20})[0-2](?:\.\d+){2,}", re.ASCII)
_ITEM: Final = b"\xfe\xff\x00\xe0"
_LONGEST: Final = 1024
_DAY: Final = re.compile(
    r"(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
    r"(?:(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d(?:\.\d{1,6})?)?(?:[+-]\d{4})?)?",
    re.ASCII,
)


def private_kind(leaf: Leaf, item: Item) -> bytes:
    """The VR of a private value: as it is written, as pydicom's dictionary of its creator has it, or as the value looks.

    What looks like UIDs or like dates is taken for them: one too many that is mapped or moved does less harm than one too few.
    """
    if leaf.kind != b"UN":
        return leaf.kind
    from pydicom.datadict import private_dictionary_VR  # noqa: PLC0415 - see dicomrelay.edits.text

    group, number = leaf.tag >> 16, leaf.tag & 0xFFFF
    creator = stripped(item.leaf(group << 16 | number >> 8).decode("latin-1"))
    try:
        known = private_dictionary_VR((group, number), creator)[:2].encode("ascii")
    except KeyError:
        known = b"UN"
    return _looks_like(leaf.value) if known == b"UN" else known


def _looks_like(value: bytes) -> bytes:
    if value.startswith(_ITEM):
        return b"SQ"
    if len(value) > _LONGEST or not value.isascii():
        return b"UN"
    texts = [text for each in value.decode("ascii").split("\\") if (text := stripped(each))]
    if texts and all(map(_is_uid, texts)):
        return b"UI"
    if texts and all(map(_DAY.fullmatch, texts)):
        return b"DA" if all(len(text) == len("YYYYMMDD") for text in texts) else b"DT"
    return b"UN"


def _is_uid(text: str) -> bool:
    return is_tolerable_uid(text) and _UID.fullmatch(text) is not None
