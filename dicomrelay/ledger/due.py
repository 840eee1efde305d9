"""What is to be done now: read from indexes that hold the work and not the history."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, exists, func, select

from dicomrelay.ledger.engine import Work
from dicomrelay.ledger.release import releasable_items
from dicomrelay.ledger.schema import destinations, stages, transfers
from dicomrelay.ledger.transfers import live_leases
from dicomrelay.ledger.values import Due, DueTransfer, Priority, Stage


def due(work: Work, *, limit: int, host: str | None, destination: str | None) -> Due:
    """See `Ledger.due`."""
    found: list[DueTransfer] = []
    for name, associations in _waited_for(work, destination):
        free = min(associations - live_leases(work, name), limit - len(found))
        found.extend(_next(work, name, free))
    return Due(
        transfers=tuple(found),
        archive_pending=_count(work, _due_stages(work, Stage.ARCHIVE, host), limit),
        frames_pending=_count(work, _due_stages(work, Stage.FRAMES, None), limit),
        releasable=_count(work, releasable_items(host), limit),
    )


def _waited_for(work: Work, only: str | None) -> list[tuple[str, int]]:
    """Destinations with something due; the one that waits longest first, so that a limit passes nobody over for ever."""
    oldest = (
        select(func.min(transfers.c.due_at))
        .where(transfers.c.destination == destinations.c.name, transfers.c.due_at <= work.now)
        .scalar_subquery()
    )
    query = (
        select(destinations.c.name, destinations.c.associations)
        .where(exists().where(transfers.c.destination == destinations.c.name, transfers.c.due_at <= work.now))
        .order_by(oldest, destinations.c.name)
    )
    if only is not None:
        query = query.where(destinations.c.name == only)
    return [(row.name, row.associations) for row in work.connection.execute(query)]


def _next(work: Work, destination: str, count: int) -> list[DueTransfer]:
    """The most urgent transfers that are due, and of those the longest due."""
    found: list[DueTransfer] = []
    for priority in Priority:
        if len(found) >= count:
            break
        rows = work.connection.execute(
            select(transfers.c.id)
            .where(
                transfers.c.destination == destination,
                transfers.c.priority == priority.value,
                transfers.c.due_at <= work.now,
            )
            .order_by(transfers.c.due_at)
            .limit(count - len(found))
        ).scalars()
        found.extend(DueTransfer(transfer_id, priority, destination) for transfer_id in rows)
    return found


def _due_stages(work: Work, stage: Stage, host: str | None) -> Select[str]:
    query = select(stages.c.instance_id).where(stages.c.stage == stage.value, stages.c.due_at <= work.now)
    return query if host is None else query.where(stages.c.host == host)


def _count(work: Work, query: Select[Any], limit: int) -> int:
    limited = query.limit(limit).subquery()
    return work.connection.execute(select(func.count()).select_from(limited)).scalar_one()
