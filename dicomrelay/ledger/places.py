"""How many more transfers a destination takes now: its associations, what it stands, its breaker, a hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select, update

from dicomrelay.ledger.breaker import Admission, Breaker, BreakerState
from dicomrelay.ledger.engine import AnyRow, Work
from dicomrelay.ledger.readable import readable_at
from dicomrelay.ledger.schema import RUNNING, destinations, transfers
from dicomrelay.ledger.values import Priority

_PRIORITIES: Final = tuple(Priority)


@dataclass(frozen=True, slots=True)
class Places:
    """Free places; `trial` when the one that is free is for a trial."""

    free: int
    trial: bool = False


def breaker_of(row: AnyRow) -> Breaker:
    """The breaker of a row of destinations."""
    return Breaker(BreakerState(row.breaker), row.failures, row.opened_at, row.probe_at, row.probes)


def write_breaker(work: Work, name: str, breaker: Breaker) -> None:
    """Keep it; the row is locked."""
    work.connection.execute(
        update(destinations)
        .where(destinations.c.name == name)
        .values(
            breaker=breaker.state.value,
            failures=breaker.failures,
            opened_at=breaker.opened_at,
            probe_at=breaker.probe_at,
            probes=breaker.probes,
        )
    )


def locked_destination(work: Work, name: str) -> AnyRow | None:
    """Its row, locked: everything that is decided about a destination takes turns."""
    return work.connection.execute(
        select(destinations).where(destinations.c.name == name).with_for_update(key_share=True)
    ).one_or_none()


def places(work: Work, row: AnyRow) -> Places:
    """The free places of a destination, by its row and the live leases."""
    live = live_leases(work, row.name)
    if row.held_at is not None:
        return Places(0)
    breaker = breaker_of(row)
    admission = breaker.admits(now=work.now, live=live)
    if admission is not Admission.YES:
        return Places(int(admission is Admission.TRIAL), trial=admission is Admission.TRIAL)
    return Places(max(0, limit_of(row) - live))


def limit_of(row: AnyRow) -> int:
    """How many transfers to it may run at once while its breaker is closed."""
    if row.failures:
        return 1
    return int(row.associations if row.allowed is None else min(row.associations, max(row.allowed, 1)))


def live_leases(work: Work, destination: str) -> int:
    """How many transfers to a destination run now."""
    running = select(transfers.c.id).where(
        transfers.c.destination == destination, transfers.c.due_at > work.now, RUNNING
    )
    return work.connection.execute(select(func.count()).select_from(running.subquery())).scalar_one()


def more_urgent(priority: Priority) -> Sequence[Priority]:
    """The priorities that go first."""
    return _PRIORITIES[: _PRIORITIES.index(priority)]


def more_urgent_due(work: Work, destination: str, priority: Priority, *, limit: int, host: str = "") -> int:
    """How many transfers that go first are due for a destination, up to `limit`; with a host, of those that it can read."""
    count = 0
    for each in more_urgent(priority):
        due = (
            select(transfers.c.id)
            .where(
                transfers.c.destination == destination,
                transfers.c.priority == each.value,
                transfers.c.due_at <= work.now,
                *readable_at(host),
            )
            .limit(limit)
        )
        count += work.connection.execute(select(func.count()).select_from(due.subquery())).scalar_one()
    return min(count, limit)
