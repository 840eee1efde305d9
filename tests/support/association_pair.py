"""Two sans-I/O ends of an association with a fake link between them."""

from __future__ import annotations

from dicomrelay.ul.connection import Connection, ConnectionEvent
from dicomrelay.ul.pdu import (
    AssociateAccept,
    AssociateRequest,
    ContextDecision,
    Pdu,
    ProposedContext,
    UserInformation,
)

REQUEST = AssociateRequest(
    "CALLED",
    "CALLING",
    "1.2.840.10008.3.1.1.1",
    (ProposedContext(1, "1.2", ("1.3",)),),
    UserInformation(16_384),
)
ACCEPT = AssociateAccept(
    "CALLED", "CALLING", "1.2.840.10008.3.1.1.1", (ContextDecision(1, 0, "1.3"),), UserInformation(16_384)
)


class AssociationPair:
    """A requestor and an acceptor; what one sends the other receives at once, whole."""

    def __init__(
        self,
        *,
        request: AssociateRequest = REQUEST,
        accept: AssociateAccept = ACCEPT,
        max_pdu_bytes: int = 16_384,
    ) -> None:
        self.requestor = Connection(max_pdu_bytes=max_pdu_bytes)
        self.acceptor = Connection(max_pdu_bytes=max_pdu_bytes)
        self._request = request
        self._accept = accept

    def request(self) -> None:
        """Connect and send the request."""
        self.requestor.associate(self._request)
        self.acceptor.transport_accepted()
        self.acceptor.receive(self.requestor.transport_connected())
        assert drain(self.acceptor) == [self._request]

    def establish(self) -> None:
        """Both in Sta6."""
        self.request()
        assert self.to_requestor(self._accept) == [self._accept]
        self.requestor.effects()
        self.acceptor.effects()

    def to_acceptor(self, pdu: Pdu) -> list[ConnectionEvent]:
        """The requestor sends; what the acceptor makes of it."""
        self.acceptor.receive(self.requestor.send(pdu))
        return drain(self.acceptor)

    def to_requestor(self, pdu: Pdu) -> list[ConnectionEvent]:
        """The acceptor sends; what the requestor makes of it."""
        self.requestor.receive(self.acceptor.send(pdu))
        return drain(self.requestor)


def drain(connection: Connection) -> list[ConnectionEvent]:
    """All events that are there."""
    events = []
    while (event := connection.next_event()) is not None:
        events.append(event)
    return events
