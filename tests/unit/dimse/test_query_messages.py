"""C-FIND, C-GET, C-MOVE and C-CANCEL as command sets (PS3.7 Sections 9.3.2 to 9.3.4)."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import pytest
from pydicom.filereader import read_dataset
from pynetdicom.dimse_messages import C_MOVE_RSP
from pynetdicom.dimse_primitives import C_MOVE
from pynetdicom.dsutils import encode as encode_independently

from dicomrelay.dimse.codec import decode_message, encode_message, encode_unsupported_response
from dicomrelay.dimse.command_set import decode_command_set
from dicomrelay.dimse.messages import (
    CCancelRequest,
    CFindRequest,
    CFindResponse,
    CGetRequest,
    CGetResponse,
    CMoveRequest,
    CMoveResponse,
    FormedMessage,
    Priority,
)
from dicomrelay.errors import LocalProtocolError, RemoteProtocolError

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
EVERY = (
    CFindRequest(1, STUDY_ROOT_FIND, Priority.HIGH),
    CFindResponse(1, 0xFF00, STUDY_ROOT_FIND),
    CFindResponse(1, 0xA900, "", (0x00100020, 0x00080052), "no such level"),
    CGetRequest(65_535, "1.2"),
    CGetResponse(65_535, 0xFF00, "1.2", 5, 4, 3, 2),
    CMoveRequest(2, "1.2", "RELAY"),
    CMoveResponse(2, 0xB000, "1.2", None, 0, 65_535, 0, (), "some failed"),
    CCancelRequest(3),
)


@pytest.mark.parametrize("message", EVERY, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("has_data_set", [True, False])
def test_every_message_comes_back_as_it_went(message: FormedMessage, has_data_set: bool) -> None:
    """Also a counter of 0, which is not the same as none."""
    assert decode_message(encode_message(message, has_data_set=has_data_set)) == (message, has_data_set)


def test_an_independent_reader_finds_every_element() -> None:
    """pydicom reads what we write."""
    raw = encode_message(CMoveRequest(7, STUDY_ROOT_FIND, "RELAY", Priority.LOW), has_data_set=True)
    elements = read_dataset(BytesIO(raw), is_implicit_VR=True, is_little_endian=True)
    assert elements.CommandField == 0x0021
    assert elements.MessageID == 7
    assert elements.AffectedSOPClassUID == STUDY_ROOT_FIND
    assert elements.MoveDestination == "RELAY"
    assert elements.Priority == 2
    assert elements.CommandDataSetType != 0x0101


def test_what_an_independent_writer_writes_is_read() -> None:
    """pynetdicom's C-MOVE-RSP with all its counters."""
    primitive = C_MOVE()
    primitive.MessageIDBeingRespondedTo, primitive.AffectedSOPClassUID, primitive.Status = 4, "1.2.3", 0xB000
    primitive.NumberOfRemainingSuboperations, primitive.NumberOfCompletedSuboperations = 0, 3
    primitive.NumberOfFailedSuboperations, primitive.NumberOfWarningSuboperations = 2, 1
    message = C_MOVE_RSP()
    message.primitive_to_message(primitive)
    raw = encode_independently(message.command_set, True, True)
    assert decode_message(raw) == (CMoveResponse(4, 0xB000, "1.2.3", 0, 3, 2, 1), False)


@pytest.mark.parametrize("message", EVERY, ids=lambda each: type(each).__name__)
def test_a_mandatory_element_that_is_missing_is_named(message: FormedMessage) -> None:
    """Each of them in turn (PS3.7 Section 9.3); those the standard leaves to the peer may be missing."""
    raw = encode_message(message, has_data_set=False)
    for element in decode_command_set(raw):
        without = _without(raw, element)
        if element in {0x0100, 0x0110, 0x0120, 0x0600, 0x0800, 0x0900}:
            with pytest.raises(RemoteProtocolError, match=f"0000,{element:04X}"):
                decode_message(without)
        elif element != 0x0002 or "Request" not in type(message).__name__:
            assert decode_message(without)


def test_a_move_destination_that_is_no_ae_title_is_not_sent() -> None:
    """Seventeen characters are one too many (PS3.5 Table 6.2-1)."""
    with pytest.raises(LocalProtocolError, match="MoveDestination"):
        encode_message(replace(CMoveRequest(1, "1.2", "X"), move_destination="X" * 17), has_data_set=True)


@pytest.mark.parametrize("message", [each for each in EVERY if hasattr(each, "message_id")])
def test_a_request_that_we_do_not_serve_is_answered_with_its_own_response(message: FormedMessage) -> None:
    """Command field with bit 15, the request's message id and SOP class."""
    assert not isinstance(message, CCancelRequest)
    raw = encode_unsupported_response(message, 0x0211)  # type: ignore[arg-type]
    answer, has_data_set = decode_message(raw)
    assert type(answer).__name__ == type(message).__name__.replace("Request", "Response")
    assert answer.message_id_being_responded_to == message.message_id
    assert (answer.status, answer.sop_class_uid, has_data_set) == (0x0211, message.sop_class_uid, False)


def _without(raw: bytes, element: int) -> bytes:
    """The command set without one element; the group length is not looked at by a reader."""
    position, kept = 0, b""
    while position < len(raw):
        after = position + 8 + int.from_bytes(raw[position + 4 : position + 8], "little")
        if int.from_bytes(raw[position + 2 : position + 4], "little") != element:
            kept += raw[position:after]
        position = after
    return kept
