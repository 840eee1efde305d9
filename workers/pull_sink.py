"""Takes what a C-GET brings into the spool, as the gateway takes a C-STORE: durable before it is answered."""

from __future__ import annotations

import time
from collections.abc import Callable

from dicomrelay.dicom.scan import Header
from dicomrelay.dicom.status import Status
from dicomrelay.dicom.uids import is_tolerable_uid
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.errors import RelayError, SpoolError
from dicomrelay.log import get_logger
from dicomrelay.net.peer import RemotePeer
from dicomrelay.net.replies import reply_to
from dicomrelay.net.scanning_sink import ScanningSink
from dicomrelay.net.service import StoreReply
from dicomrelay.spool import Provenance, Spool, SpoolRecord, SpoolWriter

_log = get_logger("dicomrelay.pull")


class SpoolReceiver:
    """A receiver of sub-operations that makes each an item of the spool.

    Parameters
    ----------
    peer : RemotePeer
        Who sends, for the provenance.
    association_id : str
        Over which association.
    kept : callable
        Called after each commit.
    """

    def __init__(self, spool: Spool, peer: RemotePeer, association_id: str, kept: Callable[[], None]) -> None:
        self._spool = spool
        self._peer = peer
        self._association_id = association_id
        self._kept = kept

    def begin_store(self, request: CStoreRequest, transfer_syntax_uid: str) -> StoreReply | ScanningSink:
        """A place in the spool, or a refusal before the data set is read."""
        if not is_tolerable_uid(request.sop_instance_uid):
            return self._refused(request, StoreReply(Status.INVALID_SOP_INSTANCE, "no UID"), None)
        try:
            writer = self._spool.writer(
                sop_class_uid=request.sop_class_uid,
                sop_instance_uid=request.sop_instance_uid,
                transfer_syntax_uid=transfer_syntax_uid,
                provenance=Provenance(
                    calling_ae_title=self._peer.remote.ae_title,
                    called_ae_title=self._peer.calling_ae_title,
                    peer_address=self._peer.remote.host,
                    association_id=self._association_id,
                    received_at_ms=time.time_ns() // 1_000_000,
                ),
            )
        except SpoolError as error:
            return self._refused(request, reply_to(error), error)
        return _Sink(writer, request, transfer_syntax_uid, self._committed, self._refused)

    def _committed(self, _record: SpoolRecord) -> None:
        self._kept()

    def _refused(self, request: CStoreRequest, reply: StoreReply, error: RelayError | None) -> StoreReply:
        _log.warning(
            "instance refused",
            action="instance.refused",
            association_id=self._association_id,
            calling_ae_title=self._peer.remote.ae_title,
            sop_instance_uid=request.sop_instance_uid[:64],
            status=f"0x{reply.status:04X}",
            reason=str(error) if error else reply.comment,
        )
        return reply


class _Sink(ScanningSink):
    """Scans and writes as the bytes come."""

    def __init__(
        self,
        writer: SpoolWriter,
        request: CStoreRequest,
        transfer_syntax_uid: str,
        committed: Callable[[SpoolRecord], None],
        refused: Callable[[CStoreRequest, StoreReply, RelayError | None], StoreReply],
    ) -> None:
        super().__init__(request, transfer_syntax_uid, write=writer.write, forget=writer.abandon)
        self._writer = writer
        self._committed = committed
        self._tell = refused

    def keep(self, header: Header) -> None:
        """Make it durable."""
        self._committed(self._writer.commit(header))

    def refused(self, reply: StoreReply, error: RelayError | None) -> None:
        """One line."""
        self._tell(self._request, reply, error)
