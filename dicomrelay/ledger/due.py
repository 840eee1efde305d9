"""What is to be done now: read from indexes that hold the work and not the history."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ScalarSelect, Select, func, select

from dicomrelay.ledger.claiming import next_due
from dicomrelay.ledger.engine import Work
from dicomrelay.ledger.places import places
from dicomrelay.ledger.readable import readable_at
from dicomrelay.ledger.release import releasable_items
from dicomrelay.ledger.schema import destinations, stages, transfers
from dicomrelay.ledger.values import Due, DueTransfer, Priority, Stage


@dataclass(frozen=True, slots=True)
class Wanted:
    """A destination with something due: its most urgent priority, since when, and how many free places it has."""

    destination: str
    priority: Priority
    since: int
    free: int


def due(
    work: Work,
    *,
    limit: int,
    host: str | None,
    destination: str | None,
    closed: Collection[str] = (),
    keep_ms: int = 0,
) -> Due:
    """See `Ledger.due`."""
    transfers_due = [
        DueTransfer(transfer_id, priority, wanted.destination)
        for wanted in waited_for(work, destination)
        if wanted.destination not in closed
        for transfer_id, priority in next_due(work, wanted.destination, min(wanted.free, limit))
    ]
    return Due(
        transfers=tuple(transfers_due[:limit]),
        archive_pending=_count(work, _due_stages(work, Stage.ARCHIVE, host), limit),
        frames_pending=_count(work, _due_stages(work, Stage.FRAMES, None), limit),
        releasable=_count(work, releasable_items(host, registered_before=work.now - keep_ms), limit),
    )


def waited_for(work: Work, only: str | None = None, *, host: str = "") -> list[Wanted]:
    """Destinations with something due and a free place. The one that waits longest comes first.

    With a host: of what it can read. What lies in a lost host's spool makes nothing urgent, and takes no part in sharing places.
    """
    # The first entry of the index for each priority: it has one for every transfer that waits for a dead destination.
    earliest = [_earliest(priority, host).label(f"since_{priority.value}") for priority in Priority]
    query = select(*destinations.c, *earliest)
    if only is not None:
        query = query.where(destinations.c.name == only)
    found: list[Wanted] = []
    for row in work.connection.execute(query).all():
        since = {
            priority: at
            for priority in Priority
            if (at := getattr(row, f"since_{priority.value}")) is not None and at <= work.now
        }
        free = places(work, row).free if since else 0
        if free:
            found.append(Wanted(row.name, min(since, key=list(Priority).index), min(since.values()), free))
    return sorted(found, key=lambda wanted: (wanted.since, wanted.destination))


def _earliest(priority: Priority, host: str) -> ScalarSelect[Any]:
    of_it = (
        transfers.c.destination == destinations.c.name,
        transfers.c.priority == priority.value,
        transfers.c.due_at.is_not(None),
        *readable_at(host),
    )
    # Not min(): in the order of the index the first that can be read ends it.
    first = select(transfers.c.due_at).where(*of_it).order_by(transfers.c.due_at).limit(1)
    return first.correlate(destinations).scalar_subquery()


def _due_stages(work: Work, stage: Stage, host: str | None) -> Select[str]:
    query = select(stages.c.instance_id).where(stages.c.stage == stage.value, stages.c.due_at <= work.now)
    return query if host is None else query.where(stages.c.host == host)


def _count(work: Work, query: Select[Any], limit: int) -> int:
    limited = query.limit(limit).subquery()
    return work.connection.execute(select(func.count()).select_from(limited)).scalar_one()
