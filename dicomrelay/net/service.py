"""What the acceptor asks of the service behind it, and the values they exchange.

The acceptor owns sockets, threads and deadlines; a service owns decisions and data. No socket reaches a service.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.ul.pdu import AssociateReject, AssociateRequest, ContextDecision

# The service's word for a refusal; PS3.8 Table 9-21 numbers its result, source and reason.
Rejection = AssociateReject


@dataclass(frozen=True, slots=True)
class AssociationInfo:
    """Who is at the other end; fixed once the association is accepted.

    Attributes
    ----------
    id : str
        Ours: short, unique, for logs and provenance.
    """

    id: str
    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    peer_port: int
    implementation_class_uid: str = ""
    implementation_version_name: str = ""


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
    """

    kind: EndingKind
    reason: str = ""
    echoes: int = 0
    stored: int = 0
    failed: int = 0
    bytes_received: int = 0
    duration_s: float = 0.0


class StoreSink(Protocol):
    """Takes the data set of one C-STORE request."""

    def write(self, fragments: Sequence[memoryview]) -> None:
        """Take the next bytes. The views are valid during the call only.

        A SpoolError or OSError is answered A700 and any other error of ours 0110; the rest of the data set is
        then read and thrown away, and `abandon` is called at once.
        """

    def finish(self) -> StoreReply:
        """The data set is complete; it must be durable before this returns a status of success."""

    def abandon(self) -> None:
        """The data set will never be complete, or `write` failed: forget it. Called at most once, after no finish."""


class AssociationService(Protocol):
    """What the acceptor asks. Called from the association's thread, except `admit`."""

    def admit(self, peer_address: str, open_associations: int) -> bool:
        """Whether that address is served at all; asked in the accept loop before a thread exists; must not block.

        An address that is not admitted is rejected for good (1, 1, 1). Room is the acceptor's own matter, and a
        service that fails here rejects for now (2, 3, 2).
        """

    def negotiate(
        self, request: AssociateRequest, peer_address: str
    ) -> Rejection | Sequence[ContextDecision]:
        """A pure decision: a rejection, or one decision for each proposed context."""

    def opened(self, association: AssociationInfo) -> None:
        """The association is accepted."""

    def begin_store(
        self, association: AssociationInfo, request: CStoreRequest, transfer_syntax_uid: str
    ) -> StoreSink | StoreReply:
        """A C-STORE request came; a reply in place of a sink refuses it before its data set is read.

        The data set is then read and thrown away. A SpoolError or OSError is answered A700.
        """

    def closed(self, association: AssociationInfo, ending: AssociationEnding) -> None:
        """The association is over; called exactly once after `opened`. The canonical log line is the service's."""
