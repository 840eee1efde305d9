"""Verifications under lease: what is due, claim, renew, wait for the report, hand back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import func, or_, select, update

from dicomrelay.dicom.commitment import new_transaction_uid
from dicomrelay.ledger.breaker import Admission, BreakerState
from dicomrelay.ledger.engine import AnyRow, Work
from dicomrelay.ledger.facts import destination_info
from dicomrelay.ledger.places import breaker_of, live_leases, locked_destination, write_breaker
from dicomrelay.ledger.schema import deliveries, destinations, instances, transfers, verifications
from dicomrelay.ledger.texts import storable
from dicomrelay.ledger.values import TransferState
from dicomrelay.ledger.values_verification import (
    ClaimedVerification,
    DueVerification,
    Reference,
    VerificationState,
    Verified,
)
from dicomrelay.ledger.verification_changes import mark
from dicomrelay.ledger.verification_opening import FIRST_LOOK_MS, open_one

COMMITMENT: Final = "commitment"


def due(work: Work, *, limit: int) -> tuple[DueVerification, ...]:
    """See `Verifications.due`."""
    asking = (
        select(verifications.c.destination)
        .where(verifications.c.state == VerificationState.ASKING.value, verifications.c.due_at > work.now)
        .subquery()
    )
    # One a destination: the first of those that are due.
    first = (
        select(verifications.c.destination, func.min(verifications.c.due_at).label("due_at"))
        .join(destinations, destinations.c.name == verifications.c.destination)
        .where(
            verifications.c.due_at <= work.now,
            or_(
                destinations.c.breaker == BreakerState.CLOSED.value,
                # An open breaker lets one through at its probe, as it does a transfer.
                destinations.c.probe_at.is_(None),
                destinations.c.probe_at <= work.now,
                # Nobody is asked.
                destinations.c.verification == "none",
            ),
            verifications.c.destination.not_in(select(asking.c.destination)),
        )
        .group_by(verifications.c.destination)
        .order_by("due_at")
        .limit(limit)
        .subquery()
    )
    rows = work.connection.execute(
        select(func.min(verifications.c.id), verifications.c.destination)
        .join(
            first,
            (first.c.destination == verifications.c.destination) & (first.c.due_at == verifications.c.due_at),
        )
        .group_by(verifications.c.destination)
    )
    return tuple(DueVerification(*row) for row in rows)


def claim(work: Work, verification_id: str, *, owner: str, lease_ms: int) -> ClaimedVerification | None:
    """See `Verifications.claim`."""
    named = _row(work, verification_id)
    if named is None:
        return None
    address = locked_destination(work, named.destination)
    assert address is not None  # noqa: S101 - a foreign key
    breaker = breaker_of(address)
    admission = breaker.admits(now=work.now, live=live_leases(work, address.name))
    transfer = locked_transfer(work, named.transfer_id)
    wanted = references(work, transfer.id)
    if address.verification == "none" or not wanted:
        admission = Admission.YES  # nobody is asked
    row = _row(work, verification_id, lock=True)
    if row is None or row.due_at is None or row.due_at > work.now or _is_asking(work, named.destination):
        return None
    if admission is Admission.NO:
        return None
    if transfer.state == TransferState.RUNNING.value:
        # All of what it delivers together: nothing is asked while it goes on.
        _set(work, row.id, due_at=work.now + FIRST_LOOK_MS)
        return None
    if row.state == VerificationState.ASKED.value:
        row = _asked_anew(work, transfer, row)
    if admission is Admission.TRIAL:
        write_breaker(work, address.name, breaker.trial(work.now))
    method = address.verification
    transaction_uid = new_transaction_uid() if method == COMMITMENT else ""
    _set(
        work,
        row.id,
        state=VerificationState.ASKING.value,
        method=method,
        due_at=work.now + lease_ms,
        fence=row.fence + 1,
        owner=owner,
        attempt=row.attempt + 1,
        transaction_uid=transaction_uid,
        asked_at=work.now,
    )
    return ClaimedVerification(
        id=row.id,
        fence=row.fence + 1,
        transfer_id=transfer.id,
        destination=row.destination,
        address=destination_info(address),
        study_instance_uid=transfer.study_instance_uid,
        method=method,
        attempt=row.attempt + 1,
        doubts=row.doubts,
        transaction_uid=transaction_uid,
        references=wanted,
        trial=admission is Admission.TRIAL,
    )


def references(
    work: Work, transfer_id: str, marks: Sequence[Verified] = (Verified.PENDING,)
) -> tuple[Reference, ...]:
    """What a transfer has delivered that is not verified yet, or what is marked otherwise."""
    rows = work.connection.execute(
        select(
            instances.c.id,
            instances.c.sop_class_uid,
            instances.c.sop_instance_uid,
            instances.c.series_instance_uid,
        )
        .join(deliveries, deliveries.c.instance_id == instances.c.id)
        .where(
            deliveries.c.transfer_id == transfer_id,
            deliveries.c.verification.in_([each.value for each in marks]),
        )
        .order_by(instances.c.id)
    )
    return tuple(Reference(*row) for row in rows)


def renew(work: Work, verification_id: str, fence: int, *, lease_ms: int) -> bool:
    """See `Verifications.renew`."""
    return _hand_over(work, verification_id, fence, due_at=work.now + lease_ms)


def await_report(work: Work, verification_id: str, fence: int, *, within_ms: int) -> bool:
    """See `Verifications.await_report`."""
    return _hand_over(
        work,
        verification_id,
        fence,
        state=VerificationState.ASKED.value,
        owner="",
        due_at=work.now + within_ms,
        reason="",
        advice="",
    )


def hand_back(
    work: Work,
    verification_id: str,
    fence: int,
    *,
    retry_in_ms: int | None,
    reason: str,
    advice: str,
    counted: bool = True,
) -> bool:
    """See `Verifications.hand_back`."""
    row = _row(work, verification_id)
    if row is None:
        return False
    locked_transfer(work, row.transfer_id)
    state = VerificationState.NEEDS_ATTENTION if retry_in_ms is None else VerificationState.READY
    is_ours = _hand_over(
        work,
        verification_id,
        fence,
        state=state.value,
        owner="",
        due_at=None if retry_in_ms is None else work.now + retry_in_ms,
        finished_at=work.now if retry_in_ms is None else None,
        reason=storable(reason),
        advice=storable(advice),
        attempt=verifications.c.attempt - int(not counted),
    )
    if is_ours and retry_in_ms is None:
        mark(
            work,
            row.transfer_id,
            [each.instance_id for each in references(work, row.transfer_id)],
            Verified.UNKNOWN,
        )
    elif is_ours and retry_in_ms is not None:
        # Nobody was there: the others that are due for it would find the same.
        work.connection.execute(
            update(verifications)
            .where(
                verifications.c.destination == row.destination,
                verifications.c.state == VerificationState.READY.value,
                verifications.c.due_at < work.now + retry_in_ms,
            )
            .values(due_at=work.now + retry_in_ms)
        )
    return is_ours


def locked_transfer(work: Work, transfer_id: str) -> AnyRow:
    """Its row, locked: before its verifications and its instances."""
    return work.connection.execute(
        select(transfers).where(transfers.c.id == transfer_id).with_for_update(key_share=True)
    ).one()


def _is_asking(work: Work, destination: str) -> bool:
    query = select(verifications.c.id).where(
        verifications.c.destination == destination,
        verifications.c.state == VerificationState.ASKING.value,
        verifications.c.due_at > work.now,
    )
    return work.connection.execute(query.limit(1)).one_or_none() is not None


def _asked_anew(work: Work, transfer: AnyRow, row: AnyRow) -> AnyRow:
    """No report came in time: a new verification in its place, so that the old transaction stays known."""
    _set(
        work,
        row.id,
        state=VerificationState.SUPERSEDED.value,
        due_at=None,
        finished_at=work.now,
        reason="no report came in time",
    )
    made = open_one(
        work,
        transfer,
        method=row.method,
        resends=row.resends,
        doubts=row.doubts + 1,
        attempt=row.attempt,
    )
    anew = _row(work, made)
    assert anew is not None  # noqa: S101 - it was made in this transaction
    return anew


def _row(work: Work, verification_id: str, *, lock: bool = False) -> AnyRow | None:
    query = select(verifications).where(verifications.c.id == verification_id)
    if lock:
        query = query.with_for_update(key_share=True)
    return work.connection.execute(query).one_or_none()


def _set(work: Work, verification_id: str, **values: object) -> None:
    work.connection.execute(
        update(verifications).where(verifications.c.id == verification_id).values(**values)
    )


def _hand_over(work: Work, verification_id: str, fence: int, **values: object) -> bool:
    """Write it if the lease is still ours."""
    result = work.connection.execute(
        update(verifications)
        .where(
            verifications.c.id == verification_id,
            verifications.c.fence == fence,
            verifications.c.state == VerificationState.ASKING.value,
        )
        .values(**values)
    )
    return result.rowcount == 1
