"""DIMSE messages, typed (PS3.7 Section 9.3 and 10.3); `forms` ties them to their command elements.

A further service joins with a value class here and a row of `forms.MESSAGES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


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
class CFindRequest:
    """C-FIND-RQ (PS3.7 Section 9.3.2.1); the identifier is its data set."""

    message_id: int
    sop_class_uid: str
    priority: int = Priority.MEDIUM


@dataclass(frozen=True, slots=True)
class CFindResponse:
    """C-FIND-RSP (PS3.7 Section 9.3.2.2); with an identifier while it is pending."""

    message_id_being_responded_to: int
    status: int
    sop_class_uid: str = ""
    offending_element: tuple[int, ...] = ()
    error_comment: str = ""


@dataclass(frozen=True, slots=True)
class CGetRequest:
    """C-GET-RQ (PS3.7 Section 9.3.3.1); the identifier is its data set."""

    message_id: int
    sop_class_uid: str
    priority: int = Priority.MEDIUM


@dataclass(frozen=True, slots=True)
class CMoveRequest:
    """C-MOVE-RQ (PS3.7 Section 9.3.4.1): send what the identifier matches to the AE `move_destination`."""

    message_id: int
    sop_class_uid: str
    move_destination: str
    priority: int = Priority.MEDIUM


@dataclass(frozen=True, slots=True)
class RetrieveResponse:
    """What C-GET-RSP and C-MOVE-RSP have in common (PS3.7 Sections 9.3.3.2 and 9.3.4.2).

    Attributes
    ----------
    remaining, completed, failed, warning : int or None
        C-STORE sub-operations so far, 0 to 65,535; None for a counter that the peer leaves out.
    """

    message_id_being_responded_to: int
    status: int
    sop_class_uid: str = ""
    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    offending_element: tuple[int, ...] = ()
    error_comment: str = ""


@dataclass(frozen=True, slots=True)
class CGetResponse(RetrieveResponse):
    """C-GET-RSP."""


@dataclass(frozen=True, slots=True)
class CMoveResponse(RetrieveResponse):
    """C-MOVE-RSP."""


@dataclass(frozen=True, slots=True)
class CCancelRequest:
    """C-CANCEL-RQ of a C-FIND, C-GET or C-MOVE (PS3.7 Sections 9.3.2.3, 9.3.3.3, 9.3.4.3); it has no response."""

    message_id_being_responded_to: int


@dataclass(frozen=True, slots=True)
class NActionRequest:
    """N-ACTION-RQ (PS3.7 Section 10.3.5.1): the Requested SOP Class and SOP Instance UID; the data set is its information.

    What the standard wants and a peer left out is "" or None: such a request has an answer too.
    """

    message_id: int
    sop_class_uid: str
    sop_instance_uid: str = ""
    action_type_id: int | None = None


@dataclass(frozen=True, slots=True)
class NActionResponse:
    """N-ACTION-RSP (PS3.7 Section 10.3.5.2)."""

    message_id_being_responded_to: int
    status: int
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    action_type_id: int | None = None
    error_comment: str = ""


@dataclass(frozen=True, slots=True)
class NEventReportRequest:
    """N-EVENT-REPORT-RQ (PS3.7 Section 10.3.1.1): Affected SOP Class and SOP Instance UID; the data set is its information.

    What the standard wants and a peer left out is "" or None: such a request has an answer too.
    """

    message_id: int
    sop_class_uid: str
    sop_instance_uid: str = ""
    event_type_id: int | None = None


@dataclass(frozen=True, slots=True)
class NEventReportResponse:
    """N-EVENT-REPORT-RSP (PS3.7 Section 10.3.1.2)."""

    message_id_being_responded_to: int
    status: int
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    event_type_id: int | None = None
    error_comment: str = ""


@dataclass(frozen=True, slots=True)
class NCreateRequest:
    """N-CREATE-RQ (PS3.7 Section 10.3.6.1): the data set is the Attribute List.

    Without a SOP Instance UID the performer gives one (PS3.7 Section 10.1.5.1.4).
    """

    message_id: int
    sop_class_uid: str
    sop_instance_uid: str = ""


@dataclass(frozen=True, slots=True)
class NSetRequest:
    """N-SET-RQ (PS3.7 Section 10.3.3.1): the data set is the Modification List. What a peer left out is ""."""

    message_id: int
    sop_class_uid: str
    sop_instance_uid: str = ""


@dataclass(frozen=True, slots=True)
class NGetRequest:
    """N-GET-RQ (PS3.7 Section 10.3.2.1); it has no data set.

    Attributes
    ----------
    attributes : tuple of int
        Tags of the Attribute Identifier List; none for all.
    """

    message_id: int
    sop_class_uid: str
    sop_instance_uid: str = ""
    attributes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ObjectResponse:
    """What the responses to N-CREATE, N-SET and N-GET have in common (PS3.7 Sections 10.3.2.2, 10.3.3.2 and 10.3.6.2).

    Attributes
    ----------
    error_id : int or None
        Error ID (0000,0903), 0 to 0xFFFF; None for none.
    attributes : tuple of int
        Tags of the Attribute Identifier List: those that the status is about.
    """

    message_id_being_responded_to: int
    status: int
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    error_comment: str = ""
    error_id: int | None = None
    attributes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class NCreateResponse(ObjectResponse):
    """N-CREATE-RSP."""


@dataclass(frozen=True, slots=True)
class NSetResponse(ObjectResponse):
    """N-SET-RSP."""


@dataclass(frozen=True, slots=True)
class NGetResponse(ObjectResponse):
    """N-GET-RSP; the data set is the Attribute List."""


@dataclass(frozen=True, slots=True)
class UnsupportedRequest:
    """A request of a kind that has no row in `MESSAGES`; answered with 0x0211 (PS3.7 Annex C.5)."""

    command_field: int
    message_id: int
    sop_class_uid: str = ""


@dataclass(frozen=True, slots=True)
class UnsupportedResponse:
    """A response of a kind that has no row in `MESSAGES`."""

    command_field: int
    message_id_being_responded_to: int
    status: int | None = None


QueryRetrieveRequest = CFindRequest | CGetRequest | CMoveRequest
QueryRetrieveResponse = CFindResponse | CGetResponse | CMoveResponse
ObjectRequest = NCreateRequest | NSetRequest | NGetRequest
FormedMessage = (
    CEchoRequest
    | CEchoResponse
    | CStoreRequest
    | CStoreResponse
    | QueryRetrieveRequest
    | QueryRetrieveResponse
    | CCancelRequest
    | NActionRequest
    | NActionResponse
    | NEventReportRequest
    | NEventReportResponse
    | ObjectRequest
    | NCreateResponse
    | NSetResponse
    | NGetResponse
)
Message = FormedMessage | UnsupportedRequest | UnsupportedResponse
