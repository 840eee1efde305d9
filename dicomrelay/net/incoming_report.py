"""One N-EVENT-REPORT request on its way to whoever takes reports on this association."""

from __future__ import annotations

from collections.abc import Sequence

from dicomrelay.dicom.commitment import ReportStatus
from dicomrelay.dimse.commitment import MAX_REPORT_BYTES
from dicomrelay.dimse.identifier_buffer import IdentifierBuffer, TooLarge
from dicomrelay.dimse.messages import NEventReportRequest, NEventReportResponse
from dicomrelay.net.edge import ask
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
        self._request = request
        self._transfer_syntax_uid = transfer_syntax_uid
        self._buffer: IdentifierBuffer | None = IdentifierBuffer(MAX_REPORT_BYTES)

    def add(self, fragments: Sequence[memoryview]) -> None:
        """Take the next bytes."""
        if self._buffer is None:
            return
        try:
            self._buffer.add(fragments)
        except TooLarge:
            self._buffer = None

    def finish(self) -> NEventReportResponse:
        """The data set is complete: the response."""
        request = self._request
        return NEventReportResponse(
            request.message_id,
            self._status(),
            request.sop_class_uid,
            request.sop_instance_uid,
            request.event_type_id,
        )

    def _status(self) -> int:
        if self._buffer is None:
            return ReportStatus.RESOURCE_LIMITATION
        status, _ = ask(
            self._handler, self._association, self._request, self._buffer.take(), self._transfer_syntax_uid
        )
        return ReportStatus.PROCESSING_FAILURE if status is None else status
