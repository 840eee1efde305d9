"""The attributes of a plain data set, by the shortest way: most of what archiving an instance costs is reading them.

It answers what `archive.attributes.read_attributes` would by pydicom, or nothing. Whatever is not the rule (another VR than
PS3.6 has, a character set with escapes, what goes beyond the head that was read) makes it give up, and pydicom decides. So it
needs no error of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from dicomrelay.dicom.elements import LONG_VRS, SHORT_VRS, UNDEFINED_LENGTH
from dicomrelay.dicom.quick_scan import GivenUp, past_sequence

_EXPLICIT: Final = struct.Struct("<HH2sH").unpack_from
_IMPLICIT: Final = struct.Struct("<HHI").unpack_from
_LENGTH: Final = struct.Struct("<I").unpack_from
_NUMBER: Final = struct.Struct("<H").unpack
_CHARACTER_SET: Final = 0x00080005
# Defined terms without escape sequences (PS3.3 Table C.12-2) whose bytes Python decodes as pydicom does.
_ENCODINGS: Final = {"": "iso8859", "ISO_IR 6": "iso8859", "ISO_IR 100": "latin_1", "ISO_IR 192": "utf8"}
_LONGEST_VALUE: Final = 1024


def quick_values(head: bytes, tags: Mapping[int, str], *, implicit: bool) -> dict[int, str] | None:
    """The first value of each attribute that is there and not empty, as text; None when somebody else must look.

    Parameters
    ----------
    head : bytes
        A data set in little endian from its first byte: all of it, or as far as the last of the tags at least.
    tags : mapping of int to str
        The tags that are wanted, with their VRs.
    """
    try:
        found = _walk(head, tags, max(tags), implicit=implicit)
        encoding = _ENCODINGS.get(found.pop(_CHARACTER_SET, b"").decode("ascii").strip(" \0"))
        if encoding is None:
            return None
        return {tag: text for tag, value in found.items() if (text := _text(value, tags[tag], encoding))}
    except (GivenUp, struct.error, UnicodeDecodeError, ValueError):
        return None


def _walk(head: bytes, tags: Mapping[int, str], last: int, *, implicit: bool) -> dict[int, bytes]:
    """The values by tag, of the data set's own level, in the order of the tags: one that goes back is for pydicom."""
    found: dict[int, bytes] = {}
    pos, before, size = 0, 0, len(head)
    while pos < size:
        if implicit:
            group, element, length = _IMPLICIT(head, pos)
            vr = b""
            pos += 8
        else:
            group, element, vr, length = _EXPLICIT(head, pos)
            pos += 8
            if vr in LONG_VRS:
                (length,) = _LENGTH(head, pos)
                pos += 4
            elif vr not in SHORT_VRS:
                raise GivenUp
        tag = group << 16 | element
        if tag <= before:
            raise GivenUp
        before = tag
        if tag > last:
            return found
        if length == UNDEFINED_LENGTH:
            if tag in tags or vr not in (b"", b"SQ"):
                raise GivenUp
            pos = past_sequence(head, pos, 0, explicit=not implicit)
            continue
        if tag in tags or tag == _CHARACTER_SET:
            wanted = "CS" if tag == _CHARACTER_SET else tags[tag]
            if (vr and vr != wanted.encode("ascii")) or length > _LONGEST_VALUE:
                raise GivenUp
            found[tag] = head[pos : pos + length]
        pos += length
    if pos > size:
        raise GivenUp  # the head ends within a value
    return found


def _text(value: bytes, vr: str, encoding: str) -> str:
    if vr == "US":
        return str(_NUMBER(value)[0]) if value else ""
    if b"\x1b" in value or (vr in {"IS", "DA", "TM", "CS", "UI"} and not value.isascii()):
        raise GivenUp
    text = value.decode(encoding).split("\\", 1)[0].strip(" \0")
    if vr == "PN" and text.endswith("="):
        raise GivenUp  # empty component groups are counted in more than one way
    if vr == "IS" and text:
        return str(int(text))
    return text
