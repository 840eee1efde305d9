"""One N-EVENT-REPORT request on its way to whoever takes reports on this association."""

from __future__ import annotations

from collections.abc import Sequence

from dicomrelay.dicom.commitment import ReportStatus
from dicomrelay.dimse.commitment import MAX_REPORT_BYTES
from dicomrelay.dimse.messages import NEventReportRequest, NEventReportResponse
from dicomrelay.net.edge import ask
from dicomrelay.net.incoming_request import IncomingRequest
from dicomrelay.net.service import AssociationInfo, ReportHandler


class IncomingReport:
    """Collects the data set, never more than `MAX_REPORT_BYTES` of it; what is over is read and thrown away."""

    def __init__(
        self,
        handler: ReportHandler,
        association: AssociationInfo,
        request: NEventReportRequest,
        transfer_syntax_uid: str,
    ) -> None:
        self._handler = handler
        self._association = association
        self._incoming: IncomingRequest[NEventReportRequest] = IncomingRequest(MAX_REPORT_BYTES)
        self._incoming.begin(request, transfer_syntax_uid)

    def add(self, fragments: Sequence[memoryview]) -> None:
        """Take the next bytes."""
        self._incoming.add(fragments)

    def finish(self) -> NEventReportResponse:
        """The data set is complete: the response."""
        request, data_set, transfer_syntax_uid = self._incoming.take()
        return NEventReportResponse(
            request.message_id,
            self._status(request, data_set, transfer_syntax_uid),
            request.sop_class_uid,
            request.sop_instance_uid,
            request.event_type_id,
        )

    def _status(self, request: NEventReportRequest, data_set: bytes | None, transfer_syntax_uid: str) -> int:
        if data_set is None:
            return ReportStatus.RESOURCE_LIMITATION
        status, _ = ask(self._handler, self._association, request, data_set, transfer_syntax_uid)
        return ReportStatus.PROCESSING_FAILURE if status is None else status
