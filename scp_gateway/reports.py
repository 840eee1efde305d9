"""Reports of storage commitment: from whom they are taken, and what they are answered (PS3.4 Section J.3.3).

Off the path of C-STORE: a data set of UIDs is read, the ledger is asked whether the transaction is ours, through a port, and a
file is made durable. When the ledger does not say, the report is kept all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dicomrelay.dicom.commitment import ReportStatus
from dicomrelay.dimse.commitment import ReportRefused, read_report
from dicomrelay.dimse.messages import NEventReportRequest
from dicomrelay.errors import SpoolError, SpoolFull
from dicomrelay.log import get_logger
from dicomrelay.net.service import AssociationInfo
from dicomrelay.settings import DestinationSettings, VerificationMethod
from dicomrelay.spool.reports import KeptReport, ReportBox

_log = get_logger("dicomrelay.gateway")

# Whether a Transaction UID is of a request of ours; None when nobody can say now.
KnowsTransaction = Callable[[str], bool | None]


def nobody_can_say(_transaction_uid: str) -> bool | None:
    """Without a ledger to ask."""
    return None


def _nobody() -> None:
    """No workers: reports wait in the spool."""


@dataclass(frozen=True, slots=True)
class ReportPort:
    """What the gateway has to be given for reports.

    Attributes
    ----------
    wake : callable
        Tells the workers that a report has come; may raise and may block.
    knows : callable
        Whether a transaction is ours; may take its time, and raises nothing.
    """

    wake: Callable[[], None] = _nobody
    knows: KnowsTransaction = nobody_can_say


class Reports:
    """Takes reports from the destinations that are asked for commitment. For all threads of a listener.

    Parameters
    ----------
    kept : callable
        Called after each report that was kept; must return at once.
    knows : callable
        May take its time, and raises nothing.
    """

    def __init__(
        self,
        destinations: Sequence[DestinationSettings],
        box: ReportBox,
        *,
        kept: Callable[[], None],
        knows: KnowsTransaction = nobody_can_say,
    ) -> None:
        self._ae_titles = frozenset(
            each.ae_title for each in destinations if each.verification is VerificationMethod.COMMITMENT
        )
        self._box = box
        self._kept = kept
        self._knows = knows

    def are_taken_from(self, calling_ae_title: str) -> bool:
        """Whether that is a destination that may be asked for commitment."""
        return calling_ae_title.strip() in self._ae_titles

    def take(
        self,
        association: AssociationInfo,
        request: NEventReportRequest,
        event_information: bytes,
        transfer_syntax_uid: str,
    ) -> int:
        """A `net.service.ReportHandler`: the status of one report."""
        status, why = self._judged(association, request, event_information, transfer_syntax_uid)
        log = _log.info if status is ReportStatus.SUCCESS else _log.warning
        log(
            "commitment report",
            action="report.taken" if status is ReportStatus.SUCCESS else "report.refused",
            association_id=association.id,
            calling_ae_title=association.calling_ae_title,
            event_type=request.event_type_id,
            status=f"0x{status:04X}",
            **({"reason": why} if why else {}),
        )
        return status

    def _judged(
        self, association: AssociationInfo, request: NEventReportRequest, raw: bytes, syntax: str
    ) -> tuple[ReportStatus, str]:
        try:
            report = read_report(request, raw, syntax)
        except ReportRefused as error:
            return error.status, str(error)
        if self._knows(report.transaction_uid) is False:
            return ReportStatus.INVALID_ARGUMENT_VALUE, "the Transaction UID is none of ours"
        try:
            self._box.put(
                KeptReport(
                    report, association.calling_ae_title.strip(), association.id, time.time_ns() // 1_000_000
                )
            )
        except SpoolFull as error:
            return ReportStatus.RESOURCE_LIMITATION, str(error)
        except SpoolError as error:
            return ReportStatus.PROCESSING_FAILURE, str(error)
        self._kept()
        return ReportStatus.SUCCESS, ""
