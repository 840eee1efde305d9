"""One association as acceptor, from its TCP connection to its end: the body of one thread.

Everything the peer does wrong ends in A-ABORT, everything the service does wrong in a failure status; neither reaches
the thread's caller.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import monotonic
from typing import Final

from dicomrelay.dicom.uids import (
    APPLICATION_CONTEXT_NAME,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
)
from dicomrelay.errors import (
    AssociationAborted,
    AssociationError,
    AssociationTimeout,
    LocalProtocolError,
    RemoteProtocolError,
    TlsFault,
)
from dicomrelay.log import get_logger
from dicomrelay.net.commits import CommitPool
from dicomrelay.net.conversation import Conversation, Tally
from dicomrelay.net.edge import ask
from dicomrelay.net.limits import AcceptorLimits
from dicomrelay.net.service import (
    Acceptance,
    AssociationEnding,
    AssociationInfo,
    AssociationService,
    EndingKind,
    PeerConnection,
    Rejection,
    TlsFacts,
)
from dicomrelay.net.tls import TlsDoor
from dicomrelay.net.tls_faults import HANDSHAKE, UNEXPECTED_MESSAGE, alert, failed
from dicomrelay.net.tls_transport import TlsTransport
from dicomrelay.net.transport import Transport, Waits, new_association_id
from dicomrelay.ul.connection import Connection, ConnectionClosed
from dicomrelay.ul.pdu import (
    Abort,
    AbortReason,
    AbortSource,
    AssociateAccept,
    AssociateRequest,
    ReleaseRequest,
    UserInformation,
)

_log = get_logger("dicomrelay.net")

# Rejections of our own (PS3.8 Table 9-21).
WRONG_APPLICATION_CONTEXT: Final = Rejection(result=1, source=1, reason=2)
ADDRESS_NOT_ADMITTED: Final = Rejection(result=1, source=1, reason=1)
LOCAL_LIMIT_EXCEEDED: Final = Rejection(result=2, source=3, reason=2)
NO_REASON_FOR_NOW: Final = Rejection(result=2, source=1, reason=1)

_ARTIM: Final = "ARTIM"


class Stopped(AssociationAborted):
    """The acceptor's grace is over."""


class _Finished(Exception):
    def __init__(self, kind: EndingKind, reason: str = "") -> None:
        super().__init__(reason)
        self.kind = kind


class ProviderAssociation:
    """Serves one connection.

    Parameters
    ----------
    interrupted : callable
        Raises `Stopped` when the association has to end.
    pool : CommitPool
        For associations with a window.
    tls : TlsDoor, optional
        None for plain DICOM.
    """

    def __init__(
        self,
        sock: socket.socket,
        address: tuple[str, int],
        service: AssociationService,
        limits: AcceptorLimits,
        interrupted: Callable[[], None],
        pool: CommitPool,
        tls: TlsDoor | None = None,
    ) -> None:
        self._service = service
        self._pool = pool
        self._tls = tls
        self._tls_facts: TlsFacts | None = None
        self._limits = limits
        self._address = address
        self._id = new_association_id()
        self._started = monotonic()
        self._connection = Connection(
            max_pdu_bytes=limits.max_pdu_bytes, receive_buffer_bytes=max(1 << 20, 4 * limits.max_pdu_bytes)
        )
        self._transport = Transport(
            sock,
            self._connection,
            Waits(
                limits.pdu_timeout_s, min(limits.association_timeout_s, limits.idle_timeout_s), interrupted
            ),
        )
        self._info: AssociationInfo | None = None
        self._conversation: Conversation | None = None

    def run(self) -> None:
        """Serve until the association is over; the socket is closed then."""
        kind, reason = EndingKind.ABORTED_BY_US, "a fault of our own"
        try:
            self._connection.transport_accepted()
            if self._tls is not None:
                self._secure(self._tls)
            raise _ending_of(self._establish().run())
        except _Finished as finished:
            kind, reason = finished.kind, str(finished)
        except RemoteProtocolError as error:
            kind, reason = EndingKind.ABORTED_BY_US, str(error)
            self._connection.request_abort(Abort(AbortSource.SERVICE_PROVIDER, error.abort_reason))
        except Stopped as error:
            self._answer_commits()
            kind, reason = EndingKind.STOPPED, str(error)
            self._connection.request_abort(Abort(AbortSource.SERVICE_USER, AbortReason.NOT_SPECIFIED))
        except AssociationTimeout as error:
            kind, reason = EndingKind.TIMED_OUT, str(error)
            if error.timer == _ARTIM:
                self._connection.artim_expired()
            else:
                self._connection.request_abort(Abort(AbortSource.SERVICE_PROVIDER, AbortReason.NOT_SPECIFIED))
        except AssociationError as error:
            kind, reason = EndingKind.CONNECTION_LOST, str(error)
        except LocalProtocolError as error:
            kind, reason = EndingKind.ABORTED_BY_US, str(error)
            self._connection.request_abort(Abort(AbortSource.SERVICE_PROVIDER, AbortReason.NOT_SPECIFIED))
        except BaseException:
            self._connection.request_abort(Abort(AbortSource.SERVICE_PROVIDER, AbortReason.NOT_SPECIFIED))
            raise
        finally:
            self._close(kind, reason)

    # ---- the association is made

    def _secure(self, door: TlsDoor) -> None:
        """The TLS handshake, under the same deadline as the A-ASSOCIATE-RQ behind it."""
        deadline = self._started + self._limits.association_timeout_s
        first = self._transport.peek(deadline, _ARTIM)
        if first == HANDSHAKE:
            secured = TlsTransport(self._transport, door.context(), server_hostname=None, peer="the peer")
            self._transport = secured
            self._tls_facts = secured.handshake(deadline, _ARTIM)
        elif first is not None and not door.allow_plain:
            self._transport.send(alert(UNEXPECTED_MESSAGE))
            words = "it speaks plain DICOM" if first <= 7 else "it speaks neither TLS nor DICOM"
            raise failed("the peer", TlsFault.PLAIN_PEER, words)

    def _establish(self) -> Conversation:
        deadline = self._started + self._limits.association_timeout_s
        request = self._transport.wait_event(deadline, _ARTIM)
        if not isinstance(request, AssociateRequest):
            raise _ending_of(request)
        decided = self._decided(request)
        if isinstance(decided, Rejection):
            self._transport.send(self._connection.send(decided))
            numbers = f"{decided.result}, {decided.source}, {decided.reason}"
            raise _Finished(EndingKind.ABORTED_BY_US, f"rejected ({numbers}): {request.calling_ae_title!r}")
        # Accepted: from here on the service is told of the end, whatever comes.
        self._info = info = AssociationInfo(
            id=self._id,
            calling_ae_title=request.calling_ae_title,
            called_ae_title=request.called_ae_title,
            peer_address=self._address[0],
            peer_port=self._address[1],
            implementation_class_uid=request.user_information.implementation_class_uid,
            implementation_version_name=request.user_information.implementation_version_name,
            tls=self._tls_facts,
        )
        _, error = ask(self._service.opened, info)
        if error is not None:
            self._transport.send(self._connection.send(NO_REASON_FOR_NOW))
            raise _Finished(EndingKind.ABORTED_BY_US, "rejected: the service could not open the association")
        conversation = self._converse(info, request, decided)
        self._transport.send(self._connection.send(self._acceptance(request, decided)))
        return conversation

    def _converse(
        self, info: AssociationInfo, request: AssociateRequest, decided: Acceptance
    ) -> Conversation:
        try:
            self._conversation = conversation = Conversation(
                self._transport,
                self._service,
                info,
                decided,
                limits=self._limits,
                pool=self._pool,
                storage=_sub_operations(request, decided),
            )
        except OSError as error:  # no descriptor is left for the pipe of its window
            self._transport.send(self._connection.send(LOCAL_LIMIT_EXCEEDED))
            raise _Finished(EndingKind.ABORTED_BY_US, f"rejected: {error.strerror}") from error
        return conversation

    def _decided(self, request: AssociateRequest) -> Rejection | Acceptance:
        if request.application_context != APPLICATION_CONTEXT_NAME:
            return WRONG_APPLICATION_CONTEXT
        peer = PeerConnection(self._id, *self._address, tls=self._tls_facts)
        decided, _ = ask(self._service.negotiate, request, peer)
        return NO_REASON_FOR_NOW if decided is None else decided

    def _acceptance(self, request: AssociateRequest, decided: Acceptance) -> AssociateAccept:
        return AssociateAccept(
            called_ae_title=request.called_ae_title,
            calling_ae_title=request.calling_ae_title,
            application_context=APPLICATION_CONTEXT_NAME,
            contexts=tuple(decided.contexts),
            user_information=UserInformation(
                maximum_length=self._limits.max_pdu_bytes,
                implementation_class_uid=IMPLEMENTATION_CLASS_UID,
                implementation_version_name=IMPLEMENTATION_VERSION_NAME,
                asynchronous_operations=decided.window,
                roles=tuple(decided.roles),
                extended=tuple(decided.extended),
                user_identity_response=decided.identity_response,
            ),
        )

    # ---- the end

    def _answer_commits(self) -> None:
        """What is committing when we stop is answered before we leave, if the peer takes it."""
        try:
            if self._conversation is not None:
                self._conversation.settle()
        except AssociationError:
            pass

    def _close(self, kind: EndingKind, reason: str) -> None:
        conversation = self._conversation
        try:
            if conversation is not None:
                conversation.end()
            self._transport.close(min(self._limits.linger_s, self._limits.association_timeout_s))
        finally:
            self._tell(kind, reason, conversation.tally if conversation is not None else Tally())

    def _tell(self, kind: EndingKind, reason: str, tally: Tally) -> None:
        duration_s = monotonic() - self._started
        if self._info is None:
            _log.info(
                "association not made",
                action="association-refused",
                peer_address=self._address[0],
                reason=reason,
                seconds=round(duration_s, 3),
            )
            ask(self._service.turned_away, self._address[0], reason)
            return
        ending = AssociationEnding(
            kind,
            reason,
            tally.echoes,
            tally.stored,
            tally.failed,
            tally.bytes_received,
            duration_s,
            tally.operations,
        )
        ask(self._service.closed, self._info, ending)


def _sub_operations(request: AssociateRequest, decided: Acceptance) -> dict[tuple[str, str], int]:
    """The contexts in which the requestor takes C-STORE requests: it is SCP of their SOP class (PS3.7 Annex D.3.3.4)."""
    scp_of = {role.sop_class_uid for role in decided.roles if role.scp}
    abstract = {context.context_id: context.abstract_syntax for context in request.contexts}
    found: dict[tuple[str, str], int] = {}
    for each in decided.contexts:
        if each.is_accepted and abstract[each.context_id] in scp_of:
            found.setdefault((abstract[each.context_id], each.transfer_syntax), each.context_id)
    return found


def _ending_of(event: object) -> Exception:
    """Why something else than what was waited for ends the association."""
    if isinstance(event, ReleaseRequest):
        return _Finished(EndingKind.RELEASED)
    if isinstance(event, Abort):
        return _Finished(EndingKind.ABORTED_BY_PEER, f"A-ABORT, source {event.source}, reason {event.reason}")
    if isinstance(event, ConnectionClosed):
        return _Finished(EndingKind.CONNECTION_LOST, "the peer closed the connection without a release")
    return LocalProtocolError(f"{type(event).__name__} is not handled here")
