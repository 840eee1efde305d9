"""An answer in DICOM JSON as the bytes of an identifier, in the peer's character set or in UTF-8. Pure.

PS3.3 Section C.12.1.1.2 and PS3.5 Section 7.5. Where all of it is ASCII, and the request named no set, none is named.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from dicomrelay.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.dimse.flat_identifier import encode_elements
from dicomrelay.scheduling.worklist_item import value_text
from scp_gateway.query.character_sets import UNICODE, CharacterSet

_CHARACTER_SET: Final = 0x00080005
_ITEM: Final = struct.Struct("<HHI")
_FORMATS: Final = {
    "FD": "<d",
    "FL": "<f",
    "SL": "<i",
    "SS": "<h",
    "SV": "<q",
    "UL": "<I",
    "US": "<H",
    "UV": "<Q",
}


class _DoesNotFit(Exception):
    """A text has characters that the set lacks."""


def identifier(answer: Mapping[str, Any], character_set: CharacterSet, transfer_syntax_uid: str) -> bytes:
    """The bytes of one answer.

    Parameters
    ----------
    answer : mapping
        DICOM JSON, without Specific Character Set.
    character_set : CharacterSet
        That of the request.
    """
    implicit = transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN
    try:
        return _whole(answer, character_set, implicit=implicit)
    except _DoesNotFit:
        return _whole(answer, UNICODE, implicit=implicit)


def _whole(answer: Mapping[str, Any], character_set: CharacterSet, *, implicit: bool) -> bytes:
    elements = [*_elements(answer, character_set, implicit=implicit)]
    if character_set.names:
        elements.append((_CHARACTER_SET, "CS", "\\".join(character_set.names).encode("ascii")))
    return encode_elements(elements, implicit=implicit)


def _elements(
    holder: Mapping[str, Any], character_set: CharacterSet, *, implicit: bool
) -> Iterator[tuple[int, str, bytes]]:
    for tag, element in holder.items():
        vr: str = element["vr"]
        values = element.get("Value") or []
        if vr == "SQ":
            value = b"".join(_item(item, character_set, implicit=implicit) for item in values)
        elif "InlineBinary" in element:
            value = base64.b64decode(element["InlineBinary"])
        elif vr == "AT":
            value = b"".join(struct.pack("<HH", int(each[:4], 16), int(each[4:], 16)) for each in values)
        elif vr in _FORMATS:
            value = b"".join(struct.pack(_FORMATS[vr], each) for each in values)
        else:
            value = _text(values, vr, character_set)
        yield int(tag, 16), vr, value


def _item(item: Mapping[str, Any], character_set: CharacterSet, *, implicit: bool) -> bytes:
    value = encode_elements(_elements(item, character_set, implicit=implicit), implicit=implicit)
    return _ITEM.pack(0xFFFE, 0xE000, len(value)) + value


def _text(values: Sequence[Any], vr: str, character_set: CharacterSet) -> bytes:
    """Each value by itself: a backslash goes back to the first of several sets (PS3.5 Section 6.1.2.5.3)."""
    parts = []
    for each in values:
        part = character_set.encoded(value_text(each), vr)
        if part is None:
            if character_set is not UNICODE:
                raise _DoesNotFit
            # What is ASCII by the standard and is not so in the data set: the answer has no way to say it.
            part = value_text(each).encode("ascii", "replace")
        parts.append(part)
    return b"\\".join(parts)
