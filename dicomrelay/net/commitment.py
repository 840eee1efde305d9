"""A storage commitment request over an open association, and the report when it comes on the same one (PS3.4 Annex J)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from dicomrelay.dicom.commitment import (
    REQUEST_STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_PUSH_MODEL,
    STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE,
)
from dicomrelay.dimse.commitment import COMMITMENT_TRANSFER_SYNTAXES, encode_request
from dicomrelay.dimse.commitment_exchange import CommitmentExchange, Reported
from dicomrelay.dimse.messages import (
    NActionRequest,
    NActionResponse,
    NEventReportRequest,
    NEventReportResponse,
)
from dicomrelay.errors import NoAcceptedContext
from dicomrelay.net.requestor import Association

# What a requestor proposes: a context for each transfer syntax, so that the choice stays ours.
COMMITMENT_CONTEXTS: Final = tuple(
    (STORAGE_COMMITMENT_PUSH_MODEL, (syntax,)) for syntax in COMMITMENT_TRANSFER_SYNTAXES
)
# How often `stop` is asked while nothing comes.
_WAKE_S: Final = 0.25

# Gets a report, its data set and the transfer syntax of that; answers its status. Success says that it is kept.
ReportTaker = Callable[[NEventReportRequest, bytes, str], int]


class CommitmentRequest:
    """One request on one association. `has_report` once a report came on it.

    Parameters
    ----------
    references : sequence of (str, str)
        SOP class and SOP instance UID of each instance.
    take : callable
        Keeps the report when it comes on this association; its status is answered at once.

    Raises
    ------
    NoAcceptedContext
        The peer does not do storage commitment.
    """

    def __init__(
        self,
        association: Association,
        transaction_uid: str,
        references: Sequence[tuple[str, str]],
        take: ReportTaker,
    ) -> None:
        self._association = association
        self._take = take
        self.has_report = False
        self._context_id, self._syntax = _context(association)
        self._request = NActionRequest(
            association.next_message_id(),
            STORAGE_COMMITMENT_PUSH_MODEL,
            STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE,
            REQUEST_STORAGE_COMMITMENT,
        )
        self._information = encode_request(transaction_uid, references, self._syntax)
        self._exchange = CommitmentExchange(self._request, self._context_id)

    def ask(self) -> NActionResponse:
        """Send the request, and wait for the response; a failure status means that the peer will not process it.

        Raises
        ------
        AssociationError
            The association died. The peer may have the request all the same, and report.
        """
        association = self._association
        association.send_message(self._request, self._context_id, self._information)
        deadline = monotonic() + association.timeouts.response_s
        while True:
            answer = self._receive(deadline, deadline)
            if answer is not None:
                return answer

    def wait(self, wait_s: float, *, stop: Callable[[], bool]) -> bool:
        """Wait for the report, unless it came before the response.

        Parameters
        ----------
        wait_s : float
            0 or more. The peer reports on an association of its own when this one is released first.
        stop : callable
            Whether there is no more need to wait; asked four times a second.

        Returns
        -------
        bool
            Whether a report came.

        Raises
        ------
        AssociationError
            The association died, also while a report was on its way.
        """
        until = monotonic() + wait_s
        while not self.has_report and monotonic() < until and not stop():
            # No deadline of its own: silence is what most peers keep, and they report elsewhere.
            self._receive(until + self._association.timeouts.pdu_s, min(until, monotonic() + _WAKE_S))
        return self.has_report

    def _receive(self, deadline: float, wake_at: float) -> NActionResponse | None:
        events = self._association.receive(self._exchange.feed, deadline=deadline, wake_at=wake_at)
        answer = None
        for event in events or ():
            if isinstance(event, Reported):
                self._report(event)
            else:
                answer = event
        return answer

    def _report(self, reported: Reported) -> None:
        request = reported.request
        status = self._take(request, reported.event_information, self._syntax)
        response = NEventReportResponse(
            request.message_id, status, request.sop_class_uid, request.sop_instance_uid, request.event_type_id
        )
        self._association.send_message(response, self._context_id)
        self.has_report = True


def _context(association: Association) -> tuple[int, str]:
    for syntax in COMMITMENT_TRANSFER_SYNTAXES:
        context_id = association.accepted.get((STORAGE_COMMITMENT_PUSH_MODEL, syntax))
        if context_id is not None:
            return context_id, syntax
    raise NoAcceptedContext(f"{association.remote} does not do storage commitment")
