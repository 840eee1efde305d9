"""What an answer about instances says, as findings for the ledger. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from dicomrelay.dicom.commitment import Remedy, failure
from dicomrelay.dimse.commitment import CommitmentReport
from dicomrelay.ledger.values_verification import Finding, Found

_THERE = Found(Finding.THERE)
_FINDING = {
    Remedy.ASK_AGAIN: Finding.DOUBT,
    Remedy.SEND_AGAIN: Finding.GONE,
    Remedy.ATTENTION: Finding.HOPELESS,
}


def of_report(report: CommitmentReport) -> dict[str, Found]:
    """By SOP Instance UID; what a report leaves out is left out here too."""
    found = dict.fromkeys(report.committed, _THERE)
    for uid, reason in report.failed.items():
        row = failure(reason)
        found[uid] = Found(_FINDING[row.remedy], row.name, reason, row.advice)
    return found


def of_look(
    wanted: Iterable[str], there: Collection[str], *, is_last: bool, doubt: str = ""
) -> dict[str, Found]:
    """What a C-FIND found, by SOP Instance UID.

    Parameters
    ----------
    is_last : bool
        What is not found by now is missing; before, an index may lag.
    doubt : str
        Why the answer says nothing of what it does not hold; "" when it does.
    """
    gone = Found(Finding.GONE if is_last else Finding.DOUBT, "not found")
    absent = Found(Finding.DOUBT, doubt) if doubt else gone
    return {uid: _THERE if uid in there else absent for uid in wanted}


def all_in_doubt(wanted: Iterable[str], words: str) -> dict[str, Found]:
    """The peer answers the question with a failure."""
    return dict.fromkeys(wanted, Found(Finding.DOUBT, words))
