"""What the acceptor asks of the service behind it, and the values they exchange.

The acceptor owns sockets, threads and deadlines; a service owns decisions and data. No socket reaches a service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from dicomrelay.dimse.messages import (
    CStoreRequest,
    Message,
    NActionRequest,
    NEventReportRequest,
    ObjectRequest,
    QueryRetrieveRequest,
    QueryRetrieveResponse,
)
from dicomrelay.errors import RelayError
from dicomrelay.net.outgoing_store import StoreItem
from dicomrelay.ul.pdu import (
    AssociateReject,
    AssociateRequest,
    AsynchronousOperations,
    ContextDecision,
    ExtendedNegotiation,
    RoleSelection,
)

# The service's word for a refusal; PS3.8 Table 9-21 numbers its result, source and reason.
Rejection = AssociateReject


class Admission(Enum):
    """What an address alone says, before an A-ASSOCIATE-RQ is read."""

    REFUSED = "refused"  # nobody may call from there: rejected for good
    STRANGER = "stranger"  # somebody may call from there; the room kept for those we know is not for them
    KNOWN = "known"  # a peer that the settings name lives there


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What a TLS handshake agreed on, and whom it showed.

    Attributes
    ----------
    version, cipher : str
        "TLSv1.3", "TLS_AES_256_GCM_SHA384".
    certificate_subject : str
        Of the peer's certificate, verified; empty when it has shown none.
    certificate_names : tuple of str
        Its common name, DNS names and addresses.
    certificate_sha256 : str
        Fingerprint of the whole certificate, 64 lower case hexadecimal digits.
    certificate_ends_s : float or None
        When it expires, in seconds since 1970.
    """

    version: str
    cipher: str
    certificate_subject: str = ""
    certificate_names: tuple[str, ...] = ()
    certificate_sha256: str = ""
    certificate_ends_s: float | None = None


@dataclass(frozen=True, slots=True)
class PeerConnection:
    """Where a connection comes from.

    Attributes
    ----------
    id : str
        Ours, and of this connection alone: its association will have the same. Address and port may come again while
        a connection that is dead has its last commits still to do.
    tls : TlsFacts or None
        None without TLS.
    """

    id: str
    address: str
    port: int
    tls: TlsFacts | None = None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What an accepted association is answered with.

    Attributes
    ----------
    contexts : sequence of ContextDecision
        One for each proposed context.
    roles : sequence of RoleSelection
        One for each proposed role; none for a SOP class that none was proposed for (PS3.7 Annex D.3.3.4).
    extended : sequence of ExtendedNegotiation
        For SOP classes that were proposed with one (PS3.7 Annex D.3.3.5). Common extended negotiation has no answer.
    window : AsynchronousOperations or None
        `invoked`: what the requestor may have outstanding; `performed`: what we may. None when the requestor has not
        asked, and means one each (PS3.7 Annex D.3.3.3).
    identity_response : bytes or None
        The server response; None when the requestor wants none (PS3.7 Annex D.3.3.7).
    reports : ReportHandler or None
        Takes the N-EVENT-REPORT requests of this association; None answers them 0211.
    operations : OperationHandler or None
        Serves the C-FIND, C-MOVE and C-GET requests of this association; None answers them 0211.
    actions : ActionHandler or None
        Takes the N-ACTION requests of this association; None answers them 0211.
    objects : ObjectHandler or None
        Takes the N-CREATE, N-SET and N-GET requests of this association; None answers them 0211.
    """

    contexts: Sequence[ContextDecision]
    roles: Sequence[RoleSelection] = ()
    extended: Sequence[ExtendedNegotiation] = ()
    window: AsynchronousOperations | None = None
    identity_response: bytes | None = field(default=None, repr=False)
    reports: ReportHandler | None = None
    operations: OperationHandler | None = None
    actions: ActionHandler | None = None
    objects: ObjectHandler | None = None


@dataclass(frozen=True, slots=True)
class AssociationInfo:
    """Who is at the other end; fixed once the association is accepted.

    Attributes
    ----------
    id : str
        As its `PeerConnection`: short, unique, for logs and provenance.
    tls : TlsFacts or None
        None without TLS.
    """

    id: str
    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    peer_port: int
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    tls: TlsFacts | None = None


@dataclass(frozen=True, slots=True)
class StoreReply:
    """What goes into, or came with, a C-STORE response.

    Attributes
    ----------
    status : int
        0 to 0xFFFF (PS3.4 Table B.2-1).
    comment : str
        Error Comment (0000,0902); cut to 64 characters when sent.
    """

    status: int
    comment: str = ""


# What is left to do for an answer, and may wait for a disk.
Commit = Callable[[], StoreReply]
# Gets an N-EVENT-REPORT request, its data set and the transfer syntax of that, and answers its status; may wait for a disk. A
# status of success says that the report is durable. What it raises is answered 0110.
ReportHandler = Callable[[AssociationInfo, NEventReportRequest, bytes, str], int]


class StoreChannel(Protocol):
    """An association over which C-STORE requests can be sent, whoever asked for it."""

    @property
    def id(self) -> str:
        """Of the association, for logs and provenance."""

    @property
    def accepted(self) -> Mapping[tuple[str, str], int]:
        """SOP class and transfer syntax to the presentation context that carries them."""

    @property
    def outstanding(self) -> int:
        """Requests sent, wholly or in part, whose response has not come."""

    def stores(
        self, items: Iterable[StoreItem], *, pace: Callable[[int], None] | None = None
    ) -> Iterator[tuple[StoreItem, StoreReply | RelayError | OSError]]:
        """C-STORE many instances: `net.requestor.Association.stores`."""


class SubOperations(StoreChannel, Protocol):
    """The association of a C-GET, for the C-STORE requests that go back over it. Used while the answer is asked for, in the
    association's thread; what the peer says beside its responses is served as usual meanwhile.
    """

    @property
    def ended(self) -> Exception | None:
        """What ended the association meanwhile: whoever serves the operation returns, and the rest is the engine's."""

    def tell(self, context_id: int, response: Message) -> None:
        """Send a pending response between two sub-operations."""


@dataclass(slots=True)
class RequestedOperation:
    """A C-FIND, C-MOVE or C-GET that a peer asks for.

    Attributes
    ----------
    context_id : int
        Of the presentation context that it came in.
    identifier : bytes
        At most `dimse.identifier.MAX_IDENTIFIER_BYTES`, not yet read; empty when the request came without one.
    transfer_syntax_uid : str
        Of the identifier, and of those that answer it.
    is_cancelled : bool
        A C-CANCEL for it has come. Whoever serves it looks between two answers, and ends it then with FE00.
    is_too_large : bool
        Its identifier was, and is not here: such a one is answered by the engine.
    stores : SubOperations or None
        Of a C-GET: where its sub-operations go.
    """

    request: QueryRetrieveRequest
    context_id: int
    identifier: bytes = field(repr=False)
    transfer_syntax_uid: str
    is_cancelled: bool = False
    is_too_large: bool = False
    stores: SubOperations | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """One response of an operation; `identifier` is its data set, in the transfer syntax of the request."""

    response: QueryRetrieveResponse
    identifier: bytes | None = field(default=None, repr=False)


# Gives the responses one by one; the first that is not pending is the last that is taken. None means "nothing yet", and
# gives the peer the chance to be heard: who waits does so for a quarter of a second at most. Called, and iterated, in the
# association's thread; closed when the association ends sooner. What it raises is answered A700 or C000.
OperationHandler = Callable[[AssociationInfo, RequestedOperation], Iterator[Answer | None]]


# Gets the status of the response to a report; None when the association ended without one. May take its time.
ReportAnswered = Callable[[int | None], None]


@dataclass(frozen=True, slots=True)
class EventReport:
    """An N-EVENT-REPORT to send on the association of the N-ACTION that it is about.

    Attributes
    ----------
    information : bytes
        Its data set, in the transfer syntax of the request.
    answered : callable
        Called once, in the association's thread.
    """

    event_type_id: int
    information: bytes = field(repr=False)
    answered: ReportAnswered


class DueReport(Protocol):
    """What may come of an N-ACTION on the same association. Asked in the association's thread."""

    def ready(self) -> EventReport | bool:
        """The report; True for "not yet", False for "no more". Asked several times a second; must not wait."""

    def gone(self) -> None:
        """The association is over and nothing was reported. Called at most once, and not after `ready` gave its last word."""


@dataclass(frozen=True, slots=True)
class ActionReply:
    """What an N-ACTION is answered.

    Attributes
    ----------
    status : int
        0 to 0xFFFF (PS3.7 Section 10.1.4.1.10).
    comment : str
        Error Comment (0000,0902); cut to 64 characters when sent.
    due : DueReport, optional
        What comes of it on the same association; None when nothing does.
    """

    status: int
    comment: str = ""
    due: DueReport | None = None


# Gets an N-ACTION request, its data set (None when that was over its bound) and the transfer syntax of it. May wait for a
# disk or a database. What it raises is answered 0110.
ActionHandler = Callable[[AssociationInfo, NActionRequest, bytes | None, str], ActionReply]


@dataclass(frozen=True, slots=True)
class ObjectReply:
    """What an N-CREATE, N-SET or N-GET is answered.

    Attributes
    ----------
    status : int
        0 to 0xFFFF (PS3.7 Annex C).
    comment : str
        Error Comment (0000,0902); cut to 64 characters when sent.
    sop_instance_uid : str
        Of the object, where the request did not name it.
    error_id : int or None
        Error ID (0000,0903).
    attributes : tuple of int
        Tags that the status is about; none for none.
    data_set : bytes or None
        In the transfer syntax of the request; None for a response without one.
    """

    status: int
    comment: str = ""
    sop_instance_uid: str = ""
    error_id: int | None = None
    attributes: tuple[int, ...] = ()
    data_set: bytes | None = field(default=None, repr=False)


# Gets an N-CREATE, N-SET or N-GET request, its data set (empty when it came without, None when that was over its bound) and
# the transfer syntax of it. May wait for a database; success says that what it asks for is durable. What it raises is
# answered 0110.
ObjectHandler = Callable[[AssociationInfo, ObjectRequest, bytes | None, str], ObjectReply]


class EndingKind(Enum):
    """How an association ended."""

    RELEASED = "released"
    ABORTED_BY_PEER = "aborted by the peer"
    ABORTED_BY_US = "aborted by us"  # a protocol error of the peer, or a fault of the service
    CONNECTION_LOST = "connection lost"
    TIMED_OUT = "timed out"
    STOPPED = "stopped"  # the acceptor's grace was over


@dataclass(frozen=True, slots=True)
class AssociationEnding:
    """What became of an association.

    Attributes
    ----------
    kind : EndingKind
    reason : str
        A sentence for people; empty after a release.
    echoes, stored, failed : int
        C-ECHO requests answered; C-STORE requests answered with Success or a warning; with a failure.
    bytes_received : int
        Data set bytes of complete and of abandoned data sets.
    duration_s : float
        From the acceptance of the TCP connection.
    operations : int
        C-FIND, C-MOVE and C-GET requests that were begun.
    """

    kind: EndingKind
    reason: str = ""
    echoes: int = 0
    stored: int = 0
    failed: int = 0
    bytes_received: int = 0
    duration_s: float = 0.0
    operations: int = 0


class StoreSink(Protocol):
    """Takes the data set of one C-STORE request."""

    def write(self, fragments: Sequence[memoryview]) -> None:
        """Take the next bytes. The views are valid during the call only.

        What it raises is answered by the table of `net.replies`; the rest of the data set is then read and thrown away,
        and `abandon` is called at once.
        """

    def finish(self) -> StoreReply | Commit:
        """The data set is complete: the answer, or a commit that makes it durable and gives the answer.

        A status of success says that it is durable. A commit is called exactly once; on an association with a window of
        asynchronous operations in another thread, while the next instance is received. What it raises is answered as
        that of `write`. Neither is followed by `abandon`.
        """

    def abandon(self) -> None:
        """The data set will never be complete, or `write` failed: forget it. Called at most once, after no finish."""


def finish(sink: StoreSink) -> StoreReply:
    """The answer of a sink, its commit carried out on the spot."""
    found = sink.finish()
    return found if isinstance(found, StoreReply) else found()


class AssociationService(Protocol):
    """What the acceptor asks. Called from the association's thread; `admit`, and `turned_away` after it, from the accept loop."""

    def admit(self, peer_address: str, open_associations: int) -> Admission:
        """What that address may expect; asked in the accept loop before a thread exists; must not block.

        REFUSED is rejected for good (1, 1, 1). Room is the acceptor's own matter: a STRANGER finds none in what is
        kept for those we know (`AcceptorLimits.reserved_associations`), and is rejected for now (2, 3, 2), as
        everybody is when the service fails here.
        """

    def negotiate(self, request: AssociateRequest, peer: PeerConnection) -> Rejection | Acceptance:
        """A rejection, or what is accepted; may take its time, as checking a passcode does.

        Once it has accepted, `opened` and `closed` follow, each exactly once and whatever happens between.
        """

    def opened(self, association: AssociationInfo) -> None:
        """The association is accepted; it is rejected for now (2, 1, 1) all the same when this raises."""

    def begin_store(
        self, association: AssociationInfo, request: CStoreRequest, transfer_syntax_uid: str
    ) -> StoreSink | StoreReply:
        """A C-STORE request came; a reply in place of a sink refuses it before its data set is read.

        The data set is then read and thrown away. What it raises is answered by the table of `net.replies`.
        """

    def closed(self, association: AssociationInfo, ending: AssociationEnding) -> None:
        """The association is over, or was not made though it was accepted; called exactly once after `opened`.

        The canonical log line is the service's.
        """

    def turned_away(self, peer_address: str, reason: str) -> None:
        """A caller got no association: address, room, TLS, or `negotiate` was against it; must not block.

        Parameters
        ----------
        reason : str
            In words; what the caller said of itself may be quoted in it.
        """
