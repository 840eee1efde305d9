"""Which message may come next after a storage commitment request of ours: parts of messages in, events out. No I/O.

One N-ACTION response, and one N-EVENT-REPORT request at most, before or after it. What does not fit is a `RemoteProtocolError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dicomrelay.dicom.commitment import STORAGE_COMMITMENT_PUSH_MODEL
from dicomrelay.dimse.commitment import MAX_REPORT_BYTES
from dicomrelay.dimse.fragments import CommandReceived, DataSetReceived
from dicomrelay.dimse.identifier_buffer import IdentifierBuffer, TooLarge
from dicomrelay.dimse.messages import NActionRequest, NActionResponse, NEventReportRequest
from dicomrelay.errors import RemoteProtocolError
from dicomrelay.ul.pdu import AbortReason


@dataclass(frozen=True, slots=True)
class Reported:
    """A report came whole; `event_information` is its data set, empty when it had none."""

    request: NEventReportRequest
    event_information: bytes


CommitmentEvent = NActionResponse | Reported


class CommitmentExchange:
    """From our N-ACTION to its response and, perhaps, the report.

    Parameters
    ----------
    request : NActionRequest
        As sent.
    context_id : int
        The presentation context it went in.
    """

    def __init__(self, request: NActionRequest, context_id: int) -> None:
        self._request = request
        self._context_id = context_id
        self._is_answered = False
        self._report: NEventReportRequest | None = None
        self._is_in_report = False  # its data set is on the way
        self._buffer = IdentifierBuffer(MAX_REPORT_BYTES)

    @property
    def is_answered(self) -> bool:
        """Whether the response has come."""
        return self._is_answered

    def feed(self, parts: Sequence[CommandReceived | DataSetReceived]) -> list[CommitmentEvent]:
        """What these parts mean, in order.

        Raises
        ------
        RemoteProtocolError
            They are neither the response nor a report, come twice, or are beyond `MAX_REPORT_BYTES`.
        """
        events: list[CommitmentEvent] = []
        for part in parts:
            event = self._command(part) if isinstance(part, CommandReceived) else self._data_set(part)
            if event is not None:
                events.append(event)
        return events

    def _command(self, part: CommandReceived) -> CommitmentEvent | None:
        message = part.message
        if part.context_id != self._context_id:
            raise _unexpected(f"a message in presentation context {part.context_id}")
        if isinstance(message, NActionResponse):
            if (
                self._is_answered
                or message.message_id_being_responded_to != self._request.message_id
                # Action Reply: the storage commitment request has none (PS3.4 Table J.3-1).
                or part.has_data_set
            ):
                raise _unexpected("an N-ACTION response that answers nothing we asked")
            self._is_answered = True
            return message
        if isinstance(message, NEventReportRequest):
            if self._report is not None:
                raise _unexpected("a second report")
            self._report, self._is_in_report = message, part.has_data_set
            return None if part.has_data_set else Reported(message, b"")
        raise _unexpected(f"a {type(message).__name__} where {STORAGE_COMMITMENT_PUSH_MODEL} is spoken")

    def _data_set(self, part: DataSetReceived) -> CommitmentEvent | None:
        report = self._report
        if report is None or not self._is_in_report:
            return None
        try:
            self._buffer.add(part.fragments)
        except TooLarge as error:
            raise _unexpected(str(error)) from error
        if not part.is_complete:
            return None
        self._is_in_report = False
        return Reported(report, self._buffer.take())


def _unexpected(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(what, section="PS3.4 Annex J", abort_reason=AbortReason.UNEXPECTED_PARAMETER)
