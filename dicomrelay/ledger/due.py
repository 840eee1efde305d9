"""What is to be done now: read from indexes that hold the work and not the history."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, func, select

from dicomrelay.ledger.engine import Work
from dicomrelay.ledger.release import releasable_items
from dicomrelay.ledger.schema import destinations, stages, transfers
from dicomrelay.ledger.transfers import live_leases
from dicomrelay.ledger.values import Due, DueTransfer, Priority, Stage


def due(work: Work, *, limit: int, host: str | None, destination: str | None) -> Due:
    """See `Ledger.due`."""
    transfers_due = [
        transfer
        for name, associations in _waited_for(work, destination)
        for transfer in _next(work, name, min(associations - live_leases(work, name), limit))
    ]
    return Due(
        transfers=tuple(transfers_due[:limit]),
        archive_pending=_count(work, _due_stages(work, Stage.ARCHIVE, host), limit),
        frames_pending=_count(work, _due_stages(work, Stage.FRAMES, None), limit),
        releasable=_count(work, releasable_items(host), limit),
    )


def _waited_for(work: Work, only: str | None) -> list[tuple[str, int]]:
    """Destinations with something due, and how many associations each allows.

    The one that waits longest comes first, so that the limit passes none over for ever.
    """
    # The first entry of the index for each priority: it has one for every transfer that waits for a dead destination.
    earliest = [
        select(func.min(transfers.c.due_at))
        .where(
            transfers.c.destination == destinations.c.name,
            transfers.c.priority == priority.value,
            transfers.c.due_at.is_not(None),
        )
        .scalar_subquery()
        for priority in Priority
    ]
    query = select(destinations.c.name, destinations.c.associations, *earliest)
    if only is not None:
        query = query.where(destinations.c.name == only)
    waiting = []
    for name, associations, *times in work.connection.execute(query):
        since = min((time for time in times if time is not None), default=None)
        if since is not None and since <= work.now:
            waiting.append((since, name, associations))
    return [(name, associations) for _, name, associations in sorted(waiting)]


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
