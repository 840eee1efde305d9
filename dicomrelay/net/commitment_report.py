"""An N-EVENT-REPORT about storage commitment on an association of ours, in which we are SCP (PS3.4 Section J.3.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from dicomrelay.dicom.commitment import STORAGE_COMMITMENT_PUSH_MODEL, STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE
from dicomrelay.dimse.commitment import COMMITMENT_TRANSFER_SYNTAXES
from dicomrelay.dimse.fragments import CommandReceived, DataSetReceived
from dicomrelay.dimse.messages import NEventReportRequest, NEventReportResponse
from dicomrelay.errors import NoAcceptedContext, RemoteProtocolError
from dicomrelay.net.requestor import Association
from dicomrelay.ul.pdu import AbortReason, RoleSelection

# What a requestor proposes that is SCP (PS3.7 Annex D.3.3.4); a peer that says nothing of roles is sent its report all the same.
REPORT_ROLES: Final = (RoleSelection(STORAGE_COMMITMENT_PUSH_MODEL, scu=False, scp=True),)


def send_report(association: Association, event_type_id: int, information: Callable[[str], bytes]) -> int:
    """Report, and the status of the answer.

    Parameters
    ----------
    information : callable
        Gives the event information in a transfer syntax.

    Raises
    ------
    NoAcceptedContext
        The peer takes no reports.
    AssociationError
        The association died; the peer may have the report all the same.
    """
    context_id, syntax = _context(association)
    request = NEventReportRequest(
        association.next_message_id(),
        STORAGE_COMMITMENT_PUSH_MODEL,
        STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE,
        event_type_id,
    )

    def take(parts: Sequence[CommandReceived | DataSetReceived]) -> int | None:
        for part in parts:
            if isinstance(part, DataSetReceived):
                continue  # an Event Reply, which nobody defines here
            message = part.message
            if (
                not isinstance(message, NEventReportResponse)
                or message.message_id_being_responded_to != request.message_id
            ):
                raise RemoteProtocolError(
                    f"a {type(message).__name__} that answers nothing we asked",
                    section="PS3.7 Section 10.3.1",
                    abort_reason=AbortReason.UNEXPECTED_PARAMETER,
                )
            return message.status
        return None

    association.send_message(request, context_id, information(syntax))
    deadline = monotonic() + association.timeouts.response_s
    status: int | None = None
    while status is None:
        status = association.receive(take, deadline=deadline, wake_at=deadline)
    return status


def _context(association: Association) -> tuple[int, str]:
    for syntax in COMMITMENT_TRANSFER_SYNTAXES:
        context_id = association.accepted.get((STORAGE_COMMITMENT_PUSH_MODEL, syntax))
        if context_id is not None:
            return context_id, syntax
    raise NoAcceptedContext(f"{association.remote} takes no reports of storage commitment")
