"""An association as requestor: negotiate, C-ECHO, C-STORE, release."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from time import monotonic
from types import MappingProxyType, TracebackType
from typing import Final, TypeVar

from dicomrelay.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.dicom.uids import VERIFICATION
from dicomrelay.dimse.codec import encode_message
from dicomrelay.dimse.fragments import (
    CommandReceived,
    DataSetReceived,
    MessageAssembler,
    command_bytes,
    largest_fragment,
)
from dicomrelay.dimse.messages import CEchoRequest, CEchoResponse, Message
from dicomrelay.errors import (
    AssociationAborted,
    AssociationError,
    AssociationRejected,
    AssociationTimeout,
    IdentityNotConfirmed,
    LocalProtocolError,
    NoAcceptedContext,
    PeerSpeaksTls,
    PeerUnreachable,
    RelayError,
    RemoteProtocolError,
    SpoolCorrupt,
    TlsFault,
)
from dicomrelay.net.limits import Timeouts
from dicomrelay.net.outgoing_store import OutgoingStore, StoreItem
from dicomrelay.net.outgoing_window import MAX_OUTSTANDING, OutgoingWindow
from dicomrelay.net.proposal import MAX_PDU_BYTES, RemoteAe, contexts_for, read_answer, request_pdu
from dicomrelay.net.service import StoreReply, TlsFacts
from dicomrelay.net.tls_faults import failed
from dicomrelay.net.tls_transport import TlsTransport
from dicomrelay.net.transport import Transport, new_association_id
from dicomrelay.ul.connection import Connection, ConnectionClosed
from dicomrelay.ul.pdu import (
    Abort,
    AbortSource,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    PDataTf,
    ReleaseRequest,
    ReleaseResponse,
    RoleSelection,
    UserIdentity,
)
from dicomrelay.ul.reasons import rejection_in_words
from dicomrelay.ul.state import State

__all__ = ["Association", "RemoteAe", "StoreItem", "Timeouts", "contexts_for"]

_T = TypeVar("_T")

_RECEIVE_BUFFER_BYTES: Final = 65_536
_PATIENT: Final = Timeouts()
# How long we look for the words of a peer that has closed on us while we were sending.
_LAST_WORD_S: Final = 0.5


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
    """

    def __init__(self, remote: RemoteAe, transport: Transport, timeouts: Timeouts) -> None:
        self.id = new_association_id()
        self.remote = remote
        self.accepted: Mapping[tuple[str, str], int] = MappingProxyType({})
        self.roles: Mapping[str, tuple[bool, bool]] = MappingProxyType({})
        self.extended: Mapping[str, bytes] = MappingProxyType({})
        self.identity_response: bytes | None = None
        self.window = 1
        self.tls: TlsFacts | None = None
        self._transport = transport
        self._connection = transport.connection
        self._timeouts = timeouts
        self._assembler = MessageAssembler(())
        self._outstanding = self._window_of(self._assembler)
        self._message_id = 0

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
        AssociationAborted, AssociationTimeout
            The peer aborted, closed, broke the protocol, or did not answer in time.
        ConfigurationError
            No context, more than 128, an AE title or a port that is none, or more to negotiate than its item holds.
        """
        wanted = request_pdu(
            remote,
            calling_ae_title,
            contexts,
            identity=identity,
            roles=roles,
            extended=extended,
            common_extended=common_extended,
            window=window,
        )
        connection = Connection(max_pdu_bytes=MAX_PDU_BYTES, receive_buffer_bytes=_RECEIVE_BUFFER_BYTES)
        connection.associate(wanted)
        try:
            sock = socket.create_connection((remote.host, remote.port), timeout=timeouts.connect_s)
        except OSError as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise PeerUnreachable(f"cannot connect to {remote}: {reason}") from error
        except UnicodeError as error:  # of the IDNA codec, before anything is looked up
            raise PeerUnreachable(
                f"cannot connect to {remote}: that is no host name, its parts have 1 to 63 characters"
            ) from error
        transport = Transport(
            sock,
            connection,
            pdu_timeout_s=timeouts.pdu_s,
            shortest_wait_s=min(timeouts.association_s, timeouts.response_s, timeouts.release_s),
        )
        if tls is not None:
            transport = _secured(transport, tls, remote, timeouts)
        association = cls(remote, transport, timeouts)
        association.tls = transport.facts if isinstance(transport, TlsTransport) else None
        association._guarded(lambda: association._negotiate(wanted))
        return association

    @property
    def timeouts(self) -> Timeouts:
        """How long it waits."""
        return self._timeouts

    @property
    def is_open(self) -> bool:
        """Whether messages may still be sent."""
        return self._connection.state is State.STA6_ESTABLISHED

    def echo(self) -> int:
        """C-ECHO: the status of the response, 0 when all is well.

        Raises
        ------
        NoAcceptedContext
            The peer accepted no context for verification.
        AssociationError
            The association died.
        """
        self._nothing_outstanding()
        context_id = self._any_context(VERIFICATION)
        request = CEchoRequest(self._next_message_id(), VERIFICATION)
        return self._guarded(lambda: self._echo(context_id, request))

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
        self._nothing_outstanding()
        store = self._prepared(item)
        self._guarded(lambda: self._send_and_wait(store, pace))
        ((_, reply),) = self._told()
        return reply

    def stores(
        self, items: Iterable[StoreItem], *, pace: Callable[[int], None] | None = None
    ) -> Iterator[tuple[StoreItem, StoreReply | RelayError | OSError]]:
        """C-STORE many instances: each item with the peer's answer to it, as the answers come.

        As many requests as `window` allows are outstanding at once. Leaving the iteration early while some are aborts the
        association; so end `items` to stop.

        Parameters
        ----------
        items : iterable of StoreItem
            Taken one by one, one ahead: the next is prepared before an answer is waited for.
        pace : callable, optional
            As of `store`.

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
        self._nothing_outstanding()
        outstanding = self._outstanding
        at_most = min(self.window or MAX_OUTSTANDING, MAX_OUTSTANDING)
        store: OutgoingStore | None = None
        try:
            for item in items:
                try:
                    store = self._prepared(item)
                except (NoAcceptedContext, SpoolCorrupt, OSError) as error:
                    yield item, error
                    continue
                while len(outstanding) >= at_most:
                    self._guarded(outstanding.wait)
                    yield from self._told()
                try:
                    self._guarded(partial(outstanding.send, store, pace))
                except (SpoolCorrupt, OSError) as error:
                    yield from self._told()
                    yield item, error
                    raise AssociationAborted(
                        f"the association with {self.remote} was aborted: {error}"
                    ) from error
                if outstanding.answered:
                    yield from self._told()
            while outstanding:
                self._guarded(outstanding.wait)
                yield from self._told()
        except AssociationError:
            yield from self._told()
            raise
        finally:
            if store is not None:
                store.close()
            if outstanding:  # left early, or died: nobody waits for what is still to come
                outstanding.forget()
                self.abort()

    def send_message(self, message: Message, context_id: int, data_set: bytes | None = None) -> None:
        """Send a message of another service, such as a C-FIND request with its identifier or a C-STORE response.

        Raises
        ------
        AssociationError
            The association died.
        """
        command = encode_message(message, has_data_set=data_set is not None)
        self._guarded(lambda: self._send_message(context_id, command, data_set))

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
        return self._guarded(lambda: self._receive(take, deadline, wake_at))

    def next_message_id(self) -> int:
        """A message id for the next request: 1 to 65,535."""
        return self._next_message_id()

    def release(self) -> None:
        """A-RELEASE, and close. Does nothing when the association is over.

        A peer that does not answer in `Timeouts.release_s` is aborted without a word: every response is in already.
        """
        if not self.is_open:
            self._transport.close()
            return
        try:
            self._transport.send(self._connection.send(ReleaseRequest()))
            deadline = monotonic() + self._timeouts.release_s
            while self._connection.state is not State.STA1_IDLE:
                event = self._transport.wait_event(deadline, "release")
                if isinstance(event, ReleaseRequest):  # both asked at once (PS3.8 Section 7.2.2)
                    self._transport.send(self._connection.send(ReleaseResponse()))
        except (AssociationError, RemoteProtocolError):
            self._connection.request_abort(Abort())
        finally:
            self._transport.close()

    def abort(self) -> None:
        """A-ABORT, and close. Does nothing when the association is over."""
        self._connection.request_abort(Abort())
        self._transport.close()

    def __enter__(self) -> Association:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.release()
        else:
            self.abort()

    # ---- inside

    def _negotiate(self, request: AssociateRequest) -> None:
        self._transport.send(self._connection.transport_connected())
        answer = self._transport.wait_event(monotonic() + self._timeouts.association_s, "association")
        if isinstance(answer, AssociateReject):
            raise AssociationRejected(
                f"{self.remote} rejected the association: {rejection_in_words(answer)}",
                result=answer.result,
                source=answer.source,
                reason=answer.reason,
            )
        if not isinstance(answer, AssociateAccept):
            raise self._ending(answer)
        agreed = read_answer(request, answer)
        self.accepted = MappingProxyType(agreed.accepted)
        self.roles = MappingProxyType(agreed.roles)
        self.extended = MappingProxyType(agreed.extended)
        self.window = agreed.window
        self.identity_response = agreed.identity_response
        identity = request.user_information.user_identity
        if identity is not None and identity.response_requested and agreed.identity_response is None:
            raise IdentityNotConfirmed(
                f"{self.remote} accepted the association and did not confirm the user identity"
            )
        self._assembler = MessageAssembler(agreed.accepted.values())
        self._outstanding = self._window_of(self._assembler)

    def _echo(self, context_id: int, request: CEchoRequest) -> int:
        command = encode_message(request, has_data_set=False)
        self._transport.send(command_bytes(self._connection, context_id, command))
        response = self._response(request.message_id)
        if not isinstance(response, CEchoResponse):
            raise _wrong_response(response)
        return response.status

    def _window_of(self, assembler: MessageAssembler) -> OutgoingWindow:
        return OutgoingWindow(self._transport, assembler, self._timeouts.response_s, self._ending)

    def _nothing_outstanding(self) -> None:
        if self._outstanding:
            raise LocalProtocolError("answers are outstanding: end the iteration over stores() first")

    def _send_and_wait(self, store: OutgoingStore, pace: Callable[[int], None] | None) -> None:
        self._outstanding.send(store, pace)
        self._outstanding.wait()

    def _prepared(self, item: StoreItem) -> OutgoingStore:
        context_id = self._context(item.sop_class_uid, item.transfer_syntax_uid)
        return OutgoingStore(self._connection, item, context_id, self._next_message_id())

    def _told(self) -> list[tuple[StoreItem, StoreReply]]:
        """The answers that have come, once."""
        answered = self._outstanding.answered
        self._outstanding.answered = []
        return answered

    def _send_message(self, context_id: int, command: bytes, data_set: bytes | None) -> None:
        connection, send = self._connection, self._transport.send
        ahead = command_bytes(connection, context_id, command)
        step = largest_fragment(connection.peer_max_pdu_bytes)
        if data_set is None:
            send(ahead)
            return
        for begin in range(0, max(len(data_set), 1), step):
            piece = data_set[begin : begin + step]
            is_last = begin + step >= len(data_set)
            header = connection.send_p_data_header(context_id, len(piece), is_command=False, is_last=is_last)
            send(ahead + header + piece)
            ahead = b""

    def _receive(
        self,
        take: Callable[[Sequence[CommandReceived | DataSetReceived]], _T],
        deadline: float,
        wake_at: float,
    ) -> _T | None:
        try:
            event = self._transport.wait_event(min(deadline, wake_at), "response")
        except AssociationTimeout as error:
            if error.timer == "response" and monotonic() < deadline:
                return None
            raise
        if not isinstance(event, PDataTf):
            raise self._ending(event)
        return take(self._assembler.feed(event.pdvs))

    def _response(self, message_id: int) -> Message:
        """The response to what was sent last."""
        deadline = monotonic() + self._timeouts.response_s
        while True:
            event = self._transport.wait_event(deadline, "response")
            if not isinstance(event, PDataTf):
                raise self._ending(event)
            for part in self._assembler.feed(event.pdvs):
                if isinstance(part, CommandReceived) and not part.has_data_set:
                    message = part.message
                    if getattr(message, "message_id_being_responded_to", None) == message_id:
                        return message
                raise RemoteProtocolError(
                    "a message that answers nothing we asked", section="PS3.7 Section 9.3"
                )

    def _guarded(self, call: Callable[[], _T]) -> _T:
        """Run a part of the conversation; whatever it raises, the association is over then."""
        try:
            return call()
        except PeerSpeaksTls as error:
            self._transport.close()
            raise failed(str(self.remote), TlsFault.TLS_PEER, "it speaks TLS, and we do not") from error
        except RemoteProtocolError as error:
            self._connection.request_abort(Abort(AbortSource.SERVICE_PROVIDER, error.abort_reason))
            self._transport.close()
            raise AssociationAborted(
                f"{self.remote} broke the protocol: {error}",
                source=AbortSource.SERVICE_PROVIDER,
                reason=error.abort_reason,
            ) from error
        except AssociationAborted as error:
            said = self._last_word() if self.is_open else None
            self.abort()
            if said is not None:
                raise said from error
            raise
        except BaseException:
            self.abort()
            raise

    def _last_word(self) -> AssociationError | None:
        """The A-ABORT of a peer that closed while we were sending, when it has said one."""
        deadline = monotonic() + _LAST_WORD_S
        try:
            while isinstance(event := self._transport.wait_event(deadline, "last word"), PDataTf):
                self._outstanding.take_event(event)  # an answer that it gave before
        except (AssociationError, RemoteProtocolError):
            return None
        return self._ending(event) if isinstance(event, Abort) else None

    def _context(self, abstract_syntax: str, transfer_syntax: str) -> int:
        context_id = self.accepted.get((abstract_syntax, transfer_syntax))
        if context_id is None:
            raise NoAcceptedContext(
                f"{self.remote} accepted no presentation context for {abstract_syntax} in {transfer_syntax}"
            )
        return context_id

    def _any_context(self, abstract_syntax: str) -> int:
        for (accepted, _), context_id in self.accepted.items():
            if accepted == abstract_syntax:
                return context_id
        raise NoAcceptedContext(f"{self.remote} accepted no presentation context for {abstract_syntax}")

    def _next_message_id(self) -> int:
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id

    def _ending(self, event: object) -> AssociationError:
        if isinstance(event, Abort):
            return AssociationAborted(
                f"{self.remote} aborted the association (source {event.source}, reason {event.reason})",
                source=event.source,
                reason=event.reason,
            )
        if isinstance(event, ConnectionClosed):
            is_first = not self._connection.pdus_received and self.tls is None
            hint = " without a word; a peer that speaks TLS may do so" if is_first else ""
            return AssociationAborted(f"{self.remote} closed the connection{hint}")
        return AssociationAborted(f"{self.remote} ended the association with a {type(event).__name__}")


def _secured(plain: Transport, context: ssl.SSLContext, remote: RemoteAe, timeouts: Timeouts) -> TlsTransport:
    """The same connection under TLS; closed when there is none."""
    transport = plain
    try:
        transport = secured = TlsTransport(plain, context, server_hostname=remote.host, peer=str(remote))
        secured.handshake(monotonic() + timeouts.association_s, "association")
    except BaseException:
        transport.close()
        raise
    return secured


def _wrong_response(response: Message) -> RemoteProtocolError:
    return RemoteProtocolError(
        f"a {type(response).__name__} does not answer what we asked", section="PS3.7 Section 9.3"
    )
