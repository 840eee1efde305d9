"""The one table that ties messages to their command elements (PS3.7 Section 9.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dicomrelay.dimse.messages import (
    CCancelRequest,
    CEchoRequest,
    CEchoResponse,
    CFindRequest,
    CFindResponse,
    CGetRequest,
    CGetResponse,
    CMoveRequest,
    CMoveResponse,
    CommandField,
    CStoreRequest,
    CStoreResponse,
    FormedMessage,
    NActionRequest,
    NActionResponse,
    NCreateRequest,
    NCreateResponse,
    NEventReportRequest,
    NEventReportResponse,
    NGetRequest,
    NGetResponse,
    NSetRequest,
    NSetResponse,
)


@dataclass(frozen=True, slots=True)
class MessageForm:
    """How one message is laid out as a command set.

    Attributes
    ----------
    command_field : CommandField
        Value of (0000,0100).
    message : type
        The value class.
    fields : tuple of (int, str, bool)
        Element number in group 0000, attribute of the value class, whether it must be there.
    """

    command_field: CommandField
    message: type[FormedMessage]
    fields: tuple[tuple[int, str, bool], ...]


_QUERY: Final = (
    (0x0002, "sop_class_uid", True),
    (0x0110, "message_id", True),
    (0x0700, "priority", False),
)
_ANSWERED: Final = (
    (0x0002, "sop_class_uid", False),
    (0x0120, "message_id_being_responded_to", True),
    (0x0900, "status", True),
    (0x0901, "offending_element", False),
    (0x0902, "error_comment", False),
)
_COUNTED: Final = (
    *_ANSWERED,
    (0x1020, "remaining", False),
    (0x1021, "completed", False),
    (0x1022, "failed", False),
    (0x1023, "warning", False),
)
_OBJECT_WANTED: Final = (
    (0x0003, "sop_class_uid", True),
    (0x0110, "message_id", True),
    (0x1001, "sop_instance_uid", False),
)
_OBJECT_ANSWERED: Final = (
    (0x0002, "sop_class_uid", False),
    (0x0120, "message_id_being_responded_to", True),
    (0x0900, "status", True),
    (0x0902, "error_comment", False),
    (0x0903, "error_id", False),
    (0x1000, "sop_instance_uid", False),
    (0x1005, "attributes", False),
)

# PS3.7 Tables 9.3-1 to 9.3-13 and 10.3-1 to 10.3-12, each in ascending order of the element.
MESSAGES: Final = (
    MessageForm(
        CommandField.C_STORE_RQ,
        CStoreRequest,
        (
            (0x0002, "sop_class_uid", True),
            (0x0110, "message_id", True),
            (0x0700, "priority", False),
            (0x1000, "sop_instance_uid", True),
            (0x1030, "move_originator_ae_title", False),
            (0x1031, "move_originator_message_id", False),
        ),
    ),
    MessageForm(
        CommandField.C_STORE_RSP,
        CStoreResponse,
        (
            (0x0002, "sop_class_uid", False),
            (0x0120, "message_id_being_responded_to", True),
            (0x0900, "status", True),
            (0x0902, "error_comment", False),
            (0x1000, "sop_instance_uid", False),
        ),
    ),
    MessageForm(
        CommandField.C_ECHO_RQ,
        CEchoRequest,
        ((0x0002, "sop_class_uid", True), (0x0110, "message_id", True)),
    ),
    MessageForm(
        CommandField.C_ECHO_RSP,
        CEchoResponse,
        (
            (0x0002, "sop_class_uid", False),
            (0x0120, "message_id_being_responded_to", True),
            (0x0900, "status", True),
        ),
    ),
    MessageForm(CommandField.C_FIND_RQ, CFindRequest, _QUERY),
    MessageForm(CommandField.C_FIND_RSP, CFindResponse, _ANSWERED),
    MessageForm(CommandField.C_GET_RQ, CGetRequest, _QUERY),
    MessageForm(CommandField.C_GET_RSP, CGetResponse, _COUNTED),
    MessageForm(
        CommandField.C_MOVE_RQ,
        CMoveRequest,
        (
            (0x0002, "sop_class_uid", True),
            (0x0110, "message_id", True),
            (0x0600, "move_destination", True),
            (0x0700, "priority", False),
        ),
    ),
    MessageForm(CommandField.C_MOVE_RSP, CMoveResponse, _COUNTED),
    MessageForm(
        CommandField.C_CANCEL_RQ,
        CCancelRequest,
        ((0x0120, "message_id_being_responded_to", True),),
    ),
    MessageForm(
        CommandField.N_ACTION_RQ,
        NActionRequest,
        (
            (0x0003, "sop_class_uid", True),
            (0x0110, "message_id", True),
            (0x1001, "sop_instance_uid", False),
            (0x1008, "action_type_id", False),
        ),
    ),
    MessageForm(
        CommandField.N_ACTION_RSP,
        NActionResponse,
        (
            (0x0002, "sop_class_uid", False),
            (0x0120, "message_id_being_responded_to", True),
            (0x0900, "status", True),
            (0x0902, "error_comment", False),
            (0x1000, "sop_instance_uid", False),
            (0x1008, "action_type_id", False),
        ),
    ),
    MessageForm(
        CommandField.N_EVENT_REPORT_RQ,
        NEventReportRequest,
        (
            (0x0002, "sop_class_uid", True),
            (0x0110, "message_id", True),
            (0x1000, "sop_instance_uid", False),
            (0x1002, "event_type_id", False),
        ),
    ),
    MessageForm(
        CommandField.N_EVENT_REPORT_RSP,
        NEventReportResponse,
        (
            (0x0002, "sop_class_uid", False),
            (0x0120, "message_id_being_responded_to", True),
            (0x0900, "status", True),
            (0x0902, "error_comment", False),
            (0x1000, "sop_instance_uid", False),
            (0x1002, "event_type_id", False),
        ),
    ),
    MessageForm(
        CommandField.N_CREATE_RQ,
        NCreateRequest,
        (
            (0x0002, "sop_class_uid", True),
            (0x0110, "message_id", True),
            (0x1000, "sop_instance_uid", False),
        ),
    ),
    MessageForm(CommandField.N_CREATE_RSP, NCreateResponse, _OBJECT_ANSWERED),
    MessageForm(CommandField.N_SET_RQ, NSetRequest, _OBJECT_WANTED),
    MessageForm(CommandField.N_SET_RSP, NSetResponse, _OBJECT_ANSWERED),
    MessageForm(
        CommandField.N_GET_RQ,
        NGetRequest,
        (*_OBJECT_WANTED, (0x1005, "attributes", False)),
    ),
    MessageForm(CommandField.N_GET_RSP, NGetResponse, _OBJECT_ANSWERED),
)
