"""N-ACTION requests for storage commitment: read, kept, answered; and reported on the same association while it lasts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from dicomrelay.dicom.commitment import ReportStatus
from dicomrelay.dimse.commitment_request import ActionRefused, CommitmentRequested, read_action
from dicomrelay.dimse.messages import NActionRequest
from dicomrelay.errors import RelayError
from dicomrelay.log import get_logger
from dicomrelay.net.service import ActionReply, AssociationInfo
from dicomrelay.settings import GatewaySettings
from dicomrelay.settings.retrieve import CommitmentSettings
from scp_gateway.commitment.watch import ReportWatch

if TYPE_CHECKING:
    from scp_gateway.archive_port import CommitmentDesk

_log = get_logger("dicomrelay.gateway")

# So many requests are looked after here at once; more are left to the scheduler.
_AT_ONCE: Final = 4
# From the report to its answer, on the same association.
_ANSWER_S: Final = 30.0


def nothing_came(_sop_instance_uids: Sequence[str]) -> Mapping[str, set[str]]:
    """Without a ledger to ask."""
    return {}


class Commitments:
    """Takes requests. For all threads of a listener.

    Parameters
    ----------
    desk : callable
        Gives the archive's; asked at each request, and opened at the first.
    """

    def __init__(
        self, settings: CommitmentSettings, gateway: GatewaySettings, desk: Callable[[], CommitmentDesk]
    ) -> None:
        self._settings = settings
        self._ae_title = gateway.ae_title
        self._desk = desk
        self._places = threading.BoundedSemaphore(_AT_ONCE)

    def take(
        self,
        association: AssociationInfo,
        request: NActionRequest,
        information: bytes | None,
        transfer_syntax_uid: str,
    ) -> ActionReply:
        """A `net.service.ActionHandler`: 0000 says that the request is durable."""
        try:
            wanted = read_action(request, information, transfer_syntax_uid)
        except ActionRefused as error:
            return _told(association, None, ActionReply(error.status, str(error)))
        return _told(association, wanted, self._kept(association, wanted, transfer_syntax_uid))

    def _kept(
        self, association: AssociationInfo, wanted: CommitmentRequested, transfer_syntax_uid: str
    ) -> ActionReply:
        same_s = self._settings.same_association_s
        peer = association.calling_ae_title.strip()
        try:
            desk = self._desk()
            kept = desk.take(peer, wanted, due_in_ms=round((same_s + _ANSWER_S) * 1000))
        except ActionRefused as error:
            return ActionReply(error.status, str(error))
        except RelayError as error:
            _log.warning("a request is not kept", action="commitment.not-kept", error=str(error))
            return ActionReply(
                ReportStatus.PROCESSING_FAILURE, "not kept: the archive does not answer, ask again"
            )
        watch = ReportWatch(
            desk, kept, self._settings, transfer_syntax_uid, self._ae_title, over=self._places.release
        )
        if not self._places.acquire(blocking=False):
            watch.leave_to_others()
            return ActionReply(ReportStatus.SUCCESS)
        watch.start()
        return ActionReply(ReportStatus.SUCCESS, due=watch)


def _told(
    association: AssociationInfo, wanted: CommitmentRequested | None, reply: ActionReply
) -> ActionReply:
    log = _log.info if reply.status == ReportStatus.SUCCESS else _log.warning
    log(
        "commitment request",
        action="commitment.taken" if reply.status == ReportStatus.SUCCESS else "commitment.refused",
        association_id=association.id,
        calling_ae_title=association.calling_ae_title,
        transaction_uid=wanted.transaction_uid if wanted is not None else "",
        instances=len(wanted.references) if wanted is not None else 0,
        status=f"0x{reply.status:04X}",
        **({"reason": reply.comment} if reply.comment else {}),
    )
    return reply
