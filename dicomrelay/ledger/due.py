"""What is to be done now: read from indexes that hold the work and not the history."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, exists, func, or_, select

from dicomrelay.ledger.engine import Work
from dicomrelay.ledger.release import releasable_items
from dicomrelay.ledger.schema import destinations, stages, transfers
from dicomrelay.ledger.transfers import live_leases
from dicomrelay.ledger.values import Due, DueTransfer, Priority, Stage


def due(work: Work, *, limit: int, host: str | None, destination: str | None) -> Due:
    """See `Ledger.due`."""
    found = [
        _next(work, name, min(associations - live_leases(work, name), limit))
        for name, associations in _waited_for(work, destination)
    ]
    # The destination that waits longest comes first, so that the limit passes none over for ever.
    found.sort(key=lambda rows: min((since for since, _ in rows), default=0))
    transfers_due = [transfer for rows in found for _, transfer in rows]
    return Due(
        transfers=tuple(transfers_due[:limit]),
        archive_pending=_count(work, _due_stages(work, Stage.ARCHIVE, host), limit),
        frames_pending=_count(work, _due_stages(work, Stage.FRAMES, None), limit),
        releasable=_count(work, releasable_items(host), limit),
    )


def _waited_for(work: Work, only: str | None) -> list[tuple[str, int]]:
    """Destinations with something due, and how many associations each allows."""
    # By priority, as the index goes: otherwise every transfer that waits for a dead destination would be read.
    waits = [
        exists().where(
            transfers.c.destination == destinations.c.name,
            transfers.c.priority == priority.value,
            transfers.c.due_at <= work.now,
        )
        for priority in Priority
    ]
    query = select(destinations.c.name, destinations.c.associations).where(or_(*waits))
    if only is not None:
        query = query.where(destinations.c.name == only)
    return [(row.name, row.associations) for row in work.connection.execute(query)]


def _next(work: Work, destination: str, count: int) -> list[tuple[int, DueTransfer]]:
    """The most urgent transfers that are due, and of those the longest due; each with the time since when."""
    found: list[tuple[int, DueTransfer]] = []
    for priority in Priority:
        if len(found) >= count:
            break
        rows = work.connection.execute(
            select(transfers.c.id, transfers.c.due_at)
            .where(
                transfers.c.destination == destination,
                transfers.c.priority == priority.value,
                transfers.c.due_at <= work.now,
            )
            .order_by(transfers.c.due_at)
            .limit(count - len(found))
        )
        found.extend((row.due_at, DueTransfer(row.id, priority, destination)) for row in rows)
    return found


def _due_stages(work: Work, stage: Stage, host: str | None) -> Select[str]:
    query = select(stages.c.instance_id).where(stages.c.stage == stage.value, stages.c.due_at <= work.now)
    return query if host is None else query.where(stages.c.host == host)


def _count(work: Work, query: Select[Any], limit: int) -> int:
    limited = query.limit(limit).subquery()
    return work.connection.execute(select(func.count()).select_from(limited)).scalar_one()
