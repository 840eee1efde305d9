"""Attributes of a plain data set, read by the shortest way: for an import of a hundred thousand files.

It answers what pydicom would answer, or nothing: whatever is not the rule (big endian, VRs against the dictionary, code
extensions, groups of a person name, numbers that are none) makes it give up, and pydicom reads the data set.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from dicomrelay.dicom.elements import KNOWN_VRS, LONG_VRS, SHORT_VRS, UNDEFINED_LENGTH
from dicomrelay.dicom.quick_scan import GivenUp, past_sequence, past_undefined

_EXPLICIT: Final = struct.Struct("<HH2sH").unpack_from
_IMPLICIT: Final = struct.Struct("<HHI").unpack_from
_LENGTH: Final = struct.Struct("<I").unpack_from
_U16: Final = struct.Struct("<H").unpack_from

_CHARACTER_SET: Final = 0x00080005
_MAX_ELEMENTS: Final = 10_000
# Escape sequences and line ends; a NUL may be padding.
_CONTROLS: Final = bytes([*range(1, 0x20), 0x7F])
_LONGEST_BYTES: Final = 4096
# Python's name of the one character set that a value of (0008,0005) stands for (PS3.3 Section C.12.1.1.2).
_CODECS: Final = {
    b"": "latin-1",
    b"ISO_IR 6": "latin-1",
    b"ISO_IR 100": "latin-1",
    b"ISO_IR 192": "utf-8",
}
_TEXT: Final = frozenset({"LO", "SH", "PN"})
_PLAIN: Final = frozenset({"CS", "DA", "TM", "UI", "AE"})


def quick_values(
    data: bytes, wanted: Mapping[int, str], *, implicit: bool, is_whole: bool
) -> dict[int, str | int | None] | None:
    """Values of a little-endian data set by tag, or None where pydicom must read it.

    Parameters
    ----------
    data : bytes
        The data set from its first byte, or the head of it.
    wanted : mapping
        VR by tag. Text comes as it stands, its padding too; of several values the first.
    implicit : bool
        Whether VRs are left out.
    is_whole : bool
        Nothing follows on `data`.
    """
    if len(data) < 8 or data[1] or implicit is (data[4:6] in KNOWN_VRS):
        return None
    try:
        raw = (_walk_implicit if implicit else _walk_explicit)(data, wanted, is_whole=is_whole)
        codec = _CODECS.get(raw.pop(_CHARACTER_SET, b"").strip(b" \0"))
        if codec is None:
            return None
        return {tag: _value(value, wanted[tag], codec) for tag, value in raw.items()}
    except (GivenUp, struct.error, UnicodeDecodeError):
        return None


def _walk_explicit(data: bytes, wanted: Mapping[int, str], *, is_whole: bool) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    last, pos, end = max(wanted), 0, len(data) if is_whole else -1
    head, short, long = _EXPLICIT, SHORT_VRS, LONG_VRS
    before = 0
    for _ in range(_MAX_ELEMENTS):
        if pos == end:
            return found
        group, element, vr, length = head(data, pos)
        tag = group << 16 | element
        if tag > last:
            return found
        if tag <= before:
            raise GivenUp
        before = tag
        if vr in short:
            pos += 8
        elif vr in long:
            (length,) = _LENGTH(data, pos + 8)
            pos += 12
            if length == UNDEFINED_LENGTH:
                pos = past_undefined(data, pos, tag, vr)
                continue
        else:
            raise GivenUp
        if tag in wanted or tag == _CHARACTER_SET:
            if wanted.get(tag, "CS") != vr.decode("ascii"):
                raise GivenUp
            found[tag] = _bytes(data, pos, length)
        pos += length
    raise GivenUp


def _walk_implicit(data: bytes, wanted: Mapping[int, str], *, is_whole: bool) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    last, pos, end = max(wanted), 0, len(data) if is_whole else -1
    head = _IMPLICIT
    before = 0
    for _ in range(_MAX_ELEMENTS):
        if pos == end:
            return found
        group, element, length = head(data, pos)
        tag = group << 16 | element
        if tag > last:
            return found
        if tag <= before:
            raise GivenUp
        before = tag
        pos += 8
        if length == UNDEFINED_LENGTH:
            pos = past_sequence(data, pos, 0, explicit=False)
            continue
        if tag in wanted or tag == _CHARACTER_SET:
            found[tag] = _bytes(data, pos, length)
        pos += length
    raise GivenUp


def _bytes(data: bytes, pos: int, length: int) -> bytes:
    if length > _LONGEST_BYTES or pos + length > len(data):
        raise GivenUp
    return data[pos : pos + length]


def _value(raw: bytes, vr: str, codec: str) -> str | int | None:
    if vr == "US":
        if not raw:
            return None
        if len(raw) % 2:
            raise GivenUp
        number: int = _U16(raw)[0]
        return number
    if raw.translate(None, _CONTROLS) != raw:
        raise GivenUp
    is_many = b"\\" in raw
    first = raw.split(b"\\", 1)[0]
    if vr == "IS":
        digits = first.strip(b" \0")
        if not digits:
            if is_many:
                raise GivenUp
            return None
        if len(digits) > 12 or not digits.lstrip(b"+-").isdigit():
            raise GivenUp
        return int(digits)
    if vr == "PN" and (b"=" in raw or is_many):
        raise GivenUp
    if vr in _PLAIN:
        return first.decode("latin-1")
    if vr in _TEXT:
        return first.decode(codec)
    raise GivenUp
