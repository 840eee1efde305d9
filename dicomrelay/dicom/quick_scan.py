"""The whole scan of a plain data set, by the shortest way: for looking at a hundred thousand files.

It answers what `HeaderScanner(whole=True)` would answer, or nothing. Whatever is not the rule (bytes missing or too many, VRs
against the transfer syntax, tags where they must not stand, big endian, deflated) makes it give up, and the general
scan decides. So it needs no error of its own, and no limit that the other has could be passed here.
"""

from __future__ import annotations

import struct
from mmap import mmap
from typing import Final

from dicomrelay.dicom.elements import KNOWN_VRS, LONG_VRS, SHORT_VRS, UNDEFINED_LENGTH, text
from dicomrelay.dicom.scan import (
    MAX_VALUE_BYTES,
    MODALITY,
    NUMBER_OF_FRAMES,
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    Header,
)
from dicomrelay.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN, transfer_syntax

Data = bytes | mmap

_EXPLICIT: Final = struct.Struct("<HH2sH").unpack_from
_IMPLICIT: Final = struct.Struct("<HHI").unpack_from
_ITEM_HEAD: Final = struct.Struct("<II").unpack_from
_LENGTH: Final = struct.Struct("<I").unpack_from

# As a little endian 32-bit number reads them: element above group.
_ITEM, _ITEM_END, _SEQUENCE_END = 0xE000FFFE, 0xE00DFFFE, 0xE0DDFFFE
_DELIMITERS: Final = 0xFFFE
_PIXEL_DATA: Final = 0x7FE00010
# Commands (or the zeros at the end of a file), and delimiters: in no data set, on its own level.
_ODD_GROUPS: Final = frozenset({0x0000, _DELIMITERS})
_NOTABLE_GROUPS: Final = _ODD_GROUPS | {0x0008, 0x0020, 0x0028}
_UIDS: Final = frozenset({SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID})
_WANTED: Final = _UIDS | {MODALITY, NUMBER_OF_FRAMES}
# Together they keep far below the limits of a whole scan.
_MAX_BYTES: Final = 64 << 20
_MAX_ELEMENTS: Final = 100_000
_MAX_DEPTH: Final = 16


class GivenUp(Exception):
    """Not the rule: the general scan must look."""


def quick_scan(data: Data, start: int, size: int, transfer_syntax_uid: str) -> Header | None:
    """The header of a data set that is whole and plain, or None when the general scan must look.

    Parameters
    ----------
    data : bytes or mmap
        The file, or its head.
    start : int
        Where the data set begins in it.
    size : int
        Bytes of the file. A value may go beyond `data`, if it ends with the file.
    """
    if len(data) - start < 8 or len(data) > _MAX_BYTES:
        return None
    vr = bytes(data[start + 4 : start + 6])
    if not data[start] or data[start + 1]:  # the first group is no small number in little endian
        return None
    implicit = transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN
    syntax = transfer_syntax(transfer_syntax_uid)
    if implicit is (vr in KNOWN_VRS) or syntax.is_deflated or not syntax.is_little_endian:
        return None
    try:
        found = (_walk_implicit if implicit else _walk_explicit)(data, start, size)
    except (GivenUp, struct.error):
        return None
    value = found.get
    frames = value(NUMBER_OF_FRAMES, "")
    return Header(
        value(SOP_CLASS_UID, ""),
        value(SOP_INSTANCE_UID, ""),
        value(STUDY_INSTANCE_UID, ""),
        value(SERIES_INSTANCE_UID, ""),
        value(MODALITY, ""),
        int(frames) if frames.isdecimal() else 0,
    )


def _walk_explicit(data: Data, pos: int, size: int) -> dict[int, str]:
    found: dict[int, str] = {}
    # Local names, because every element of every file passes here.
    head, short, long, groups = _EXPLICIT, SHORT_VRS, LONG_VRS, _NOTABLE_GROUPS
    for _ in range(_MAX_ELEMENTS):
        if pos >= size:
            break
        group, element, vr, length = head(data, pos)
        if vr in short:
            pos += 8
        elif vr in long:
            (length,) = _LENGTH(data, pos + 8)
            pos += 12
            if length == UNDEFINED_LENGTH and group not in _ODD_GROUPS:
                pos = past_undefined(data, pos, group << 16 | element, vr)
                continue
        else:
            raise GivenUp
        if group in groups:
            _look_at(found, data, group << 16 | element, pos, length)
        pos += length
    if pos != size:
        raise GivenUp
    return found


def _walk_implicit(data: Data, pos: int, size: int) -> dict[int, str]:
    found: dict[int, str] = {}
    head, groups = _IMPLICIT, _NOTABLE_GROUPS
    for _ in range(_MAX_ELEMENTS):
        if pos >= size:
            break
        group, element, length = head(data, pos)
        pos += 8
        if length == UNDEFINED_LENGTH and group not in _ODD_GROUPS:
            if group << 16 | element == _PIXEL_DATA:
                raise GivenUp
            pos = past_sequence(data, pos, 0, explicit=False)
            continue
        if group in groups:
            _look_at(found, data, group << 16 | element, pos, length)
        pos += length
    if pos != size:
        raise GivenUp
    return found


def _look_at(found: dict[int, str], data: Data, tag: int, pos: int, length: int) -> None:
    """Keep what is wanted; an element of a group that has no place here is for the general scan."""
    if tag >> 16 in _ODD_GROUPS:
        raise GivenUp
    if tag not in _WANTED:
        return
    if length > MAX_VALUE_BYTES:
        if tag in _UIDS:
            raise GivenUp
        return
    value = bytes(data[pos : pos + length])
    if len(value) != length:
        raise GivenUp
    found.setdefault(tag, text(value))


def past_undefined(data: Data, pos: int, tag: int, vr: bytes) -> int:
    """Where what has no length ends: a sequence, or the fragments of pixel data. Raises GivenUp, struct.error."""
    if tag == _PIXEL_DATA:
        return _past_fragments(data, pos)
    if vr == b"SQ":
        return past_sequence(data, pos, 0, explicit=True)
    raise GivenUp


def _past_fragments(data: Data, pos: int) -> int:
    for _ in range(_MAX_ELEMENTS):
        tag, length = _ITEM_HEAD(data, pos)
        pos += 8
        if tag == _SEQUENCE_END:
            return pos
        if tag != _ITEM or length == UNDEFINED_LENGTH:
            raise GivenUp
        pos += length
    raise GivenUp


def past_sequence(data: Data, pos: int, depth: int, *, explicit: bool) -> int:
    """Where a sequence without a length that begins at `pos` ends. Raises GivenUp, struct.error."""
    if depth > _MAX_DEPTH:
        raise GivenUp
    for _ in range(_MAX_ELEMENTS):
        tag, length = _ITEM_HEAD(data, pos)
        pos += 8
        if tag == _SEQUENCE_END:
            return pos
        if tag != _ITEM:
            raise GivenUp
        if length != UNDEFINED_LENGTH:
            pos += length
        elif explicit:
            pos = _past_explicit_item(data, pos, depth)
        else:
            pos = _past_implicit_item(data, pos, depth)
    raise GivenUp


def _past_explicit_item(data: Data, pos: int, depth: int) -> int:
    short, long = SHORT_VRS, LONG_VRS
    for _ in range(_MAX_ELEMENTS):
        group, element, vr, length = _EXPLICIT(data, pos)
        if group == _DELIMITERS:
            if element != _ITEM_END >> 16:
                raise GivenUp
            return pos + 8
        if vr in short:
            pos += 8 + length
            continue
        if vr not in long:
            raise GivenUp
        (length,) = _LENGTH(data, pos + 8)
        pos += 12
        if length != UNDEFINED_LENGTH:
            pos += length
        elif vr == b"SQ" and group << 16 | element != _PIXEL_DATA:
            pos = past_sequence(data, pos, depth + 1, explicit=True)
        else:
            raise GivenUp
    raise GivenUp


def _past_implicit_item(data: Data, pos: int, depth: int) -> int:
    for _ in range(_MAX_ELEMENTS):
        group, element, length = _IMPLICIT(data, pos)
        pos += 8
        if group == _DELIMITERS:
            if element != _ITEM_END >> 16:
                raise GivenUp
            return pos
        if length != UNDEFINED_LENGTH:
            pos += length
        elif group << 16 | element == _PIXEL_DATA:
            raise GivenUp
        else:
            pos = past_sequence(data, pos, depth + 1, explicit=False)
    raise GivenUp
