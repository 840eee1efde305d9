"""The N-ACTION requests of one association, and the N-EVENT-REPORT that may follow on the same one (PS3.4 Annex J).

No socket is touched here: the conversation sends what is ready, and the peer's own messages go before a report.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from dicomrelay.dicom.commitment import ReportStatus
from dicomrelay.dimse.codec import encode_message
from dicomrelay.dimse.commitment import MAX_REPORT_BYTES
from dicomrelay.dimse.fragments import command_bytes, data_set_bytes
from dicomrelay.dimse.messages import (
    NActionRequest,
    NActionResponse,
    NEventReportRequest,
    NEventReportResponse,
)
from dicomrelay.errors import RemoteProtocolError
from dicomrelay.net.edge import ask
from dicomrelay.net.incoming_request import IncomingRequest
from dicomrelay.net.service import (
    ActionHandler,
    ActionReply,
    AssociationInfo,
    DueReport,
    EventReport,
    ReportAnswered,
)
from dicomrelay.ul.connection import Connection
from dicomrelay.ul.pdu import AbortReason


class ProvidedActions:
    """Takes requests and answers them at once; a report goes out when it is due and the peer says nothing.

    Parameters
    ----------
    handler : callable
        Takes each request.
    """

    def __init__(self, handler: ActionHandler, association: AssociationInfo) -> None:
        self._handler = handler
        self._association = association
        self._incoming: IncomingRequest[NActionRequest] = IncomingRequest(MAX_REPORT_BYTES)
        self._due: deque[tuple[NActionRequest, int, DueReport]] = deque()
        self._message_id = 0
        self._reported: dict[int, ReportAnswered] = {}

    @property
    def is_due(self) -> bool:
        """Whether a report may be ready some time."""
        return bool(self._due)

    @property
    def is_receiving(self) -> bool:
        """Whether the data set of a request is on its way."""
        return self._incoming.is_receiving

    def begin(self, request: NActionRequest, transfer_syntax_uid: str) -> None:
        """A request came; its action information follows by `add`."""
        self._incoming.begin(request, transfer_syntax_uid)

    def add(self, fragments: Sequence[memoryview]) -> None:
        """Take the next bytes; what is over the bound is read and thrown away."""
        self._incoming.add(fragments)

    def finish(self, context_id: int) -> NActionResponse:
        """The request is whole: the response to it."""
        request, information, syntax = self._incoming.take()
        reply, _ = ask(self._handler, self._association, request, information, syntax)
        if reply is None:
            reply = ActionReply(ReportStatus.PROCESSING_FAILURE, "a fault of the service")
        if reply.due is not None:
            self._due.append((request, context_id, reply.due))
        return NActionResponse(
            request.message_id,
            reply.status,
            request.sop_class_uid,
            request.sop_instance_uid,
            request.action_type_id,
            reply.comment[:64].encode("ascii", "replace").decode("ascii"),
        )

    def report(self, connection: Connection) -> bytes:
        """The bytes of a report that is ready; none when there is none, or none yet."""
        for _ in range(len(self._due)):
            request, context_id, due = self._due.popleft()
            found, error = ask(due.ready)
            if error is not None or found is False:
                continue
            if isinstance(found, EventReport):
                return self._encoded(connection, request, context_id, found)
            self._due.append((request, context_id, due))
        return b""

    def take_response(self, response: NEventReportResponse) -> None:
        """The peer has answered a report.

        Raises
        ------
        RemoteProtocolError
            There was none.
        """
        answered = self._reported.pop(response.message_id_being_responded_to, None)
        if answered is None:
            raise RemoteProtocolError(
                "an N-EVENT-REPORT response that answers nothing we asked",
                section="PS3.7 Section 10.3.1",
                abort_reason=AbortReason.UNEXPECTED_PARAMETER,
            )
        ask(answered, response.status)

    def close(self) -> None:
        """The association is over: who waits for the answer to a report gets none."""
        waiting, self._reported = list(self._reported.values()), {}
        due, self._due = self._due, deque()
        self._incoming.forget()
        for answered in waiting:
            ask(answered, None)
        for _, _, each in due:
            ask(each.gone)

    def _encoded(
        self, connection: Connection, request: NActionRequest, context_id: int, report: EventReport
    ) -> bytes:
        self._message_id = self._message_id % 0xFFFF + 1
        self._reported[self._message_id] = report.answered
        message = NEventReportRequest(
            self._message_id, request.sop_class_uid, request.sop_instance_uid, report.event_type_id
        )
        command = command_bytes(connection, context_id, encode_message(message, has_data_set=True))
        return command + data_set_bytes(connection, context_id, report.information)
