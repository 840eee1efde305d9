"""Messages to command sets and back, by the table in `forms`."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from dicomrelay.dimse.command_set import (
    COMMAND_FIELD,
    DATA_SET_TYPE,
    ELEMENTS,
    NO_DATA_SET,
    Value,
    data_set_type,
    decode_command_set,
    encode_command_set,
    encode_element,
    with_group_length,
)
from dicomrelay.dimse.forms import MESSAGES, MessageForm
from dicomrelay.dimse.messages import (
    CommandField,
    Message,
    NActionRequest,
    NEventReportRequest,
    ObjectRequest,
    QueryRetrieveRequest,
    UnsupportedRequest,
    UnsupportedResponse,
)
from dicomrelay.errors import LocalProtocolError, RemoteProtocolError
from dicomrelay.ul.pdu import AbortReason

_BY_FIELD: Final = {int(form.command_field): form for form in MESSAGES}
_BY_TYPE: Final[dict[type, MessageForm]] = {form.message: form for form in MESSAGES}

_RESPONSE_BIT: Final = 0x8000


def decode_message(raw: bytes) -> tuple[Message, bool]:
    """The message of a command set, and whether a data set follows.

    Raises
    ------
    RemoteProtocolError
        Not a command set, or one that lacks a mandatory element.
    """
    elements = decode_command_set(raw)
    field = _number(elements, COMMAND_FIELD)
    follows = _number(elements, DATA_SET_TYPE) != NO_DATA_SET
    form = _BY_FIELD.get(field)
    if form is None:
        return _unsupported(field, elements), follows
    values: dict[str, Any] = {}
    for element, attribute, mandatory in form.fields:
        value = elements.get(element)
        if value is not None:
            values[attribute] = value
        elif mandatory:
            raise _missing(element, f" in a {form.command_field.name}")
    return form.message(**values), follows


def encode_message(message: Message, *, has_data_set: bool) -> bytes:
    """The command set of a message. Optional fields that are empty are left out.

    Raises
    ------
    LocalProtocolError
        For a kind of message that is not in the table, or a value that does not fit.
    """
    form = _BY_TYPE.get(type(message))
    if form is None:
        raise LocalProtocolError(f"no form for a {type(message).__name__}", section="PS3.7 Section 9.3")
    parts = []
    for step in _plan(form.command_field, has_data_set):
        if isinstance(step, bytes):
            parts.append(step)
            continue
        element, attribute, mandatory = step
        value = getattr(message, attribute)
        if mandatory or value not in (None, "", ()):
            parts.append(encode_element(element, value))
    return with_group_length(parts)


@cache
def _plan(field: CommandField, has_data_set: bool) -> tuple[bytes | tuple[int, str, bool], ...]:
    """The elements of a kind of message in ascending order; those with a fixed value are encoded already."""
    form = _BY_FIELD[field]
    steps: dict[int, bytes | tuple[int, str, bool]] = {field[0]: field for field in form.fields}
    steps[COMMAND_FIELD] = encode_element(COMMAND_FIELD, int(form.command_field))
    steps[DATA_SET_TYPE] = encode_element(DATA_SET_TYPE, data_set_type(has_data_set))
    return tuple(steps[element] for element in sorted(steps))


def encode_unsupported_response(
    request: UnsupportedRequest | QueryRetrieveRequest | NActionRequest | NEventReportRequest | ObjectRequest,
    status: int,
) -> bytes:
    """The response to a request of a kind that we do not serve: its own command field with bit 15 set."""
    field: int = (
        request.command_field
        if isinstance(request, UnsupportedRequest)
        else _BY_TYPE[type(request)].command_field
    )
    return encode_command_set(
        {
            COMMAND_FIELD: field | _RESPONSE_BIT,
            0x0120: request.message_id,
            DATA_SET_TYPE: NO_DATA_SET,
            0x0900: status,
            **({0x0002: request.sop_class_uid} if request.sop_class_uid else {}),
        }
    )


def _unsupported(field: int, elements: dict[int, Value]) -> UnsupportedRequest | UnsupportedResponse:
    if field & _RESPONSE_BIT:
        status = elements.get(0x0900)
        return UnsupportedResponse(
            field, _number(elements, 0x0120), status if isinstance(status, int) else None
        )
    uid = elements.get(0x0002) or elements.get(0x0003) or ""
    return UnsupportedRequest(field, _number(elements, 0x0110), str(uid))


def _number(elements: dict[int, Value], element: int) -> int:
    value = elements.get(element)
    if not isinstance(value, int):
        raise _missing(element, "")
    return value


def _missing(element: int, where: str) -> RemoteProtocolError:
    return RemoteProtocolError(
        f"{ELEMENTS[element][1]} (0000,{element:04X}) is missing{where}",
        section="PS3.7 Section 9.3",
        abort_reason=AbortReason.INVALID_PARAMETER_VALUE,
    )
