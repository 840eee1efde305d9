"""What waits for another attempt, by destination: for people who ask why nothing moves."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Select, case, func, select

from dicomrelay.ledger.breaker import BreakerState
from dicomrelay.ledger.engine import Work
from dicomrelay.ledger.schema import DUE, OF_A_JOB, deliveries, destinations, stages, transfers
from dicomrelay.ledger.values import Stage, StageState, TransferState, Waiting, WaitingStage

_CLOSED: Final = destinations.c.breaker == BreakerState.CLOSED.value
_READY: Final = transfers.c.state == TransferState.READY.value
PUT_OFF: Final = "a rule puts it off"


def waiting(work: Work, *, job_id: str | None = None) -> tuple[Waiting, ...]:
    """Transfers that failed and are to be tried again, those that a rule puts off, and all for a destination whose breaker is
    open; of all or of one job."""
    until_probe = func.coalesce(destinations.c.probe_at, work.now) - work.now
    query = (
        select(
            transfers.c.destination,
            func.count().label("transfers"),
            func.sum(transfers.c.instances).label("instances"),
            # Behind an open breaker nothing is tried: what failed in a row are the contacts.
            func.min(case((_CLOSED, transfers.c.attempt), else_=destinations.c.failures)).label("attempts"),
            func.max(
                case(
                    (_CLOSED & _READY, PUT_OFF),
                    (_CLOSED, transfers.c.reason),
                    else_=destinations.c.last_error,
                )
            ).label("reason"),
            func.min(case((_CLOSED, transfers.c.due_at - work.now), else_=until_probe)).label("due_in"),
        )
        .join(destinations, destinations.c.name == transfers.c.destination)
        .where(
            DUE,
            (transfers.c.state == TransferState.WAITING.value)
            | (_READY & (~_CLOSED | (transfers.c.due_at > work.now))),
        )
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


def waiting_stages(work: Work) -> tuple[WaitingStage, ...]:
    """Instances that wait for the archive, or for their frames, after an attempt that failed."""
    rows = work.connection.execute(
        select(
            stages.c.stage,
            func.count().label("instances"),
            func.min(stages.c.attempts).label("attempts"),
            func.max(stages.c.reason).label("reason"),
            (func.min(stages.c.due_at) - work.now).label("due_in"),
        )
        .where(DUE, stages.c.state == StageState.PENDING.value, stages.c.reason != "")
        .group_by(stages.c.stage)
        .order_by(stages.c.stage)
    )
    return tuple(
        WaitingStage(Stage(row.stage), row.instances, row.attempts, row.reason, max(0, int(row.due_in)))
        for row in rows
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
        .select_from(transfers.join(destinations, destinations.c.name == transfers.c.destination))
        .where(
            transfers.c.id.in_(_of_job(job_id)),
            (transfers.c.state == TransferState.RUNNING.value)
            | (_READY & _CLOSED & (transfers.c.due_at <= work.now)),
        )
    )
    return work.connection.execute(ungrouped).scalar_one() + work.connection.execute(moving).scalar_one()


def _of_job(job_id: str) -> Select[tuple[str]]:
    return select(deliveries.c.transfer_id).where(deliveries.c.job_id == job_id, OF_A_JOB).distinct()
