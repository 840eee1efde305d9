"""The protocol data units of PS3.8 Section 9.3, as values.

Knows nothing of bytes: `reader` makes these out of bytes, `writer` makes bytes out of these.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple


class PduType(IntEnum):
    """The first byte of a PDU (PS3.8 Section 9.3.1)."""

    ASSOCIATE_RQ = 0x01
    ASSOCIATE_AC = 0x02
    ASSOCIATE_RJ = 0x03
    P_DATA_TF = 0x04
    RELEASE_RQ = 0x05
    RELEASE_RP = 0x06
    ABORT = 0x07


class ContextResult(IntEnum):
    """What an acceptor decides about a presentation context (PS3.8 Table 9-18)."""

    ACCEPTANCE = 0
    USER_REJECTION = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


class AbortSource(IntEnum):
    """Who aborts (PS3.8 Table 9-26)."""

    SERVICE_USER = 0
    RESERVED = 1
    SERVICE_PROVIDER = 2


class AbortReason(IntEnum):
    """Why a service provider aborts (PS3.8 Table 9-26)."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    RESERVED = 3
    UNRECOGNIZED_PARAMETER = 4
    UNEXPECTED_PARAMETER = 5
    INVALID_PARAMETER_VALUE = 6


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """A presentation context as proposed (PS3.8 Section 9.3.2.2).

    Attributes
    ----------
    context_id : int
        Odd, 1 to 255.
    abstract_syntax : str
        The SOP class UID.
    transfer_syntaxes : tuple of str
        At least one UID, in the requestor's order.
    """

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContextDecision:
    """The answer to one proposed context (PS3.8 Section 9.3.3.2).

    Attributes
    ----------
    context_id : int
        Odd, 1 to 255.
    result : ContextResult or int
        0 accepts.
    transfer_syntax : str
        The one chosen; not significant, and may be empty, when the result is not acceptance.
    """

    context_id: int
    result: int
    transfer_syntax: str = ""

    @property
    def is_accepted(self) -> bool:
        """Whether the context may be used."""
        return self.result == ContextResult.ACCEPTANCE


@dataclass(frozen=True, slots=True)
class AsynchronousOperations:
    """The asynchronous operations window (PS3.7 Annex D.3.3.3); 0 means unlimited."""

    invoked: int
    performed: int


@dataclass(frozen=True, slots=True)
class RoleSelection:
    """SCP/SCU role selection for one SOP class (PS3.7 Annex D.3.3.4)."""

    sop_class_uid: str
    scu: bool
    scp: bool


@dataclass(frozen=True, slots=True)
class ExtendedNegotiation:
    """SOP class extended negotiation (PS3.7 Annex D.3.3.5)."""

    sop_class_uid: str
    application_information: bytes


@dataclass(frozen=True, slots=True)
class CommonExtendedNegotiation:
    """SOP class common extended negotiation (PS3.7 Annex D.3.3.6)."""

    sop_class_uid: str
    service_class_uid: str
    related_general_sop_class_uids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """Who the user of the requestor is (PS3.7 Annex D.3.3.7).

    Attributes
    ----------
    identity_type : int
        1 user name, 2 user name and passcode, 3 Kerberos ticket, 4 SAML assertion, 5 JSON web token.
    response_requested : bool
        Whether the acceptor is asked to confirm.
    primary_field, secondary_field : bytes
        Name or ticket, and passcode. Neither appears in the repr, so neither reaches a log.
    """

    identity_type: int
    response_requested: bool
    primary_field: bytes = field(repr=False)
    secondary_field: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class UserInformation:
    """The user information item (PS3.8 Annex D.1, PS3.7 Annex D.3.3); sub-items that we do not know are ignored.

    Attributes
    ----------
    maximum_length : int
        The longest variable field of a P-DATA-TF PDU that the sender of this item takes, in bytes; 0 means any.
    user_identity_response : bytes or None
        The server response of an A-ASSOCIATE-AC; None when there is none.
    """

    maximum_length: int = 0
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    asynchronous_operations: AsynchronousOperations | None = None
    roles: tuple[RoleSelection, ...] = ()
    extended: tuple[ExtendedNegotiation, ...] = ()
    common_extended: tuple[CommonExtendedNegotiation, ...] = ()
    user_identity: UserIdentity | None = None
    user_identity_response: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AssociateRequest:
    """A-ASSOCIATE-RQ (PS3.8 Section 9.3.2)."""

    called_ae_title: str
    calling_ae_title: str
    application_context: str
    contexts: tuple[ProposedContext, ...]
    user_information: UserInformation
    protocol_version: int = 1


@dataclass(frozen=True, slots=True)
class AssociateAccept:
    """A-ASSOCIATE-AC (PS3.8 Section 9.3.3); the AE titles are those of the request, sent back."""

    called_ae_title: str
    calling_ae_title: str
    application_context: str
    contexts: tuple[ContextDecision, ...]
    user_information: UserInformation
    protocol_version: int = 1


@dataclass(frozen=True, slots=True)
class AssociateReject:
    """A-ASSOCIATE-RJ (PS3.8 Section 9.3.4, Table 9-21): result 1 permanent, 2 transient."""

    result: int
    source: int
    reason: int


class Pdv(NamedTuple):
    """A presentation data value (PS3.8 Section 9.3.5.1 and Annex E.2).

    A named tuple, not a dataclass: some are made for every C-STORE, and this is the cheapest value there is.
    `data` of one that was received is a view of the receive buffer, valid until the next receive.
    """

    context_id: int
    is_command: bool
    is_last: bool
    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class PDataTf:
    """P-DATA-TF (PS3.8 Section 9.3.5)."""

    pdvs: tuple[Pdv, ...]


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """A-RELEASE-RQ (PS3.8 Section 9.3.6)."""


@dataclass(frozen=True, slots=True)
class ReleaseResponse:
    """A-RELEASE-RP (PS3.8 Section 9.3.7)."""


@dataclass(frozen=True, slots=True)
class Abort:
    """A-ABORT (PS3.8 Section 9.3.8)."""

    source: int = AbortSource.SERVICE_USER
    reason: int = AbortReason.NOT_SPECIFIED


Pdu = (
    AssociateRequest | AssociateAccept | AssociateReject | PDataTf | ReleaseRequest | ReleaseResponse | Abort
)
