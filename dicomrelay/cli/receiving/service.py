"""The answers that the acceptor asks for: the gateway's reception, with a folder behind it."""

from __future__ import annotations

from dicomrelay.cli.receiving.account import Account
from dicomrelay.cli.receiving.folder import OutputFolder
from dicomrelay.cli.receiving.sink import FolderSink, Received
from dicomrelay.dicom.part10 import FileMeta
from dicomrelay.dicom.scan import Header
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.errors import SpoolError
from dicomrelay.log import get_logger
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
from dicomrelay.ul.pdu import AssociateRequest
from scp_gateway.admission import Peers
from scp_gateway.reception import Reception, tls_facts

_log = get_logger("dicomrelay.receive")


class FolderService:
    """An `AssociationService` that keeps what it is sent in a folder."""

    def __init__(self, reception: Reception, peers: Peers, folder: OutputFolder, account: Account) -> None:
        self._reception = reception
        self._peers = peers
        self._folder = folder
        self._account = account

    def admit(self, peer_address: str, open_associations: int) -> Admission:  # noqa: ARG002 - the acceptor counts
        """Whether anybody may call from that address."""
        return self._peers.of_address(peer_address)

    def negotiate(self, request: AssociateRequest, peer: PeerConnection) -> Rejection | Acceptance:
        """As the gateway."""
        return self._reception.receive(request, peer)

    def opened(self, association: AssociationInfo) -> None:
        """Counted, so that a receiver that ends when it is idle knows."""
        self._account.opened()
        _log.info(
            "association begins",
            association_id=association.id,
            calling_ae_title=association.calling_ae_title,
            peer_address=association.peer_address,
            **tls_facts(association.tls),
        )

    def begin_store(
        self, association: AssociationInfo, request: CStoreRequest, transfer_syntax_uid: str
    ) -> FolderSink | StoreReply:
        """A file for it, or a refusal before the data set is read."""
        refusal, fault = self._reception.refusal(association, request), ""
        if refusal is None:
            meta = FileMeta(
                sop_class_uid=request.sop_class_uid,
                sop_instance_uid=request.sop_instance_uid,
                transfer_syntax_uid=transfer_syntax_uid,
                sending_ae_title=association.calling_ae_title,
                receiving_ae_title=association.called_ae_title,
            )
            try:
                part = self._folder.begin(meta)
            except SpoolError as error:
                refusal, fault = reply_to(error), str(error)
            else:
                return FolderSink(
                    self._folder,
                    part,
                    request,
                    transfer_syntax_uid,
                    lambda received: self._ended(association, received),
                )
        self._ended(association, Received(request, Header(), refusal, None, 0, 0.0, fault))
        return refusal

    def turned_away(self, peer_address: str, reason: str) -> None:
        """Counted, and said at the end."""
        self._account.turned_away(reason)
        _log.warning("turned away", peer_address=peer_address, reason=reason)

    def closed(self, association: AssociationInfo, ending: AssociationEnding) -> None:
        """The one line of an association."""
        self._reception.leave(association)
        self._account.closed(association, ending)
        _log.info(
            "association ends",
            association_id=association.id,
            calling_ae_title=association.calling_ae_title,
            ending=ending.kind.value,
            reason=ending.reason,
            stored=ending.stored,
            refused=ending.failed,
            bytes=ending.bytes_received,
            seconds=round(ending.duration_s, 3),
        )

    def _ended(self, association: AssociationInfo, received: Received) -> None:
        self._account.received(association, received)
        if received.kept is None:
            _log.warning(
                "refused",
                association_id=association.id,
                sop_instance_uid=received.request.sop_instance_uid,
                status=f"0x{received.reply.status:04X}",
                reason=received.fault or received.reply.comment,
            )
        else:
            _log.debug(
                received.kept.keeping.value,
                association_id=association.id,
                sop_instance_uid=received.request.sop_instance_uid,
                bytes=received.data_set_bytes,
                seconds=received.seconds,
            )
