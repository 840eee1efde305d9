"""C-STORE requests of an acceptor: the sub-operations of a C-GET, back to the peer that asked (PS3.4 Section C.4.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import ParamSpec, TypeVar

from dicomrelay.dimse.codec import encode_message
from dicomrelay.dimse.fragments import CommandReceived, DataSetReceived, MessageAssembler, command_bytes
from dicomrelay.dimse.messages import Message
from dicomrelay.errors import AssociationError, ProtocolError
from dicomrelay.net.outgoing_store import StoreItem
from dicomrelay.net.outgoing_window import OutgoingWindow
from dicomrelay.net.proposal import RemoteAe
from dicomrelay.net.store_scu import StoreAnswer, StoreScu
from dicomrelay.net.transport import Transport
from dicomrelay.ul.connection import ConnectionEvent
from dicomrelay.ul.pdu import Abort

_P = ParamSpec("_P")
_T = TypeVar("_T")


class AssociationEnded(Exception):
    """The peer released, aborted or closed the association in the middle of a sub-operation.

    Attributes
    ----------
    event : ConnectionEvent
        What it did: a ReleaseRequest, an Abort or a ConnectionClosed.
    """

    def __init__(self, event: ConnectionEvent) -> None:
        super().__init__(type(event).__name__)
        self.event = event


class ProviderEndings:
    """How an association ends that the peer has asked for: its own thread sees to that, and gets what was raised."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.ended: AssociationEnded | AssociationError | ProtocolError | None = None

    def guarded(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call it; what ends the association is kept, and raised."""
        try:
            return call(*args, **kwargs)
        except (AssociationEnded, AssociationError, ProtocolError) as error:
            self.ended = error
            raise

    def of(self, event: ConnectionEvent) -> Exception:
        """What to raise for an event that ends the association."""
        return AssociationEnded(event)

    def abort(self) -> None:
        """A-ABORT, put into the output; whoever closes says it."""
        self._transport.connection.request_abort(Abort())


class ProviderStores:
    """What a `delivery` needs of an association, on one that the peer has asked for.

    Parameters
    ----------
    peer : RemoteAe
        For the words.
    accepted : mapping of (str, str) to int
        SOP class and transfer syntax to the presentation context in which the peer takes C-STORE requests.
    response_s : float
        How long it may take to answer one.
    others : callable
        Takes whatever comes beside the responses, at once.

    Attributes
    ----------
    id : str
        Of the association.
    """

    def __init__(
        self,
        association_id: str,
        peer: RemoteAe,
        transport: Transport,
        assembler: MessageAssembler,
        accepted: Mapping[tuple[str, str], int],
        *,
        response_s: float,
        others: Callable[[CommandReceived | DataSetReceived], None],
    ) -> None:
        self.id = association_id
        self.accepted = accepted
        self._transport = transport
        self._message_id = 0
        self._endings = endings = ProviderEndings(transport)
        self._outstanding = OutgoingWindow(transport, assembler, response_s, endings, others)
        self._stores = StoreScu(
            peer, transport.connection, accepted, self._outstanding, endings, self._next_message_id
        )

    @property
    def outstanding(self) -> int:
        """Requests sent, wholly or in part, whose response has not come."""
        return len(self._outstanding)

    @property
    def ended(self) -> Exception | None:
        """What ended the association during a sub-operation; None while it lives."""
        return self._endings.ended

    def stores(
        self, items: Iterable[StoreItem], *, pace: Callable[[int], None] | None = None
    ) -> Iterator[StoreAnswer]:
        """As `Association.stores`, one request outstanding at a time: the peer was asked for no window.

        Raises
        ------
        AssociationEnded, RemoteProtocolError, AssociationError
            The association is over; `ended` is that.
        """
        return self._stores.stores(items, 1, pace)

    def tell(self, context_id: int, response: Message) -> None:
        """Send a response without a data set between two sub-operations, or while one waits for its answer.

        Raises
        ------
        AssociationError
            The peer does not take it; `ended` is that.
        """
        command = encode_message(response, has_data_set=False)
        connection = self._transport.connection
        self._endings.guarded(self._transport.send, command_bytes(connection, context_id, command))

    def _next_message_id(self) -> int:
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id
