"""The messages of one association as acceptor, from its acceptance to its release or its death."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Final

from dicomrelay.dicom.status import Status, is_warning
from dicomrelay.dimse.codec import encode_message, encode_unsupported_response
from dicomrelay.dimse.fragments import CommandReceived, DataSetReceived, MessageAssembler, command_bytes
from dicomrelay.dimse.messages import (
    CCancelRequest,
    CEchoRequest,
    CEchoResponse,
    CFindRequest,
    CGetRequest,
    CMoveRequest,
    CStoreRequest,
    NActionRequest,
    NCreateRequest,
    NEventReportRequest,
    NEventReportResponse,
    NGetRequest,
    NSetRequest,
    UnsupportedRequest,
    UnsupportedResponse,
)
from dicomrelay.dimse.store_codec import encode_store_response
from dicomrelay.errors import RemoteProtocolError
from dicomrelay.net.commits import MAX_UNFINISHED, AssociationCommits, CommitPool
from dicomrelay.net.incoming_report import IncomingReport
from dicomrelay.net.incoming_store import IncomingStore
from dicomrelay.net.limits import AcceptorLimits
from dicomrelay.net.proposal import RemoteAe
from dicomrelay.net.provided_actions import ProvidedActions
from dicomrelay.net.provided_objects import ProvidedObjects
from dicomrelay.net.provided_operations import ProvidedOperations
from dicomrelay.net.provider_stores import AssociationEnded, ProviderStores
from dicomrelay.net.service import Acceptance, AssociationInfo, AssociationService, StoreReply
from dicomrelay.net.transport import Transport
from dicomrelay.ul.connection import ConnectionEvent
from dicomrelay.ul.pdu import AbortReason, PDataTf, ReleaseRequest, ReleaseResponse
from dicomrelay.ul.state import State

# Sta8: the peer has asked for the release, and what we still owe may be said before it is answered (AR-7).
_MAY_ANSWER = frozenset({State.STA6_ESTABLISHED, State.STA8_AWAITING_LOCAL_RELEASE_RESPONSE})
# How long the peer is listened to before a report that may be ready is asked for.
_DUE_S: Final = 0.1


@dataclass(slots=True)
class Tally:
    """What an association has brought so far; as in `AssociationEnding`."""

    echoes: int = 0
    stored: int = 0
    failed: int = 0
    bytes_received: int = 0
    operations: int = 0


class Conversation:
    """Takes requests and answers them.

    Parameters
    ----------
    accepted : Acceptance
        What was agreed on: contexts; the window, which may be 0 for any number, and 1 when everything is done in turn; and who
        serves what beside C-STORE and C-ECHO. What nobody serves is answered 0211.
    pool : CommitPool
        Carries commits out when there is a window.
    storage : mapping of (str, str) to int
        SOP class and transfer syntax to the presentation context in which the peer takes the sub-operations of a C-GET.
    """

    def __init__(
        self,
        transport: Transport,
        service: AssociationService,
        association: AssociationInfo,
        accepted: Acceptance,
        *,
        limits: AcceptorLimits,
        pool: CommitPool,
        storage: Mapping[tuple[str, str], int],
    ) -> None:
        self.tally = Tally()
        self._transport = transport
        self._connection = transport.connection
        self._service = service
        self._association = association
        self._transfer_syntaxes = {
            each.context_id: each.transfer_syntax for each in accepted.contexts if each.is_accepted
        }
        self._limits = limits
        self._assembler = MessageAssembler(self._transfer_syntaxes)
        self._incoming: IncomingStore | None = None
        self._reports = accepted.reports
        self._report: IncomingReport | None = None
        self._operations: ProvidedOperations | None = None
        if accepted.operations is not None:
            self._operations = ProvidedOperations(accepted.operations, association, self._stores(storage))
        self._actions: ProvidedActions | None = None
        if accepted.actions is not None:
            self._actions = ProvidedActions(accepted.actions, association)
        self._objects: ProvidedObjects | None = None
        if accepted.objects is not None:
            self._objects = ProvidedObjects(accepted.objects, association)
        self._has_heard = False  # what came between two answers is looked at before the next one
        self._commits: AssociationCommits | None = None
        self._owed: list[bytes] = []  # answers that leave before we wait for more, together
        window = accepted.window.invoked if accepted.window is not None else 1
        if window != 1:
            self._commits = AssociationCommits(pool, min(window or MAX_UNFINISHED, MAX_UNFINISHED))
            transport.wake_by(self._commits.wake)

    def run(self) -> ConnectionEvent:
        """Serve until something ends the association, and answer with that; a release is answered by then.

        Raises
        ------
        RemoteProtocolError, AssociationError
            The association is over.
        """
        connection = self._connection
        while True:
            event = connection.next_event()
            if event is None:
                event = self._next()
            if event is None:
                continue
            if type(event) is PDataTf:
                self._take(event)
            elif isinstance(event, ReleaseRequest):
                self._drop_incoming()
                self._drop_operations()
                self.settle()
                self._transport.send(connection.send(ReleaseResponse()))
                return event
            else:
                return event

    def settle(self) -> None:
        """Return when every commit is over; answer those while the association allows it."""
        commits = self._commits
        self._send_owed()
        while commits is not None and len(commits):
            commits.wait()
            self._answer_finished(commits)
            self._send_owed()

    def end(self) -> None:
        """The association is over: forget what is half received, keep what is whole."""
        self._drop_incoming()
        self._drop_operations()
        commits, self._commits = self._commits, None
        if commits is not None:
            for _, store, reply in commits.rest():
                self._count(store, reply)
            commits.close()

    # ---- inside

    def _stores(self, storage: Mapping[tuple[str, str], int]) -> ProviderStores:
        association = self._association
        return ProviderStores(
            association.id,
            RemoteAe(association.calling_ae_title, association.peer_address, association.peer_port),
            self._transport,
            self._assembler,
            storage,
            response_s=self._limits.pdu_timeout_s,
            others=self._beside,
        )

    def _beside(self, part: CommandReceived | DataSetReceived) -> None:
        """What comes beside the responses to the sub-operations of a C-GET; its views do not last."""
        if isinstance(part, DataSetReceived):
            self._data_set(part)
        else:
            self._command(part)
        if self._incoming is not None:
            self._incoming.flush()

    def _next(self) -> ConnectionEvent | None:
        """Go on; what ended the association in the middle of a sub-operation, if anything did."""
        try:
            self._go_on()
        except AssociationEnded as ended:
            return ended.event
        return None

    def _take(self, data: PDataTf) -> None:
        # A function of its own, so that no view outlives it: one would keep a buffer from being given back.
        for part in self._assembler.feed(data.pdvs):
            if type(part) is DataSetReceived:
                self._data_set(part)
            elif type(part) is CommandReceived:
                self._command(part)

    def _go_on(self) -> None:
        """Nothing that came is left to look at: hear more, and say what an operation of the peer has to say."""
        if self._incoming is not None:
            self._incoming.flush()
        if self._owed:
            self._send_owed()
        operations = self._operations
        if operations is None or not len(operations):
            self._receive()
            return
        self._has_heard = not self._has_heard and self._transport.receive_now()
        if not self._has_heard:
            ready = operations.answers(self._connection)
            if ready:
                self._transport.send(ready)
        commits = self._commits
        if commits is not None and commits.has_finished:
            self._answer_finished(commits)

    def _receive(self) -> None:
        commits = self._commits
        if not self._assembler.is_between_messages:
            self._transport.receive(monotonic() + self._limits.pdu_timeout_s, "message", more_is_due=True)
        elif commits is not None and len(commits):
            # A peer that waits for our answers is not idle. A disk has no deadline; the answer ends this wait.
            self._transport.receive(inf, "idle")
        elif self._actions is not None and self._actions.is_due and not self._connection.has_partial_pdu:
            self._hear_or_report(self._actions)
        else:
            self._transport.receive(monotonic() + self._limits.idle_timeout_s, "idle")
        if commits is not None and commits.has_finished:
            self._answer_finished(commits)

    def _hear_or_report(self, actions: ProvidedActions) -> None:
        """What the peer says goes first: it may be about to release."""
        if not self._transport.receive_within(_DUE_S):
            ready = actions.report(self._connection)
            if ready:
                self._transport.send(ready)

    def _command(self, received: CommandReceived) -> None:
        message = received.message
        if isinstance(message, CStoreRequest) and received.has_data_set:
            syntax = self._transfer_syntaxes[received.context_id]
            self._incoming = IncomingStore(
                message, self._service.begin_store, self._association, message, syntax
            )
        elif isinstance(message, CEchoRequest) and not received.has_data_set:
            self.tally.echoes += 1
            response = CEchoResponse(message.message_id, Status.SUCCESS, message.sop_class_uid)
            self._respond(received.context_id, encode_message(response, has_data_set=False))
        elif self._normalized(received):
            pass
        elif isinstance(message, CFindRequest | CGetRequest | CMoveRequest) and self._operations is not None:
            self.tally.operations += 1
            syntax = self._transfer_syntaxes[received.context_id]
            refusal = self._operations.begin(
                message, received.context_id, syntax, has_identifier=received.has_data_set
            )
            if refusal is not None:
                self._respond(received.context_id, encode_message(refusal, has_data_set=False))
        elif isinstance(message, CCancelRequest):
            if self._operations is not None:
                self._operations.cancel(message)
        elif isinstance(
            message,
            UnsupportedRequest
            | CFindRequest
            | CGetRequest
            | CMoveRequest
            | NActionRequest
            | NEventReportRequest
            | NCreateRequest
            | NSetRequest
            | NGetRequest,
        ):
            # Its data set, if it has one, is read and thrown away: nothing is incoming.
            self._respond(
                received.context_id, encode_unsupported_response(message, Status.UNRECOGNISED_OPERATION)
            )
        elif not isinstance(message, UnsupportedResponse):  # it answers nothing: ignored
            raise RemoteProtocolError(
                f"a {type(message).__name__} is not what an SCP can take here",
                section="PS3.7 Section 9.3",
                abort_reason=AbortReason.UNEXPECTED_PARAMETER,
            )

    def _normalized(self, received: CommandReceived) -> bool:
        """Take a message of a DIMSE-N service; whether it was one, and is served here."""
        message, context_id = received.message, received.context_id
        if isinstance(message, NEventReportRequest) and self._reports is not None:
            syntax = self._transfer_syntaxes[context_id]
            self._report = IncomingReport(self._reports, self._association, message, syntax)
            if not received.has_data_set:
                self._finish_report(context_id)
        elif isinstance(message, NActionRequest) and self._actions is not None:
            self._actions.begin(message, self._transfer_syntaxes[context_id])
            if not received.has_data_set:
                self._finish_action(context_id)
        elif isinstance(message, NEventReportResponse) and self._actions is not None:
            self._actions.take_response(message)
        elif isinstance(message, NCreateRequest | NSetRequest | NGetRequest) and self._objects is not None:
            self._objects.begin(message, self._transfer_syntaxes[context_id])
            if not received.has_data_set:
                self._finish_object(self._objects, context_id)
        else:
            return False
        return True

    def _data_set(self, part: DataSetReceived) -> None:
        incoming = self._incoming
        if incoming is None:
            self._of_no_store(part)
            return
        incoming.add(part.fragments)
        if not part.is_complete:
            return
        self._incoming = None
        commits = self._commits
        if commits is None:
            self._answer(part.context_id, incoming, incoming.finish())
            return
        found = incoming.complete()
        if isinstance(found, StoreReply):
            self._answer(part.context_id, incoming, found)
            return
        commits.begin(part.context_id, incoming, found)
        if commits.has_finished:
            self._answer_finished(commits)
        while commits.is_full:
            self._send_owed()
            commits.wait()
            self._answer_finished(commits)

    def _of_no_store(self, part: DataSetReceived) -> None:
        """The data set of any other message; one that nobody takes is thrown away."""
        if self._report is not None:
            self._report.add(part.fragments)
            if part.is_complete:
                self._finish_report(part.context_id)
        elif self._actions is not None and self._actions.is_receiving:
            self._actions.add(part.fragments)
            if part.is_complete:
                self._finish_action(part.context_id)
        elif self._objects is not None and self._objects.is_receiving:
            self._objects.add(part.fragments)
            if part.is_complete:
                self._finish_object(self._objects, part.context_id)
        elif self._operations is not None:
            self._operations.add(part.fragments, is_complete=part.is_complete)

    def _finish_report(self, context_id: int) -> None:
        report, self._report = self._report, None
        if report is not None:
            self._respond(context_id, encode_message(report.finish(), has_data_set=False))

    def _finish_action(self, context_id: int) -> None:
        if self._actions is not None:
            self._respond(context_id, encode_message(self._actions.finish(context_id), has_data_set=False))

    def _finish_object(self, objects: ProvidedObjects, context_id: int) -> None:
        self._transport.send(objects.finish(self._connection, context_id))

    def _answer_finished(self, commits: AssociationCommits) -> None:
        for context_id, store, reply in commits.finished():
            self._answer(context_id, store, reply)

    def _answer(self, context_id: int, store: IncomingStore, reply: StoreReply) -> None:
        """At once; with a window together with the others to what one read has brought."""
        self._count(store, reply)
        response = _encoded(store, reply)
        if self._commits is None:
            self._respond(context_id, response)
        elif self._connection.state in _MAY_ANSWER:
            self._owed.append(command_bytes(self._connection, context_id, response))

    def _send_owed(self) -> None:
        if self._owed:
            owed, self._owed = self._owed, []
            if self._connection.state in _MAY_ANSWER:
                self._transport.send(b"".join(owed))

    def _count(self, store: IncomingStore, reply: StoreReply) -> None:
        self.tally.bytes_received += store.bytes_received
        if reply.status == Status.SUCCESS or is_warning(reply.status):
            self.tally.stored += 1
        else:
            self.tally.failed += 1

    def _respond(self, context_id: int, command: bytes) -> None:
        self._transport.send(command_bytes(self._connection, context_id, command))

    def _drop_operations(self) -> None:
        if self._operations is not None:
            self._operations.close()
        if self._actions is not None:
            self._actions.close()
        if self._objects is not None:
            self._objects.close()

    def _drop_incoming(self) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.abandon()
            self.tally.bytes_received += incoming.bytes_received


def _encoded(store: IncomingStore, reply: StoreReply) -> bytes:
    if reply.comment:
        return encode_message(store.response(reply), has_data_set=False)
    request = store.request
    return encode_store_response(
        request.message_id, reply.status, request.sop_class_uid, request.sop_instance_uid
    )
