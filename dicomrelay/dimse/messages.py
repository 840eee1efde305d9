"""DIMSE messages, typed (PS3.7 Section 9.3 and 10.3), and the one table that ties them to their command elements.

A further service (C-FIND, C-MOVE, C-GET, N-ACTION and so on) joins with a value class and a row of `MESSAGES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class CommandField(IntEnum):
    """The kind of a message (PS3.7 Annex E, Table E.1-1); a response has bit 15 set."""

    C_STORE_RQ = 0x0001
    C_STORE_RSP = 0x8001
    C_GET_RQ = 0x0010
    C_GET_RSP = 0x8010
    C_FIND_RQ = 0x0020
    C_FIND_RSP = 0x8020
    C_MOVE_RQ = 0x0021
    C_MOVE_RSP = 0x8021
    C_ECHO_RQ = 0x0030
    C_ECHO_RSP = 0x8030
    N_EVENT_REPORT_RQ = 0x0100
    N_EVENT_REPORT_RSP = 0x8100
    N_GET_RQ = 0x0110
    N_GET_RSP = 0x8110
    N_SET_RQ = 0x0120
    N_SET_RSP = 0x8120
    N_ACTION_RQ = 0x0130
    N_ACTION_RSP = 0x8130
    N_CREATE_RQ = 0x0140
    N_CREATE_RSP = 0x8140
    N_DELETE_RQ = 0x0150
    N_DELETE_RSP = 0x8150
    C_CANCEL_RQ = 0x0FFF


class Priority(IntEnum):
    """Priority (0000,0700)."""

    MEDIUM = 0
    HIGH = 1
    LOW = 2


@dataclass(frozen=True, slots=True)
class CEchoRequest:
    """C-ECHO-RQ (PS3.7 Section 9.3.5.1)."""

    message_id: int
    sop_class_uid: str


@dataclass(frozen=True, slots=True)
class CEchoResponse:
    """C-ECHO-RSP (PS3.7 Section 9.3.5.2)."""

    message_id_being_responded_to: int
    status: int
    sop_class_uid: str = ""


@dataclass(frozen=True, slots=True)
class CStoreRequest:
    """C-STORE-RQ (PS3.7 Section 9.3.1.1): the Affected SOP Class and SOP Instance UID, as they came.

    The UIDs are strings from the wire: at most 64 characters, not yet checked to be UIDs.
    """

    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    priority: int = Priority.MEDIUM
    move_originator_ae_title: str = ""
    move_originator_message_id: int | None = None


@dataclass(frozen=True, slots=True)
class CStoreResponse:
    """C-STORE-RSP (PS3.7 Section 9.3.1.2)."""

    message_id_being_responded_to: int
    status: int
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    error_comment: str = ""


@dataclass(frozen=True, slots=True)
class UnsupportedRequest:
    """A request of a kind that has no row in `MESSAGES`; answered with 0x0211 (PS3.7 Annex C.5)."""

    command_field: int
    message_id: int
    sop_class_uid: str = ""


@dataclass(frozen=True, slots=True)
class UnsupportedResponse:
    """A response, or a C-CANCEL, of a kind that has no row in `MESSAGES`."""

    command_field: int
    message_id_being_responded_to: int
    status: int | None = None


Message = (
    CEchoRequest | CEchoResponse | CStoreRequest | CStoreResponse | UnsupportedRequest | UnsupportedResponse
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
    message: type[CEchoRequest | CEchoResponse | CStoreRequest | CStoreResponse]
    fields: tuple[tuple[int, str, bool], ...]


# PS3.7 Tables 9.3-1, 9.3-2, 9.3-12 and 9.3-13, in ascending order of the element.
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
)
