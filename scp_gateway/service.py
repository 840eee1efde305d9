"""The answers that the acceptor asks for: who may call, what is accepted, where data sets go."""

from __future__ import annotations

import time
from collections.abc import Callable

from dicomrelay import metrics
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.errors import SpoolError
from dicomrelay.log import get_logger
from dicomrelay.metrics.catalogue import (
    ASSOCIATION_SECONDS,
    ASSOCIATIONS,
    ASSOCIATIONS_OPEN,
    OPERATIONS,
    TURNED_AWAY,
)
from dicomrelay.net.replies import reply_to
from dicomrelay.net.service import (
    Acceptance,
    Admission,
    AssociationEnding,
    AssociationInfo,
    PeerConnection,
    Rejection,
    StoreReply,
)
from dicomrelay.settings import GatewaySettings
from dicomrelay.spool import Provenance, Spool, SpoolRecord
from dicomrelay.ul.pdu import AssociateRequest
from scp_gateway.admission import Peers
from scp_gateway.audited import Witness
from scp_gateway.operations import Operations
from scp_gateway.reception import Reception, tls_facts
from scp_gateway.reports import Reports
from scp_gateway.room import Room
from scp_gateway.store_sink import SpoolSink, log_refusal

_log = get_logger("dicomrelay.gateway")
# What the acceptor says of those that it turned away itself; of all others the association was not made.
_WHY = {"nobody may call from that address": "address", "no room for another association": "room"}


def _nobody(_association_id: str) -> None:
    """Nobody wants to know."""


class GatewayService:
    """An `AssociationService` that stores what it is sent.

    Parameters
    ----------
    committed : Callable
        Called after each commit; must return at once.
    reports : Reports, optional
        Takes reports of storage commitment; None takes none.
    room : Room, optional
        Bounds on what the spool holds; None for none.
    ended : Callable
        Called with the id of each association that is over and has stored something; must return at once.
    operations : Operations, optional
        What is served beyond storing; None serves nothing else.
    witness : Witness, optional
        Tells the audit.

    Raises
    ------
    ConfigurationError
        Something in [gateway.identity] cannot be used.
    """

    def __init__(  # noqa: PLR0913 - one for each part
        self,
        settings: GatewaySettings,
        peers: Peers,
        spool: Spool,
        committed: Callable[[], None],
        reports: Reports | None = None,
        room: Room | None = None,
        ended: Callable[[str], None] = _nobody,
        operations: Operations | None = None,
        *,
        witness: Witness | None = None,
    ) -> None:
        self._peers = peers
        self._reception = Reception(settings, peers, reports, operations)
        self._spool = spool
        self._committed = committed
        self._room = room
        self._ended = ended
        self._witness = witness

    def admit(self, peer_address: str, open_associations: int) -> Admission:  # noqa: ARG002 - the acceptor counts
        """Whether anybody may call from that address, and whether we know it."""
        admission = self._peers.of_address(peer_address)
        if admission is Admission.REFUSED:
            _log.warning("address refused", action="connection.refused", peer_address=peer_address)
            if self._witness is not None:
                self._witness.not_let_in("", peer_address, "nobody may call from that address")
        return admission

    def negotiate(self, request: AssociateRequest, peer: PeerConnection) -> Rejection | Acceptance:
        """Whether that AE may call us now, and what is agreed with it."""
        answer = self._reception.receive(request, peer)
        if self._witness is not None and isinstance(answer, Rejection):
            self._witness.rejected(request.calling_ae_title, peer.address, answer)
        return answer

    def opened(self, association: AssociationInfo) -> None:  # noqa: ARG002 - counted, whoever it is
        """Nothing is said yet: the one line comes at the end."""
        metrics.add(ASSOCIATIONS_OPEN)

    def begin_store(
        self, association: AssociationInfo, request: CStoreRequest, transfer_syntax_uid: str
    ) -> SpoolSink | StoreReply:
        """A place in the spool, or a refusal before the data set is read."""
        refusal = self._reception.refusal(association, request)
        if refusal is not None:
            log_refusal(association, request, refusal, None)
            return refusal
        try:
            if self._room is not None:
                self._room.check(association.calling_ae_title, association.peer_address)
            writer = self._spool.writer(
                sop_class_uid=request.sop_class_uid,
                sop_instance_uid=request.sop_instance_uid,
                transfer_syntax_uid=transfer_syntax_uid,
                provenance=Provenance(
                    calling_ae_title=association.calling_ae_title,
                    called_ae_title=association.called_ae_title,
                    peer_address=association.peer_address,
                    association_id=association.id,
                    received_at_ms=time.time_ns() // 1_000_000,
                ),
            )
        except SpoolError as error:
            reply = reply_to(error)
            log_refusal(association, request, reply, error)
            return reply
        return SpoolSink(writer, association, request, transfer_syntax_uid, self._kept)

    def _kept(self, record: SpoolRecord) -> None:
        if self._room is not None:
            self._room.took(record)
        if self._witness is not None:
            self._witness.kept(record)
        self._committed()

    def turned_away(self, peer_address: str, reason: str) -> None:
        """Counted; whoever turned it away has logged it. That TLS failed may be for who it is."""
        if self._witness is not None and reason.startswith("TLS with "):
            self._witness.not_let_in("", peer_address, "no TLS connection")
        metrics.add(TURNED_AWAY, _WHY.get(reason, "not-made"))

    def closed(self, association: AssociationInfo, ending: AssociationEnding) -> None:
        """The one line of an association, and its seat is free."""
        user = self._reception.leave(association)
        if ending.stored:
            self._ended(association.id)
        if self._witness is not None:
            self._witness.closed(association, ending)
        _count(association.calling_ae_title, ending)
        _log.info(
            "association",
            action="association.closed",
            association_id=association.id,
            calling_ae_title=association.calling_ae_title,
            called_ae_title=association.called_ae_title,
            peer_address=association.peer_address,
            peer_implementation=association.implementation_version_name,
            ending=ending.kind.value,
            reason=ending.reason,
            echoes=ending.echoes,
            stored=ending.stored,
            refused=ending.failed,
            operations=ending.operations,
            bytes=ending.bytes_received,
            seconds=round(ending.duration_s, 3),
            **({"user": user} if user else {}),
            **tls_facts(association.tls),
        )


def _count(source: str, ending: AssociationEnding) -> None:
    metrics.add(ASSOCIATIONS_OPEN, by=-1)
    metrics.add(ASSOCIATIONS, source, ending.kind.name.lower().replace("_", "-"))
    metrics.observe(ASSOCIATION_SECONDS, ending.duration_s)
    if ending.operations:
        metrics.add(OPERATIONS, source, by=ending.operations)
