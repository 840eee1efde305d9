"""An association as requestor: C-ECHO, C-STORE, messages of other services, release."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from time import monotonic
from types import MappingProxyType, TracebackType
from typing import Final, TypeVar

from dicomrelay.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.dicom.uids import VERIFICATION
from dicomrelay.dimse.exchange import echo_status
from dicomrelay.dimse.fragments import (
    CommandReceived,
    DataSetReceived,
    MessageAssembler,
)
from dicomrelay.dimse.messages import CEchoRequest, Message
from dicomrelay.errors import NoAcceptedContext
from dicomrelay.net.limits import Timeouts
from dicomrelay.net.messages import Messages
from dicomrelay.net.opening import Opened, open_association
from dicomrelay.net.outgoing_store import StoreItem
from dicomrelay.net.outgoing_window import MAX_OUTSTANDING, OutgoingWindow
from dicomrelay.net.proposal import Proposal, RemoteAe
from dicomrelay.net.service import StoreReply
from dicomrelay.net.store_scu import StoreAnswer, StoreScu
from dicomrelay.net.transport import new_association_id
from dicomrelay.ul.pdu import (
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    RoleSelection,
    UserIdentity,
)

__all__ = ["Association", "RemoteAe", "StoreItem", "Timeouts"]

_T = TypeVar("_T")

_PATIENT: Final = Timeouts()


class Association:
    """An open association. Not for several threads at once.

    As a context manager it releases at the end, and aborts when an exception passes through.

    Attributes
    ----------
    id : str
        Ours, for logs and provenance.
    remote : RemoteAe
    accepted : mapping of (str, str) to int
        Abstract syntax and transfer syntax to the presentation context that carries them.
    roles : mapping of str to (bool, bool)
        SOP class to our roles, (SCU, SCP), for each that one was proposed for.
    extended : mapping of str to bytes
        SOP class to the application information that the peer answered.
    window : int
        Operations that we may have outstanding (PS3.7 Annex D.3.3.3), as negotiated; 0 means any number.
    identity_response : bytes or None
        What the peer answered to the user identity, when it did.
    tls : TlsFacts or None
        What TLS was agreed on; None without.
    is_open : bool
        Whether messages may still be sent.
    outstanding : int
        C-STORE requests sent, wholly or in part, whose response has not come.
    """

    def __init__(self, remote: RemoteAe, opened: Opened, timeouts: Timeouts) -> None:
        agreed = opened.agreed
        self.id = new_association_id()
        self.remote = remote
        self.accepted = MappingProxyType(agreed.accepted)
        self.roles = MappingProxyType(agreed.roles)
        self.extended = MappingProxyType(agreed.extended)
        self.identity_response = agreed.identity_response
        self.window = agreed.window
        self.tls = opened.tls
        self._transport = transport = opened.transport
        self._connection = connection = transport.connection
        self._endings = endings = opened.endings
        self._timeouts = timeouts
        self._message_id = 0
        assembler = MessageAssembler(agreed.accepted.values())
        self._messages = Messages(transport, assembler, endings)
        self._outstanding = outstanding = OutgoingWindow(transport, assembler, timeouts.response_s, endings)
        endings.take = outstanding.take_event
        self._stores = StoreScu(remote, connection, self.accepted, outstanding, endings, self.next_message_id)

    @classmethod
    def request(  # noqa: PLR0913 - one for each item that is negotiated (PS3.7 Annex D.3.3)
        cls,
        remote: RemoteAe,
        *,
        calling_ae_title: str,
        contexts: Sequence[tuple[str, Sequence[str]]] = ((VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,)),),
        timeouts: Timeouts = _PATIENT,
        tls: ssl.SSLContext | None = None,
        identity: UserIdentity | None = None,
        roles: Sequence[RoleSelection] = (),
        extended: Sequence[ExtendedNegotiation] = (),
        common_extended: Sequence[CommonExtendedNegotiation] = (),
        window: int = 1,
    ) -> Association:
        """Open an association.

        Parameters
        ----------
        contexts : sequence of (str, sequence of str)
            1 to 128 abstract syntaxes, each with the transfer syntaxes to offer; verification alone by default.
        tls : ssl.SSLContext, optional
            Of `net.tls.requestor_context`; None for plain DICOM.
        identity : UserIdentity, optional
            Who the user is; a peer that does not know user identity ignores it, unless a response is requested.
        roles, extended, common_extended : sequence
            Role selection, SOP class extended and common extended negotiation (PS3.7 Annex D.3.3.4 to D.3.3.6).
        window : int
            Operations to have outstanding, 0 (no limit) to 65,535; the peer may lower it.

        Raises
        ------
        PeerUnreachable
            No TCP connection, or no host can have that name.
        TlsFailed
            No TLS: certificates, versions, or one side speaks plain DICOM; `fault` says which.
        AssociationRejected
            The peer said no; `retryable` when only for now.
        IdentityNotConfirmed
            A response to the identity was requested, and the peer accepted without one (PS3.7 Annex D.3.3.7).
        AssociationAborted, AssociationTimeout, PeerBrokeProtocol
            The peer aborted or closed, did not answer in time, or broke the protocol.
        ConfigurationError
            No context, more than 128, an AE title or a port that is none, or more to negotiate than its item holds.
        """
        proposal = Proposal(calling_ae_title, contexts, identity, roles, extended, common_extended, window)
        return cls(remote, open_association(remote, proposal, timeouts, tls), timeouts)

    @property
    def timeouts(self) -> Timeouts:
        """How long it waits."""
        return self._timeouts

    @property
    def is_open(self) -> bool:
        """Whether messages may still be sent."""
        return self._endings.is_open

    @property
    def outstanding(self) -> int:
        """C-STORE requests sent, wholly or in part, whose response has not come."""
        return len(self._outstanding)

    def echo(self) -> int:
        """C-ECHO: the status of the response, 0 when all is well.

        Raises
        ------
        NoAcceptedContext
            The peer accepted no context for verification.
        AssociationError
            The association died.
        """
        self._stores.require_none_outstanding()
        context_id = self._any_context(VERIFICATION)
        request = CEchoRequest(self.next_message_id(), VERIFICATION)
        self.send_message(request, context_id)
        deadline = monotonic() + self._timeouts.response_s
        status = None
        while status is None:
            status = self.receive(partial(echo_status, request), deadline=deadline, wake_at=deadline)
        return status

    def store(self, item: StoreItem, *, pace: Callable[[int], None] | None = None) -> StoreReply:
        """C-STORE one instance from its file: what the peer answered, success or not.

        Parameters
        ----------
        pace : callable, optional
            Called with a number of bytes before they are sent; it may wait, to keep under a rate.

        Raises
        ------
        NoAcceptedContext
            Before anything is sent; the association lives on.
        SpoolCorrupt, OSError
            The file is missing or too short. Found before anything is sent the association lives on, else it is aborted.
        AssociationError
            The association died; whether the peer has kept the instance is not known.
        """
        return self._stores.store(item, pace)

    def stores(
        self, items: Iterable[StoreItem], *, pace: Callable[[int], None] | None = None
    ) -> Iterator[StoreAnswer]:
        """C-STORE many instances: each item with the peer's answer to it, as the answers come.

        As many requests as `window` allows are outstanding at once. Leaving the iteration early while some are aborts the
        association; so end `items` to stop.

        Parameters
        ----------
        items : iterable of StoreItem
            Taken one by one, one ahead: the next is prepared before an answer is waited for, and when it is small it is
            sent before that answer is yielded.
        pace : callable, optional
            As of `store`. Whatever it raises, as what `items` raises, comes after the answers that are there.

        Yields
        ------
        tuple of StoreItem and StoreReply or error
            In place of an answer NoAcceptedContext, SpoolCorrupt or OSError for an item that could not be sent. The
            association lives on, unless the file failed in the middle of its data set: AssociationAborted comes next.

        Raises
        ------
        AssociationError
            The association died. Of what was not yielded by then, it is not known whether the peer has it.
        """
        at_most = min(self.window or MAX_OUTSTANDING, MAX_OUTSTANDING)
        return self._stores.stores(items, at_most, pace)

    def send_message(self, message: Message, context_id: int, data_set: bytes | None = None) -> None:
        """Send a message of another service, such as a C-FIND request with its identifier or a C-STORE response.

        Raises
        ------
        AssociationError
            The association died.
        """
        self._messages.send(message, context_id, data_set)

    def receive(
        self,
        take: Callable[[Sequence[CommandReceived | DataSetReceived]], _T],
        *,
        deadline: float,
        wake_at: float,
    ) -> _T | None:
        """Wait for the next PDU with messages, and answer what `take` makes of what it completes.

        Parameters
        ----------
        take : callable
            Gets parts whose views are valid until the next call; what it raises ends the association.
        deadline, wake_at : float
            Of the monotonic clock. When `wake_at` comes first the answer is None, and nothing is lost.

        Raises
        ------
        AssociationError
            The association died, of silence until `deadline` among others.
        """
        return self._messages.receive(take, deadline, wake_at)

    def next_message_id(self) -> int:
        """A message id for the next request: 1 to 65,535."""
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id

    def release(self) -> None:
        """A-RELEASE, and close. Does nothing when the association is over.

        A peer that does not answer in `Timeouts.release_s` is aborted without a word: every response is in already.
        """
        self._endings.release(self._timeouts.release_s)

    def abort(self) -> None:
        """A-ABORT, and close. Does nothing when the association is over."""
        self._endings.abort()

    def __enter__(self) -> Association:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.release()
        else:
            self.abort()

    def _any_context(self, abstract_syntax: str) -> int:
        for (accepted, _), context_id in self.accepted.items():
            if accepted == abstract_syntax:
                return context_id
        raise NoAcceptedContext(f"{self.remote} accepted no presentation context for {abstract_syntax}")
