"""What an answer changes: what is there is verified, what is gone is sent again, the rest is asked about again or listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, update

from dicomrelay.ledger import events
from dicomrelay.ledger.delivery_counts import close
from dicomrelay.ledger.engine import AnyRow, Work
from dicomrelay.ledger.events import Event, EventKind
from dicomrelay.ledger.evidence_chain import FactKind
from dicomrelay.ledger.schema import verifications
from dicomrelay.ledger.texts import storable
from dicomrelay.ledger.values import TransferState
from dicomrelay.ledger.values_verification import (
    Finding,
    Findings,
    Found,
    Reference,
    Settled,
    VerificationRules,
    VerificationState,
    Verified,
)
from dicomrelay.ledger.verification_changes import fail, make_ready, mark, tell
from dicomrelay.ledger.verification_claims import references
from dicomrelay.ledger.verification_opening import open_one

_DOUBT: Final = Found(Finding.DOUBT, "the answer leaves it out")
# What a late answer may be about; of what is missing a newer answer said so.
_LATE: Final = (Verified.PENDING, Verified.UNKNOWN)


def settle(
    work: Work,
    transfer: AnyRow,
    verification: AnyRow,
    findings: Findings,
    rules: VerificationRules,
    *,
    only_there: bool = False,
) -> Settled:
    """Write what was found of what a transfer has delivered; `findings` by SOP Instance UID. Both rows are locked.

    Parameters
    ----------
    only_there : bool
        Believe only what is there: an answer to a question that a newer one has replaced, or that was given up. It is
        believed of what was given up as unknown too.
    """
    marks = _LATE if only_there else (Verified.PENDING,)
    found = {
        each: findings.get(each.sop_instance_uid, _DOUBT) for each in references(work, transfer.id, marks)
    }
    sorted_out = {
        finding: {each: what for each, what in found.items() if what.finding is finding}
        for finding in Finding
    }
    there = sorted_out[Finding.THERE]
    _verify(work, transfer, verification, there)
    if only_there:
        return _close_when_nothing_is_left(work, transfer, len(there))
    gone: Mapping[Reference, Found] = sorted_out[Finding.GONE]
    lost: Mapping[Reference, Found] = {}
    if verification.resends >= rules.resends or transfer.state == TransferState.CANCELLED.value:
        gone, lost = lost, gone
    _send_again(work, transfer, verification, gone)
    _give_up(work, transfer, verification, lost, Verified.MISSING)
    _give_up(work, transfer, verification, sorted_out[Finding.HOPELESS], Verified.UNKNOWN)
    return _conclude(
        work,
        transfer,
        verification,
        rules,
        _Left(len(there), len(gone), lost, sorted_out[Finding.HOPELESS], sorted_out[Finding.DOUBT]),
    )


@dataclass(frozen=True, slots=True)
class _Left:
    """An answer, sorted: in numbers what is settled, and the rest."""

    there: int
    resent: int
    lost: Mapping[Reference, Found]  # gone too often, or nothing may be sent again
    hopeless: Mapping[Reference, Found]
    doubts: Mapping[Reference, Found]


def _verify(work: Work, transfer: AnyRow, verification: AnyRow, there: Mapping[Reference, Found]) -> None:
    ids = [each.instance_id for each in there]
    mark(work, transfer.id, ids, Verified.VERIFIED, verified_at=work.now)
    close(work, ids)
    tell(work, transfer, FactKind.VERIFIED, there, verification)


def _send_again(work: Work, transfer: AnyRow, verification: AnyRow, gone: Mapping[Reference, Found]) -> None:
    """The gap, and no more: the transfer is ready again, unless it is held or runs."""
    if not gone:
        return
    fail(work, transfer.id, gone)
    make_ready(work, transfer)
    events.record(
        work,
        [
            Event(
                EventKind.TRANSFER_REOPENED,
                study_instance_uid=transfer.study_instance_uid,
                transfer_id=transfer.id,
                destination=transfer.destination,
                job_id=transfer.job_id,
                detail={"reason": "missing at the destination", "instances": len(gone)},
            )
        ],
    )
    tell(work, transfer, FactKind.MISSING, gone, verification)


def _give_up(
    work: Work, transfer: AnyRow, verification: AnyRow, what: Mapping[Reference, Found], verified: Verified
) -> None:
    mark(work, transfer.id, [each.instance_id for each in what], verified)
    tell(work, transfer, FactKind.MISSING, what, verification)


def _conclude(
    work: Work, transfer: AnyRow, verification: AnyRow, rules: VerificationRules, left: _Left
) -> Settled:
    """What becomes of the verification itself."""
    doubts = verification.doubts + 1 if left.doubts and not left.there else 0
    ask_again = bool(left.doubts) and doubts < rules.attempts
    if left.doubts and not ask_again:
        mark(work, transfer.id, [each.instance_id for each in left.doubts], Verified.UNKNOWN)
    given_up = [*left.lost.values(), *left.hopeless.values(), *(() if ask_again else left.doubts.values())]
    if given_up:
        state = VerificationState.NEEDS_ATTENTION
    elif ask_again:
        state = VerificationState.READY
    else:
        state = VerificationState.MISSING if left.resent else VerificationState.VERIFIED
    worst = next(iter((*given_up, *left.doubts.values())), None)
    work.connection.execute(
        update(verifications)
        .where(verifications.c.id == verification.id)
        .values(
            state=state.value,
            owner="",
            fence=verification.fence + 1,
            doubts=doubts,
            resends=verification.resends + bool(left.resent),
            due_at=work.now + rules.again_in_ms if state.is_open else None,
            finished_at=None if state.is_open else work.now,
            reason=storable(worst.words) if worst is not None else "",
            advice=storable(_advice(left)) if given_up else "",
        )
    )
    if given_up:
        _replace_attention(work, transfer.id, by=verification.id)
        events.record(work, [_not_verified(transfer, worst, len(given_up))])
        if ask_again:  # what is given up is listed, and what is not goes on
            open_one(work, transfer, method=verification.method, resends=verification.resends, doubts=doubts)
    return Settled(state, left.there, left.resent, len(given_up) + (len(left.doubts) if ask_again else 0))


def _advice(left: _Left) -> str:
    for what in left.hopeless.values():
        return what.advice
    if left.lost:
        return "The destination answers Success and loses what it gets: look into its log and at its disk, then `jobs retry`."
    return "The destination does not say whether it has them: look into its log, then `jobs retry`."


def _close_when_nothing_is_left(work: Work, transfer: AnyRow, there: int) -> Settled:
    """A late answer may have been the last that was wanted, and the last that was given up."""
    if there and not references(work, transfer.id):
        _end(work, transfer.id, verifications.c.due_at.is_not(None))
    if there and not references(work, transfer.id, (Verified.UNKNOWN, Verified.MISSING)):
        _end(work, transfer.id, verifications.c.state == VerificationState.NEEDS_ATTENTION.value)
    return Settled(VerificationState.SUPERSEDED, there, 0, len(references(work, transfer.id, _LATE)))


def _end(work: Work, transfer_id: str, which: ColumnElement[bool]) -> None:
    work.connection.execute(
        update(verifications)
        .where(verifications.c.transfer_id == transfer_id, which)
        .values(
            state=VerificationState.VERIFIED.value,
            due_at=None,
            owner="",
            fence=verifications.c.fence + 1,
            finished_at=work.now,
            reason="",
            advice="",
        )
    )


def _replace_attention(work: Work, transfer_id: str, *, by: str) -> None:
    """The newest that needs attention lists all of the transfer that does."""
    work.connection.execute(
        update(verifications)
        .where(
            verifications.c.transfer_id == transfer_id,
            verifications.c.id != by,
            verifications.c.state == VerificationState.NEEDS_ATTENTION.value,
        )
        .values(state=VerificationState.SUPERSEDED.value)
    )


def _not_verified(transfer: AnyRow, worst: Found | None, count: int) -> Event:
    return Event(
        EventKind.NOT_VERIFIED,
        study_instance_uid=transfer.study_instance_uid,
        transfer_id=transfer.id,
        destination=transfer.destination,
        job_id=transfer.job_id,
        detail={"reason": worst.words if worst is not None else "", "instances": count},
    )
