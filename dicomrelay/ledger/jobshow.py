"""One job for people, its transfers, and what somebody or a breaker keeps back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, case, func, or_, select

from dicomrelay.errors import LedgerError
from dicomrelay.ledger.engine import AnyRow, Work
from dicomrelay.ledger.job_figures import Entry, Sums, figures, looked_at, row_of
from dicomrelay.ledger.schema import (
    FAILED,
    HELD,
    REFUSED,
    UNGROUPED,
    deliveries,
    destinations,
    jobs,
    studies,
    transfers,
)
from dicomrelay.ledger.subjects import of_deliveries, of_transfers
from dicomrelay.ledger.values import DeliveryState, Priority, TransferState
from dicomrelay.ledger.values_operations import (
    JobRow,
    Reason,
    StoppedDestination,
    Subject,
    SubjectKind,
    TransferRow,
)


def one(work: Work, subject: Subject) -> JobRow:
    """See `Operations.job`."""
    entry = _entry(work, subject)
    if entry is None:
        raise LedgerError(f"There is no {subject.kind.value} {subject.id}")
    sums = Sums()
    for row in work.connection.execute(figures().where(*of_transfers(subject))):
        sums.add(row)
    for row in work.connection.execute(looked_at(transfers.c.id, *of_transfers(subject))):
        sums.add_deliveries(row)
    if subject.takes_orders:
        mine = deliveries.c.job_id == subject.id
        if subject.kind is SubjectKind.STUDY:
            mine = deliveries.c.study_instance_uid == subject.id
        for name, count in work.connection.execute(
            select(deliveries.c.destination, func.count())
            .where(UNGROUPED, mine)
            .group_by(deliveries.c.destination)
        ):
            sums.ungrouped += count
            sums.destinations.add(name)
    return row_of(work, entry, sums)


def transfers_of(work: Work, subject: Subject, *, limit: int) -> tuple[TransferRow, ...]:
    """See `Operations.transfers`."""
    is_over = transfers.c.state.in_((TransferState.DONE.value, TransferState.CANCELLED.value))
    rows = work.connection.execute(
        select(transfers)
        .where(*of_transfers(subject))
        .order_by(case((is_over, 1), else_=0), transfers.c.id)
        .limit(limit)
    )
    return tuple(transfer(row, work.now) for row in rows)


def _entry(work: Work, subject: Subject) -> Entry | None:
    query: Select[Any]
    if subject.kind is SubjectKind.JOB:
        query = select(jobs.c.id, jobs.c.kind, jobs.c.created_at).where(jobs.c.id == subject.id)
    elif subject.kind is SubjectKind.STUDY:
        query = select(
            studies.c.study_instance_uid, studies.c.study_instance_uid, studies.c.last_received_at
        ).where(studies.c.study_instance_uid == subject.id)
    else:
        query = select(transfers.c.id, transfers.c.id, transfers.c.created_at).where(
            transfers.c.id == subject.id
        )
    row = work.connection.execute(query).one_or_none()
    if row is None:
        return None
    kind = row[1] if subject.kind is SubjectKind.JOB else subject.kind.value
    return Entry(row[0], kind, row[2])


def reasons(work: Work, subject: Subject, *, limit: int) -> tuple[Reason, ...]:
    """See `Operations.reasons`."""
    columns = deliveries.c
    keys = (columns.destination, columns.state, columns.status, columns.reason)
    found: list[Reason] = []
    for condition in (REFUSED, FAILED):
        rows = work.connection.execute(
            select(*keys, func.count().label("number"))
            .where(condition, *of_deliveries(subject, ""))
            .group_by(*keys)
            .order_by(func.count().desc(), *keys)
            .limit(limit)
        )
        found.extend(
            Reason(row.destination, DeliveryState(row.state), row.status, row.reason, row.number)
            for row in rows
        )
    return tuple(found[:limit])


def held(work: Work) -> int:
    """See `Operations.held`."""
    mine = select(transfers.c.id).where(HELD)
    return work.connection.execute(select(func.count()).select_from(mine.subquery())).scalar_one()


def stopped(work: Work) -> tuple[StoppedDestination, ...]:
    """See `Operations.stopped`."""
    columns = destinations.c
    rows = work.connection.execute(
        select(columns.name, columns.breaker, columns.held_at, columns.probe_at, columns.last_error)
        .where(or_(columns.breaker != "closed", columns.held_at.is_not(None)))
        .order_by(columns.name)
    )
    return tuple(
        StoppedDestination(
            name=row.name,
            breaker=row.breaker,
            held_for_ms=None if row.held_at is None else max(0, work.now - row.held_at),
            probe_in_ms=None if row.probe_at is None else max(0, row.probe_at - work.now),
            last_error=row.last_error,
        )
        for row in rows
    )


def transfer(row: AnyRow, now: int) -> TransferRow:
    return TransferRow(
        id=row.id,
        study_instance_uid=row.study_instance_uid,
        destination=row.destination,
        priority=Priority(row.priority),
        job_id=row.job_id,
        state=TransferState(row.state),
        attempt=row.attempt,
        instances=row.instances,
        bytes=row.bytes,
        due_in_ms=None if row.due_at is None else max(0, row.due_at - now),
        reason=row.reason,
        advice=row.advice,
        created_at_ms=row.created_at,
        finished_at_ms=row.finished_at,
    )
