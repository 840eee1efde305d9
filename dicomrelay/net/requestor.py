"""An association as requestor: negotiate, C-ECHO, C-STORE, release."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from time import monotonic
from types import MappingProxyType, TracebackType
from typing import Final, TypeVar

from dicomrelay.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.dicom.uids import VERIFICATION
from dicomrelay.dimse.codec import encode_message
from dicomrelay.dimse.fragments import CommandReceived, MessageAssembler, command_bytes
from dicomrelay.dimse.messages import CEchoRequest, CEchoResponse, CStoreRequest, CStoreResponse, Message
from dicomrelay.errors import (
    AssociationAborted,
    AssociationError,
    AssociationRejected,
    NoAcceptedContext,
    PeerUnreachable,
    RelayError,
    RemoteProtocolError,
    SpoolCorrupt,
)
from dicomrelay.net.limits import Timeouts
from dicomrelay.net.outgoing_store import DataSetFile, StoreItem, send_data_set
from dicomrelay.net.proposal import MAX_PDU_BYTES, RemoteAe, contexts_for, read_answer, request_pdu
from dicomrelay.net.service import StoreReply
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
    window : int
        Operations that we may have outstanding (PS3.7 Annex D.3.3.3), 1 unless more was negotiated.
    roles : mapping of str to (bool, bool)
        SOP class to our roles, (SCU, SCP), for each that one was proposed for.
    extended : mapping of str to bytes
        SOP class to the application information that the peer answered.
    window : int
        Operations that we may have outstanding, as negotiated; 0 means any number.
    identity_response : bytes or None
        What the peer answered to the user identity, when it did.
    is_open : bool
        Whether messages may still be sent.
    """

    def __init__(self, remote: RemoteAe, transport: Transport, timeouts: Timeouts) -> None:
        self.id = new_association_id()
        self.remote = remote
        self.accepted: Mapping[tuple[str, str], int] = MappingProxyType({})
        self.roles: Mapping[str, tuple[bool, bool]] = MappingProxyType({})
        self.extended: Mapping[str, bytes] = MappingProxyType({})
        self.window = 1
        self.identity_response: bytes | None = None
        self.window = 1
        self._transport = transport
        self._connection = transport.connection
        self._timeouts = timeouts
        self._assembler = MessageAssembler(())
        self._message_id = 0

    @classmethod
    def request(  # noqa: PLR0913 - one for each item that is negotiated (PS3.7 Annex D.3.3)
        cls,
        remote: RemoteAe,
        *,
        calling_ae_title: str,
        contexts: Sequence[tuple[str, Sequence[str]]] = ((VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,)),),
        timeouts: Timeouts = _PATIENT,
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
        identity : UserIdentity, optional
            Who the user is; a peer that does not know user identity ignores it.
        roles, extended, common_extended : sequence
            Role selection, SOP class extended and common extended negotiation (PS3.7 Annex D.3.3.4 to D.3.3.6).
        window : int
            Operations to have outstanding, 0 (no limit) to 65,535; the peer may lower it.

        Raises
        ------
        PeerUnreachable
            No TCP connection, or no host can have that name.
        AssociationRejected
            The peer said no; `retryable` when only for now.
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
        association = cls(remote, transport, timeouts)
        association._guarded(lambda: association._negotiate(wanted))
        return association

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
        context_id = self._context(item.sop_class_uid, item.transfer_syntax_uid)
        request = CStoreRequest(self._next_message_id(), item.sop_class_uid, item.sop_instance_uid)
        command = encode_message(request, has_data_set=True)
        with DataSetFile(item) as data_set:
            response = self._guarded(lambda: self._store(context_id, command, data_set, request, pace))
        return StoreReply(response.status, response.error_comment)

    def stores(
        self, items: Iterable[StoreItem], *, pace: Callable[[int], None] | None = None
    ) -> Iterator[tuple[StoreItem, StoreReply | RelayError | OSError]]:
        """C-STORE many instances: each item with the peer's answer to it, as the answers come.

        Parameters
        ----------
        items : iterable of StoreItem
            Taken one by one, as they are sent.
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
        for item in items:
            try:
                reply = self.store(item, pace=pace)
            except (NoAcceptedContext, SpoolCorrupt, OSError) as error:
                yield item, error
                if not self.is_open:
                    raise AssociationAborted(
                        f"the association with {self.remote} was aborted: {error}"
                    ) from error
            else:
                yield item, reply

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
        self._assembler = MessageAssembler(agreed.accepted.values())

    def _echo(self, context_id: int, request: CEchoRequest) -> int:
        command = encode_message(request, has_data_set=False)
        self._transport.send(command_bytes(self._connection, context_id, command))
        response = self._response(request.message_id)
        if not isinstance(response, CEchoResponse):
            raise _wrong_response(response)
        return response.status

    def _store(
        self,
        context_id: int,
        command: bytes,
        data_set: DataSetFile,
        request: CStoreRequest,
        pace: Callable[[int], None] | None,
    ) -> CStoreResponse:
        send_data_set(self._transport, context_id, command, data_set, pace)
        response = self._response(request.message_id)
        if not isinstance(response, CStoreResponse):
            raise _wrong_response(response)
        return response

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
        try:
            event = self._transport.wait_event(monotonic() + _LAST_WORD_S, "last word")
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
            return AssociationAborted(f"{self.remote} closed the connection")
        return AssociationAborted(f"{self.remote} ended the association with a {type(event).__name__}")


def _wrong_response(response: Message) -> RemoteProtocolError:
    return RemoteProtocolError(
        f"a {type(response).__name__} does not answer what we asked", section="PS3.7 Section 9.3"
    )
