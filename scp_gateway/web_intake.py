"""The gateway's side of storing over the web: the door, the checks and the spool of C-STORE (docs/design/stow.md).

Fits the streamer's port, which this package does not know; the command line puts the two together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from dicomrelay import metrics
from dicomrelay.dicom.scan import Header
from dicomrelay.dicom.status import Status
from dicomrelay.dicom.transfer_syntaxes import transfer_syntaxes
from dicomrelay.dicom.uids import is_tolerable_uid
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.errors import RelayError, SpoolError
from dicomrelay.log import get_logger
from dicomrelay.metrics.catalogue import REFUSED
from dicomrelay.net.replies import reply_to
from dicomrelay.net.scanning_sink import ScanningSink
from dicomrelay.net.service import StoreReply
from dicomrelay.net.stored import mismatch
from dicomrelay.settings import Settings
from dicomrelay.spool import Provenance, Spool, SpoolRecord, SpoolWriter
from scp_gateway.admission import Peers, Right
from scp_gateway.negotiation import StorableClasses
from scp_gateway.notifier import Notifier
from scp_gateway.room import Room
from scp_gateway.store_sink import count_kept

_log = get_logger("dicomrelay.gateway")

_LAST_WAKE_UP_S: Final = 1.0
_NOT_STORED: Final = StoreReply(Status.SOP_CLASS_NOT_SUPPORTED, "no storage SOP class")
_NO_UID: Final = StoreReply(Status.INVALID_SOP_INSTANCE, "the SOP Instance UID is no UID")
_NO_NAME: Final = StoreReply(
    Status.CANNOT_UNDERSTAND, "no SOP Class UID and no SOP Instance UID where they should be"
)
# PS3.18 Section 10.5.3: not supported by the origin server.
_NOT_THAT_SYNTAX: Final = StoreReply(0xC122, "that transfer syntax is not taken")
_OTHER_STUDY: Final = StoreReply(0xC409, "it is not of the study that the address names")


class WebIntake:
    """Takes instances of HTTP requests. For many threads; opens the spool, and begins its threads, with the first.

    Parameters
    ----------
    wake, ended : callable
        As of `scp_gateway.app.run`.

    Raises
    ------
    ConfigurationError
        A transfer syntax of [[peers]] is none.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        wake: Callable[[], None],
        ended: Callable[[Sequence[str]], None] | None = None,
    ) -> None:
        self._settings = settings
        self._peers = Peers(settings.peers)
        self._storable = StorableClasses.of(
            settings.gateway.private_sop_classes, accept_unknown=settings.gateway.accept_unknown_sop_classes
        )
        self._room = Room(settings)
        self._notifier = Notifier(wake, ended=ended)
        self._spool: Spool | None = None
        self._opening = threading.Lock()
        self._closing = threading.Event()

    def refusal(self, calling_ae_title: str, peer_address: str, *, is_identified: bool) -> str:
        """Why that caller may not store; "" when it may."""
        if is_identified and not self._settings.peers:
            return ""
        peer = self._peers.entry(calling_ae_title, peer_address)
        if peer is None:
            return "no [[peers]] entry fits this caller"
        return "" if Right.STORE in peer.rights else "this caller's [[peers]] entry has no right to store"

    def check(self, origin: Provenance) -> None:
        """Whether there is room. Raises SpoolError."""
        self._room.check(origin.calling_ae_title, origin.peer_address)
        self._opened().check_space()

    def begin(
        self,
        request: CStoreRequest,
        transfer_syntax_uid: str,
        origin: Provenance,
        *,
        study_instance_uid: str,
        kept: Callable[[SpoolRecord], None],
    ) -> _WebSink | StoreReply:
        """A place in the spool, or a refusal before the data set is read."""
        refusal = self._refusal(request, transfer_syntax_uid, origin)
        if refusal is not None:
            _log_refusal(origin, request, refusal, None)
            return refusal
        try:
            self._room.check(origin.calling_ae_title, origin.peer_address)
            writer = self._opened().writer(
                sop_class_uid=request.sop_class_uid,
                sop_instance_uid=request.sop_instance_uid,
                transfer_syntax_uid=transfer_syntax_uid,
                provenance=origin,
            )
        except SpoolError as error:
            reply = reply_to(error)
            _log_refusal(origin, request, reply, error)
            return reply

        def committed(record: SpoolRecord) -> None:
            self._room.took(record)
            self._notifier.notify()
            kept(record)

        return _WebSink(
            writer,
            request,
            transfer_syntax_uid,
            origin,
            study_instance_uid=study_instance_uid,
            committed=committed,
        )

    def ended(self, request_id: str) -> None:
        """Nothing more comes by that request."""
        self._notifier.association_ended(request_id)

    def close(self) -> None:
        """Send the last wake-up and stop being a writer."""
        self._closing.set()
        with self._opening:
            spool, self._spool = self._spool, None
        if spool is not None:
            self._notifier.stop(_LAST_WAKE_UP_S)
            spool.close()

    def _refusal(
        self, request: CStoreRequest, transfer_syntax_uid: str, origin: Provenance
    ) -> StoreReply | None:
        if not request.sop_class_uid and not request.sop_instance_uid:
            return _NO_NAME
        if not is_tolerable_uid(request.sop_class_uid) or not self._storable.stores(request.sop_class_uid):
            return _NOT_STORED
        if not is_tolerable_uid(request.sop_instance_uid):
            return _NO_UID
        peer = self._peers.entry(origin.calling_ae_title, origin.peer_address)
        taken = (
            transfer_syntaxes() if peer is None or peer.transfer_syntaxes is None else peer.transfer_syntaxes
        )
        return None if transfer_syntax_uid in taken else _NOT_THAT_SYNTAX

    def _opened(self) -> Spool:
        spool = self._spool  # once: `close` may come between two looks
        if spool is not None:
            return spool
        with self._opening:
            if self._spool is None:
                if self._closing.is_set():
                    raise SpoolError("this process stops")
                spool = self._recovered()
                self._room.begin(self._closing)
                self._notifier.start()
                self._spool = spool
            return self._spool

    def _recovered(self) -> Spool:
        gateway = self._settings.gateway
        spool = Spool(self._settings.path("spool"), min_free_bytes=gateway.min_free_bytes, works_ahead=True)
        try:
            recovery = spool.recover()
        except (RelayError, OSError):
            spool.close()  # the next request opens another
            raise
        _log.info("spool recovered", action="spool.recovered", swept=recovery.swept, waiting=recovery.waiting)
        return spool


class _WebSink(ScanningSink):
    """Scans and writes as the bytes come; durable before it answers."""

    def __init__(
        self,
        writer: SpoolWriter,
        request: CStoreRequest,
        transfer_syntax_uid: str,
        origin: Provenance,
        *,
        study_instance_uid: str,
        committed: Callable[[SpoolRecord], None],
    ) -> None:
        super().__init__(request, transfer_syntax_uid, write=writer.write, forget=writer.abandon, whole=True)
        self._writer = writer
        self._origin = origin
        self._study_instance_uid = study_instance_uid
        self._committed = committed
        self._began = time.monotonic()

    def wrong(self, header: Header) -> StoreReply | None:
        """As of a C-STORE, and it must be of the study that the address names."""
        reply = mismatch(header, self._request)
        if reply is not None:
            return StoreReply(reply.status, reply.comment.replace("the command's", "that of its beginning"))
        if self._study_instance_uid and header.study_instance_uid != self._study_instance_uid:
            return _OTHER_STUDY
        return None

    def keep(self, header: Header) -> None:
        """Make it durable, and say that something is there."""
        record = self._writer.commit(header)
        self._committed(record)
        count_kept(record, time.monotonic() - self._began, "stow")

    def refused(self, reply: StoreReply, error: RelayError | None) -> None:
        """One line."""
        _log_refusal(self._origin, self._request, reply, error)


def _log_refusal(
    origin: Provenance, request: CStoreRequest, reply: StoreReply, error: RelayError | None
) -> None:
    metrics.add(REFUSED, origin.calling_ae_title, f"{reply.status:04X}")
    _log.warning(
        "instance refused",
        action="instance.refused",
        protocol=origin.protocol,
        association_id=origin.association_id,
        calling_ae_title=origin.calling_ae_title,
        sop_instance_uid=request.sop_instance_uid[:64],
        status=f"0x{reply.status:04X}",
        reason=str(error) if error else reply.comment,
    )
