"""What waits for another attempt, by destination: for people who ask why nothing moves."""

from __future__ import annotations

from sqlalchemy import Select, func, select

from dicomrelay.ledger.engine import Work
from dicomrelay.ledger.schema import DUE, OF_A_JOB, deliveries, transfers
from dicomrelay.ledger.values import TransferState, Waiting


def waiting(work: Work, *, job_id: str | None = None) -> tuple[Waiting, ...]:
    """Transfers that failed and are to be tried again, of all or of one job."""
    query = (
        select(
            transfers.c.destination,
            func.count().label("transfers"),
            func.sum(transfers.c.instances).label("instances"),
            func.min(transfers.c.attempt).label("attempts"),
            func.max(transfers.c.reason).label("reason"),
            func.min(transfers.c.due_at - work.now).label("due_in"),
        )
        .where(DUE, transfers.c.state == TransferState.WAITING.value)
        .group_by(transfers.c.destination)
        .order_by(transfers.c.destination)
    )
    if job_id is not None:
        query = query.where(transfers.c.id.in_(_of_job(job_id)))
    return tuple(
        Waiting(
            destination=row.destination,
            transfers=row.transfers,
            instances=int(row.instances),
            attempts=row.attempts,
            reason=row.reason,
            due_in_ms=max(0, int(row.due_in)),
        )
        for row in work.connection.execute(query)
    )


def active(work: Work, job_id: str) -> int:
    """How much of a job is under way by itself: deliveries without a transfer yet, transfers that run or may begin."""
    ungrouped = (
        select(func.count())
        .select_from(deliveries)
        .where(deliveries.c.job_id == job_id, OF_A_JOB, deliveries.c.transfer_id.is_(None))
    )
    moving = (
        select(func.count())
        .select_from(transfers)
        .where(
            transfers.c.id.in_(_of_job(job_id)),
            transfers.c.state.in_((TransferState.READY.value, TransferState.RUNNING.value)),
        )
    )
    return work.connection.execute(ungrouped).scalar_one() + work.connection.execute(moving).scalar_one()


def _of_job(job_id: str) -> Select[tuple[str]]:
    return select(deliveries.c.transfer_id).where(deliveries.c.job_id == job_id, OF_A_JOB).distinct()
