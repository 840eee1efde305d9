"""From an A-ASSOCIATE-RQ to its answer, and who sits where until the association is over (docs/design/negotiation.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from dicomrelay.dicom.status import Status
from dicomrelay.dicom.uids import is_tolerable_uid
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.log import get_logger
from dicomrelay.net.service import (
    Acceptance,
    AssociationInfo,
    PeerConnection,
    Rejection,
    ReportHandler,
    StoreReply,
    TlsFacts,
)
from dicomrelay.settings import GatewaySettings, Settings
from dicomrelay.ul.pdu import AssociateRequest
from scp_gateway.admission import Peer, Peers, Right
from scp_gateway.identity import Identified, IdentityCheck, Refused
from scp_gateway.negotiation import NO_SERVICES, Services, StorableClasses, answer
from scp_gateway.operations import Operations
from scp_gateway.reports import Reports
from scp_gateway.seats import Seats

_log = get_logger("dicomrelay.gateway")

# Result permanent, source service user (PS3.8 Table 9-21).
CALLING_AE_TITLE_NOT_RECOGNISED: Final = Rejection(result=1, source=1, reason=3)
CALLED_AE_TITLE_NOT_RECOGNISED: Final = Rejection(result=1, source=1, reason=7)
# Transient, service provider: local limit exceeded.
NO_ROOM_FOR_THIS_PEER: Final = Rejection(result=2, source=3, reason=2)

_NO_ENTRY: Final = Refused(CALLING_AE_TITLE_NOT_RECOGNISED, "no [[peers]] entry fits")
_NOT_OURS: Final = Refused(CALLED_AE_TITLE_NOT_RECOGNISED, "the called AE title is not ours")
_NO_SEAT: Final = Refused(NO_ROOM_FOR_THIS_PEER, "the associations of its [[peers]] entry are taken")
_NOT_STORED: Final = StoreReply(Status.SOP_CLASS_NOT_SUPPORTED, "no storage SOP class")
_NO_RIGHT: Final = StoreReply(Status.NOT_AUTHORIZED, "no right to store: [[peers]] rights")
_NO_UID: Final = StoreReply(Status.INVALID_SOP_INSTANCE, "Affected SOP Instance UID (0000,1000) is no UID")


def check(settings: Settings) -> None:
    """What of [[peers]] and [gateway.identity] cannot be used, before anything is started.

    Raises
    ------
    ConfigurationError
        A transfer syntax is none, a passcode hash or a key file cannot be used; it names the key.
    """
    Reception(settings.gateway, Peers(settings.peers))


class Reception:
    """Decides by the settings; for all threads of a listener.

    Parameters
    ----------
    reports : Reports, optional
        Takes reports of storage commitment; None takes none.
    operations : Operations, optional
        What is served beyond storing; None serves nothing else.

    Raises
    ------
    ConfigurationError
        A passcode hash or the key file of [gateway.identity] cannot be used.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        peers: Peers,
        reports: Reports | None = None,
        operations: Operations | None = None,
    ) -> None:
        self._settings = settings
        self._operations = operations
        self._services = (
            Services(operations.services, operations.extended) if operations is not None else NO_SERVICES
        )
        self._reports = reports
        self._peers = peers
        self._seats = Seats()
        self._identity = IdentityCheck(settings.identity) if settings.identity is not None else None
        self._storable = StorableClasses.of(
            settings.private_sop_classes, accept_unknown=settings.accept_unknown_sop_classes
        )

    def receive(self, request: AssociateRequest, connection: PeerConnection) -> Rejection | Acceptance:
        """Whether that AE may call us now, and with what. Once accepted it has a seat until `leave`."""
        peer = self._peers.entry(request.calling_ae_title, connection.address, connection.tls)
        if peer is None:
            return _logged(_NO_ENTRY, request, connection)
        is_ours = request.called_ae_title.strip() == self._settings.ae_title
        if self._settings.check_called_ae_title and not is_ours:
            return _logged(_NOT_OURS, request, connection)
        if not self._seats.take(connection.id, peer):
            return _logged(_NO_SEAT, request, connection)
        try:
            identified = self._identify(request, connection, peer)
            if isinstance(identified, Identified):
                return self._accept(request, connection, peer, identified)
        except BaseException:
            self._seats.leave(connection.id)
            raise
        self._seats.leave(connection.id)
        return _logged(identified, request, connection)

    def refusal(self, association: AssociationInfo, request: CStoreRequest) -> StoreReply | None:
        """Why that instance is not taken, as far as its command tells."""
        sop_class = request.sop_class_uid
        peer = self._seats.of(association.id).peer
        if peer is not None and Right.STORE not in peer.rights:
            return _NO_RIGHT
        if (
            not self._storable.stores(sop_class)
            and sop_class not in self._seats.of(association.id).specialised
        ):
            return _NOT_STORED
        if not is_tolerable_uid(request.sop_instance_uid):
            return _NO_UID
        return None

    def leave(self, association: AssociationInfo) -> str:
        """The association is over; the user that it had, "" for none."""
        return self._seats.leave(association.id).user

    def _identify(
        self, request: AssociateRequest, connection: PeerConnection, peer: Peer
    ) -> Identified | Refused:
        if self._identity is None:
            return Identified()
        required = peer.identity_required
        return self._identity.check(
            request.user_information.user_identity,
            connection.address,
            required=self._identity.required if required is None else required,
        )

    def _accept(
        self, request: AssociateRequest, connection: PeerConnection, peer: Peer, identified: Identified
    ) -> Acceptance:
        self._seats.note(
            connection.id,
            user=identified.user,
            specialised=self._storable.specialised(request.user_information),
        )
        acceptance = answer(
            request,
            self._storable,
            preferred=peer.transfer_syntaxes,
            max_outstanding=self._settings.max_outstanding,
            identity_response=identified.response,
            reports=self._report_handler(request.calling_ae_title),
            rights=peer.rights,
            services=self._services,
        )
        if self._operations is None:
            return acceptance
        answered = {each.sop_class_uid: each.application_information for each in acceptance.extended}
        return replace(
            acceptance,
            operations=self._operations.handler(peer.rights, answered, peer.stations),
            actions=self._operations.actions(peer.rights),
            objects=self._operations.objects(peer.rights),
        )

    def _report_handler(self, calling_ae_title: str) -> ReportHandler | None:
        reports = self._reports
        return reports.take if reports is not None and reports.are_taken_from(calling_ae_title) else None


def _logged(refused: Refused, request: AssociateRequest, connection: PeerConnection) -> Rejection:
    rejection = refused.rejection
    _log.warning(
        "association rejected",
        action="association.rejected",
        calling_ae_title=request.calling_ae_title,
        called_ae_title=request.called_ae_title,
        peer_address=connection.address,
        result=rejection.result,
        source=rejection.source,
        reason=rejection.reason,
        why=refused.why,
        **tls_facts(connection.tls),
    )
    return rejection


def tls_facts(facts: TlsFacts | None) -> dict[str, str]:
    """For the log; nothing without TLS."""
    if facts is None:
        return {}
    return {"tls": facts.version, "cipher": facts.cipher, "certificate": facts.certificate_subject}
