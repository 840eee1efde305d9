"""The C-STORE requests of one association that are not answered yet (PS3.7 Annex D.3.3.3, docs/design/upper-layer.md)."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

from dicomrelay.dimse.fragments import CommandReceived, DataSetReceived, MessageAssembler
from dicomrelay.dimse.messages import CStoreResponse
from dicomrelay.errors import RemoteProtocolError
from dicomrelay.net.endings import StoreEndings
from dicomrelay.net.outgoing_store import OutgoingStore, StoreItem
from dicomrelay.net.service import StoreReply
from dicomrelay.net.transport import Transport
from dicomrelay.ul.connection import ConnectionEvent
from dicomrelay.ul.pdu import PDataTf

# What we keep to when the peer sets no limit: enough to keep a disk busy, few to send again after a death.
MAX_OUTSTANDING: Final = 64
_STORED: Final = StoreReply(0)


class OutgoingWindow:
    """Sends requests, and puts the responses to them, in whatever order they come.

    Parameters
    ----------
    assembler : MessageAssembler
        Of what the peer sends.
    response_s : float
        How long one response may take.
    endings : StoreEndings
        Of the association.
    others : callable, optional
        Takes what comes beside the responses, at once; without it nothing may.

    Attributes
    ----------
    answered : list of (StoreItem, StoreReply)
        Responses that have come and are not yet told of; whoever tells of them clears it.
    """

    __slots__ = (
        "_assembler",
        "_early",
        "_endings",
        "_heard_at",
        "_others",
        "_outstanding",
        "_response_s",
        "_sending",
        "_transport",
        "answered",
    )

    def __init__(
        self,
        transport: Transport,
        assembler: MessageAssembler,
        response_s: float,
        endings: StoreEndings,
        others: Callable[[CommandReceived | DataSetReceived], None] | None = None,
    ) -> None:
        self._transport = transport
        self._assembler = assembler
        self._response_s = response_s
        self._endings = endings
        self._others = others
        self._outstanding: dict[int, OutgoingStore] = {}
        self._sending: OutgoingStore | None = (
            None  # and its answer, should it come before its last byte has left
        )
        self._early: StoreReply | None = None
        self._heard_at = 0.0
        self.answered: list[tuple[StoreItem, StoreReply]] = []

    def __len__(self) -> int:
        """Requests sent, wholly or in part, whose response has not come."""
        return len(self._outstanding)

    def forget(self) -> None:
        """Wait for none of them any more: the association is over."""
        self._outstanding.clear()

    def send(self, store: OutgoingStore, pace: Callable[[int], None] | None) -> None:
        """Send a request; responses that come meanwhile are taken.

        It is outstanding from its first byte on: a peer may answer in the middle of a data set that it does not want
        (PS3.7 Section 9.1.1.2 sets no order between them), and gets the rest all the same. Such an answer counts once the
        last byte has left: a success before that is none when the file, or the connection, fails.

        Parameters
        ----------
        pace : callable or None
            Called with a number of data set bytes before they are sent; may wait.

        Raises
        ------
        AssociationError, RemoteProtocolError
            The association is over.
        SpoolCorrupt, OSError
            The file failed in the middle of its data set.
        """
        outstanding = self._outstanding
        try:
            if pace is not None:
                pace(store.first_bytes)
            is_alone = not outstanding
            outstanding[store.message_id] = self._sending = store
            if is_alone:
                store.send(self._transport, pace)
            else:
                with self._transport.hearing(self._hear):
                    store.send(self._transport, pace)
        finally:
            store.close()
        self._sending = None
        now = monotonic()
        if self._early is not None:
            self.answered.append((store.item, self._early))
            self._early = None
            self._heard_at = now
        elif len(outstanding) == 1:
            self._heard_at = now
        # A peer may do one after the other.
        store.due_at = now + self._response_s * len(outstanding)

    def wait(self) -> None:
        """Return when there is something in `answered`.

        Raises
        ------
        AssociationError, RemoteProtocolError
            The association is over; what came before its end is in `answered`.
        """
        while not self.answered and not self._take():
            due_at = min([store.due_at for store in self._outstanding.values()])
            deadline = min(due_at, self._heard_at + self._response_s)
            self._transport.receive(deadline, "response")

    def take_event(self, event: ConnectionEvent) -> None:
        """Take the responses that an event brings.

        Raises
        ------
        AssociationError, RemoteProtocolError
            It is something else.
        """
        if not isinstance(event, PDataTf):
            raise self._endings.of(event)
        for part in self._assembler.feed(event.pdvs):
            if self._others is not None and not _is_response(part):
                self._others(part)
                continue
            if not isinstance(part, CommandReceived) or part.has_data_set:
                raise RemoteProtocolError(
                    "a message that answers nothing we asked", section="PS3.7 Section 9.3"
                )
            message = part.message
            if not isinstance(message, CStoreResponse):
                raise RemoteProtocolError(
                    f"a {type(message).__name__} does not answer what we asked", section="PS3.7 Section 9.3"
                )
            store = self._outstanding.get(message.message_id_being_responded_to)
            if store is None:
                raise RemoteProtocolError(
                    f"a response to message {message.message_id_being_responded_to}, which waits for none",
                    section="PS3.7 Section 9.1.2.1.1",
                )
            _require_same_instance(message, store.item)
            del self._outstanding[store.message_id]
            self._answered(store, StoreReply(message.status, message.error_comment))

    def _answered(self, store: OutgoingStore, reply: StoreReply) -> None:
        if store is self._sending:
            self._early = reply
        else:
            self.answered.append((store.item, reply))

    def _hear(self) -> None:
        """The peer has something to say while we are sending."""
        self._transport.receive(float("inf"), "response")
        self._take()

    def _take(self) -> bool:
        """Take the responses that are received already; whether there were any."""
        before = len(self.answered)
        connection = self._transport.connection
        while True:
            while self._take_success():
                pass
            if len(self.answered) > before and not connection.has_partial_pdu:
                break
            event = self._transport.next_event()
            if event is None:
                break
            self.take_event(event)
        if len(self.answered) == before:
            return False
        self._heard_at = monotonic()
        return True

    def _take_success(self) -> bool:
        """Take the usual response to the oldest request by its looks: the same bytes decode to the same answer."""
        for store in self._outstanding.values():
            if self._assembler.is_between_messages and self._transport.connection.take_exactly(store.success):
                del self._outstanding[store.message_id]
                self._answered(store, _STORED)
                return True
            return False
        return False


def _is_response(part: CommandReceived | DataSetReceived) -> bool:
    return isinstance(part, CommandReceived) and isinstance(part.message, CStoreResponse)


def _require_same_instance(response: CStoreResponse, item: StoreItem) -> None:
    """A response may name what it answers, and then that is what was sent: no other instance was stored by it."""
    for name, said, sent in (
        ("Affected SOP Class UID (0000,0002)", response.sop_class_uid, item.sop_class_uid),
        ("Affected SOP Instance UID (0000,1000)", response.sop_instance_uid, item.sop_instance_uid),
    ):
        if said and said != sent:
            raise RemoteProtocolError(
                f"a response to message {response.message_id_being_responded_to} whose {name} is not the request's",
                section="PS3.7 Table 9.3-2",
            )
