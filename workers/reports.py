"""Takes the reports that the gateway has answered for from the spool into the ledger (docs/design/verification.md)."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import Final

from dicomrelay.errors import ConfigurationError, LedgerError, SpoolCorrupt, SpoolError
from dicomrelay.ledger.values_verification import VerificationRules
from dicomrelay.log import get_logger
from dicomrelay.routing import resolve
from dicomrelay.spool.reports import KeptReport, ReportBox
from workers.findings import of_report
from workers.rooms import Rooms
from workers.verify import rules_of, told

_log = get_logger("dicomrelay.verify")
_BATCH: Final = 100


def report_box(rooms: Rooms) -> ReportBox:
    """Where this host's gateway puts them."""
    return ReportBox(rooms.settings.path("spool", "reports"))


def take_reports(rooms: Rooms) -> int:
    """Take up to a hundred, the oldest first; how many files are gone from there.

    Raises
    ------
    ServiceUnavailable
        The ledger does not answer; the rest stays where it is.
    """
    box = report_box(rooms)
    taken = 0
    for name in islice(box.waiting(), _BATCH):
        try:
            kept = box.read(name)
            _take(rooms, kept)
        except (SpoolCorrupt, LedgerError) as error:
            _log.error("a report cannot be used, it is in corrupt/ of the spool", reason=str(error))
            box.set_aside(name)
        except SpoolError:  # another worker took it, or the disk does not say now
            continue
        else:
            box.remove(name)
        taken += 1
    return taken


def _take(rooms: Rooms, kept: KeptReport) -> None:
    report = kept.report
    known = rooms.ledger.verifications.known(report.transaction_uid)
    rules = VerificationRules()
    if known is not None:
        # It may be in the settings no more: what it says is true all the same.
        with suppress(ConfigurationError):
            rules = rules_of(resolve(known.destination, rooms.settings.destinations), known.doubts)
    settled = rooms.ledger.verifications.report(
        report.transaction_uid, kept.calling_ae_title, of_report(report), rules
    )
    if settled is None:
        _log.warning(
            "a report of a transaction that is none of ours, or by another than was asked",
            transaction_uid=report.transaction_uid,
            calling_ae_title=kept.calling_ae_title,
            association_id=kept.association_id,
        )
        return
    _log.info(
        "commitment report",
        transaction_uid=report.transaction_uid,
        calling_ae_title=kept.calling_ae_title,
        association_id=kept.association_id,
        **told(settled),
    )
