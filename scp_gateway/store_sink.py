"""The data set of one C-STORE request on its way into the spool.

The path to the answer: it touches the disk and the header scan, and no broker, no database, no parser.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from dicomrelay import metrics, traces
from dicomrelay.dicom.scan import Header
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.errors import RelayError
from dicomrelay.log import get_logger
from dicomrelay.metrics.catalogue import RECEIVE_SECONDS, RECEIVED, RECEIVED_BYTES, REFUSED
from dicomrelay.net.scanning_sink import ScanningSink
from dicomrelay.net.service import AssociationInfo, StoreReply
from dicomrelay.spool import SpoolRecord, SpoolWriter

_log = get_logger("dicomrelay.gateway")


class SpoolSink(ScanningSink):
    """Scans and writes as the fragments come; durable before it answers.

    Parameters
    ----------
    committed : Callable
        Called after each commit, with its record; must return at once.
    """

    def __init__(
        self,
        writer: SpoolWriter,
        association: AssociationInfo,
        request: CStoreRequest,
        transfer_syntax_uid: str,
        committed: Callable[[SpoolRecord], None],
    ) -> None:
        super().__init__(request, transfer_syntax_uid, write=writer.write, forget=writer.abandon)
        self._writer = writer
        self._association = association
        self._committed = committed
        self._began = monotonic()

    def keep(self, header: Header) -> None:
        """Make it durable, and say that something is there."""
        record = self._writer.commit(header)
        self._committed(record)
        count_kept(record, monotonic() - self._began, "dimse")

    def refused(self, reply: StoreReply, error: RelayError | None) -> None:
        """One line."""
        log_refusal(self._association, self._request, reply, error)


def count_kept(record: SpoolRecord, seconds: float, protocol: str) -> None:
    """An instance is durable."""
    source = record.provenance.calling_ae_title
    metrics.add(RECEIVED, source, protocol)
    metrics.add(RECEIVED_BYTES, source, protocol, by=record.data_set_bytes)
    metrics.observe(RECEIVE_SECONDS, seconds, protocol)
    if traces.is_traced(record.id):
        traces.span(
            record.id,
            "receive",
            seconds,
            {
                "dicom.sop_instance_uid": record.sop_instance_uid,
                "dicom.study_instance_uid": record.study_instance_uid,
                "dicom.calling_ae_title": source,
                "dicomrelay.bytes": record.data_set_bytes,
            },
        )


def log_refusal(
    association: AssociationInfo, request: CStoreRequest, reply: StoreReply, error: RelayError | None
) -> None:
    """One line for each instance that was refused."""
    metrics.add(REFUSED, association.calling_ae_title, f"{reply.status:04X}")
    _log.warning(
        "instance refused",
        action="instance.refused",
        association_id=association.id,
        calling_ae_title=association.calling_ae_title,
        sop_instance_uid=request.sop_instance_uid,
        status=f"0x{reply.status:04X}",
        reason=str(error) if error else reply.comment,
    )
