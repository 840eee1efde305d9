"""Command sets: group 0000 in implicit VR little endian (PS3.7 Section 6.3.1), both ways.

Values stay values: an int for US and UL, a str for UI, AE and LO, a tuple of ints for AT. Elements that Table E.1-1 of
PS3.7 Annex E does not list (retired ones mostly) are skipped.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final

from dicomrelay.errors import LocalProtocolError, RemoteProtocolError
from dicomrelay.ul.pdu import AbortReason

Value = int | str | tuple[int, ...]

_ELEMENT = struct.Struct("<HHI")
_US_ELEMENT = struct.Struct("<HHIH")
_UL = struct.Struct("<I")
_GROUP_LENGTH_ELEMENT = struct.Struct("<HHII")

GROUP_LENGTH: Final = 0x0000
COMMAND_FIELD: Final = 0x0100
DATA_SET_TYPE: Final = 0x0800
NO_DATA_SET: Final = 0x0101
_DATA_SET_FOLLOWS: Final = 0x0000

# Element number in group 0000 to its value representation and keyword (PS3.7 Table E.1-1).
ELEMENTS: Final[dict[int, tuple[str, str]]] = {
    0x0000: ("UL", "CommandGroupLength"),
    0x0002: ("UI", "AffectedSOPClassUID"),
    0x0003: ("UI", "RequestedSOPClassUID"),
    0x0100: ("US", "CommandField"),
    0x0110: ("US", "MessageID"),
    0x0120: ("US", "MessageIDBeingRespondedTo"),
    0x0600: ("AE", "MoveDestination"),
    0x0700: ("US", "Priority"),
    0x0800: ("US", "CommandDataSetType"),
    0x0900: ("US", "Status"),
    0x0901: ("AT", "OffendingElement"),
    0x0902: ("LO", "ErrorComment"),
    0x0903: ("US", "ErrorID"),
    0x1000: ("UI", "AffectedSOPInstanceUID"),
    0x1001: ("UI", "RequestedSOPInstanceUID"),
    0x1002: ("US", "EventTypeID"),
    0x1005: ("AT", "AttributeIdentifierList"),
    0x1008: ("US", "ActionTypeID"),
    0x1020: ("US", "NumberOfRemainingSuboperations"),
    0x1021: ("US", "NumberOfCompletedSuboperations"),
    0x1022: ("US", "NumberOfFailedSuboperations"),
    0x1023: ("US", "NumberOfWarningSuboperations"),
    0x1030: ("AE", "MoveOriginatorApplicationEntityTitle"),
    0x1031: ("US", "MoveOriginatorMessageID"),
}
_US_ELEMENTS: Final = frozenset(element for element, (vr, _) in ELEMENTS.items() if vr == "US")
_MAX_CHARACTERS: Final = {"UI": 64, "AE": 16, "LO": 64}


def decode_command_set(raw: bytes) -> dict[int, Value]:
    """The elements of a command set by element number; an empty value counts as missing.

    Raises
    ------
    RemoteProtocolError
        An element that is cut off, is not of group 0000, or whose value does not fit its representation.
    """
    found: dict[int, Value] = {}
    position, end = 0, len(raw)
    while position < end:
        if end - position < 8:
            raise _invalid(f"the command set is cut off at byte {position}")
        group, element, length = _ELEMENT.unpack_from(raw, position)
        position += 8
        after = position + length
        if group != 0:
            raise _invalid(f"element ({group:04X},{element:04X}) does not belong in a command set")
        if after > end:
            raise _invalid(
                f"element (0000,{element:04X}) claims {length} bytes and {end - position} are left"
            )
        if length == 2 and element in _US_ELEMENTS:  # most of them, so without a detour
            found[element] = raw[position] | raw[position + 1] << 8
        elif length and element in ELEMENTS:
            found[element] = _decode_value(element, ELEMENTS[element][0], raw[position:after])
        position = after
    return found


def encode_command_set(elements: Mapping[int, Value]) -> bytes:
    """A command set with its group length in front, elements in ascending order.

    Raises
    ------
    LocalProtocolError
        A value that does not fit its representation; the message names the element.
    """
    return with_group_length([encode_element(element, elements[element]) for element in sorted(elements)])


def with_group_length(parts: Sequence[bytes]) -> bytes:
    """Encoded elements, which are in ascending order, behind the group length that counts them."""
    body = b"".join(parts)
    return _GROUP_LENGTH_ELEMENT.pack(0, GROUP_LENGTH, 4, len(body)) + body


def encode_element(element: int, value: Value) -> bytes:
    """One element of group 0000.

    Raises
    ------
    LocalProtocolError
        A value that does not fit its representation; the message names the element.
    """
    vr, keyword = ELEMENTS[element]
    try:
        if vr == "US" and isinstance(value, int):
            return _US_ELEMENT.pack(0, element, 2, value)
        if vr in _MAX_CHARACTERS and isinstance(value, str) and len(value) <= _MAX_CHARACTERS[vr]:
            raw = value.encode("ascii")
            if len(raw) & 1:
                raw += b"\0" if vr == "UI" else b" "
            return _ELEMENT.pack(0, element, len(raw)) + raw
        if vr == "UL" and isinstance(value, int):
            return _ELEMENT.pack(0, element, 4) + _UL.pack(value)
        if vr == "AT" and isinstance(value, tuple):
            raw = b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in value)
            return _ELEMENT.pack(0, element, len(raw)) + raw
    except (struct.error, UnicodeEncodeError):
        pass
    raise LocalProtocolError(f"{keyword} cannot be {value!r}", section="PS3.7 Section 6.3.1")


def data_set_type(follows: bool) -> int:
    """Command Data Set Type (0000,0800): 0101H says that there is no data set, any other value that there is."""
    return _DATA_SET_FOLLOWS if follows else NO_DATA_SET


def _decode_value(element: int, vr: str, raw: bytes) -> Value:
    if vr in _MAX_CHARACTERS:
        return _decode_text(element, vr, raw)
    if vr == "UL" and len(raw) == 4:
        return int(_UL.unpack(raw)[0])
    if vr == "AT" and len(raw) % 4 == 0:
        numbers = struct.unpack(f"<{len(raw) // 2}H", raw)
        return tuple(group << 16 | number for group, number in zip(numbers[::2], numbers[1::2], strict=True))
    raise _misfit(element, raw)


def _decode_text(element: int, vr: str, raw: bytes) -> str:
    text = raw.strip(b"\0 ")
    if vr == "LO":
        # Words for people: what is no text there is no reason to end an association.
        return text.decode("ascii", "replace")[: _MAX_CHARACTERS[vr]]
    if len(text) > _MAX_CHARACTERS[vr] or not text.isascii():
        raise _misfit(element, raw)
    return text.decode("ascii")


def _misfit(element: int, raw: bytes) -> RemoteProtocolError:
    vr, keyword = ELEMENTS[element]
    return _invalid(f"{keyword} (0000,{element:04X}) of {len(raw)} bytes is no {vr}")


def _invalid(message: str) -> RemoteProtocolError:
    return RemoteProtocolError(
        message, section="PS3.7 Section 6.3.1", abort_reason=AbortReason.INVALID_PARAMETER_VALUE
    )
