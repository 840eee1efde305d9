"""Destinations for people: state, depth, age and speed of each."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Select, func, select, union

from dicomrelay.ledger.engine import Work
from dicomrelay.ledger.events import EventKind
from dicomrelay.ledger.places import limit_of
from dicomrelay.ledger.schema import DUE, REFUSED, UNGROUPED, deliveries, destinations, events, transfers
from dicomrelay.ledger.values import DeliveryState, TransferState

# The time over which "now" is measured.
RATE_MS: Final = 10_000
_DELIVERED: Final = (DeliveryState.DELIVERED.value, DeliveryState.WARNING.value)


@dataclass(frozen=True, slots=True)
class DestinationFlow:
    """A destination at a moment. Times in milliseconds; those that end in `_in_ms` and `_ms` count from now.

    Attributes
    ----------
    limit : int
        Transfers that may run at once now; `associations` is the most.
    instances, bytes : int
        What is on its way to it and not delivered.
    refused : int
        Deliveries that stand refused.
    answered_refused : int
        Those of them that the destination itself refused; the others could not be sent.
    oldest_ms : int, optional
        Age of the oldest transfer, or of the oldest delivery without one.
    bytes_per_s, instances_per_s : float
        Over the last ten seconds.
    eta_s : float, optional
        How long what waits takes at that speed; None when nothing moves.
    """

    name: str
    kind: str
    address: str
    breaker: str
    failures: int
    probes: int
    probe_in_ms: int | None
    open_for_ms: int | None
    held_for_ms: int | None
    associations: int
    limit: int
    running: int
    transfers: int
    instances: int
    bytes: int
    oldest_ms: int | None
    bytes_per_s: float
    instances_per_s: float
    eta_s: float | None
    last_error: str
    last_delivered_ms: int | None
    refused: int = 0
    answered_refused: int = 0


def destinations_flow(work: Work, name: str | None) -> tuple[DestinationFlow, ...]:
    """See `Flow.destinations`."""
    query = select(destinations).order_by(destinations.c.name)
    if name is not None:
        query = query.where(destinations.c.name == name)
    rows = work.connection.execute(query).all()
    open_work = _open(work)
    moved = _moved(work)
    refused = _refused(work)
    return tuple(
        replace(
            _flow(work, row, open_work[row.name], moved[row.name]),
            refused=refused.get(row.name, (0, 0))[0],
            answered_refused=refused.get(row.name, (0, 0))[1],
        )
        for row in rows
    )


def _refused(work: Work) -> dict[str, tuple[int, int]]:
    """What stands refused, by destination; and of that what the destination itself answered."""
    rows = work.connection.execute(
        select(deliveries.c.destination, func.count(), func.count(deliveries.c.status))
        .where(REFUSED)
        .group_by(deliveries.c.destination)
    )
    return {name: (count, answered) for name, count, answered in rows}


@dataclass(slots=True)
class _Open:
    transfers: int = 0
    running: int = 0
    instances: int = 0
    bytes: int = 0
    oldest: int | None = None

    def seen(self, at: int) -> None:
        self.oldest = at if self.oldest is None else min(self.oldest, at)


def _open(work: Work) -> defaultdict[str, _Open]:
    """What is to be done, by destination: transfers, less what they have delivered, and deliveries without one."""
    found: defaultdict[str, _Open] = defaultdict(_Open)
    for row in work.connection.execute(
        select(
            transfers.c.destination,
            transfers.c.state,
            func.count().label("transfers"),
            func.sum(transfers.c.instances).label("instances"),
            func.sum(transfers.c.bytes).label("bytes"),
            func.min(transfers.c.created_at).label("oldest"),
        )
        .where(DUE)
        .group_by(transfers.c.destination, transfers.c.state)
    ):
        mine = found[row.destination]
        mine.transfers += row.transfers
        mine.running += row.transfers if row.state == TransferState.RUNNING.value else 0
        mine.instances += int(row.instances)
        mine.bytes += int(row.bytes)
        mine.seen(row.oldest)
    begun = select(transfers.c.id).where(DUE, transfers.c.fence > 0)
    for name, count, size in _sums(
        work, deliveries.c.transfer_id.in_(begun), deliveries.c.state.in_(_DELIVERED)
    ):
        found[name].instances -= count
        found[name].bytes -= size
    for name, count, size in _sums(work, UNGROUPED):
        found[name].instances += count
        found[name].bytes += size
    return found


def _moved(work: Work) -> defaultdict[str, tuple[int, int]]:
    """Instances and bytes that were delivered lately, by destination."""
    since = work.now - RATE_MS
    begun: Select[Any] = select(transfers.c.id).where(DUE, transfers.c.fence > 0)
    done: Select[Any] = select(events.c.transfer_id).where(
        events.c.at >= since, events.c.kind == EventKind.TRANSFER_DONE.value
    )
    found: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for name, count, size in _sums(
        work,
        deliveries.c.transfer_id.in_(union(begun, done)),
        deliveries.c.state.in_(_DELIVERED),
        deliveries.c.updated_at >= since,
    ):
        found[name] = count, size
    return found


def _sums(work: Work, *conditions: Any) -> list[tuple[str, int, int]]:
    rows = work.connection.execute(
        select(deliveries.c.destination, func.count(), func.sum(deliveries.c.bytes))
        .where(*conditions)
        .group_by(deliveries.c.destination)
    )
    return [(name, count, int(size or 0)) for name, count, size in rows]


def _flow(work: Work, row: Any, todo: _Open, moved: tuple[int, int]) -> DestinationFlow:
    instances, size = moved
    bytes_per_s = size * 1000 / RATE_MS

    def since(at: int | None) -> int | None:
        return None if at is None else max(0, work.now - at)

    return DestinationFlow(
        name=row.name,
        kind=row.kind,
        address=f"{row.ae_title}@{row.host}:{row.port}",
        breaker=row.breaker,
        failures=row.failures,
        probes=row.probes,
        probe_in_ms=None if row.probe_at is None else max(0, row.probe_at - work.now),
        open_for_ms=since(row.opened_at),
        held_for_ms=since(row.held_at),
        associations=row.associations,
        limit=limit_of(row),
        running=todo.running,
        transfers=todo.transfers,
        instances=todo.instances,
        bytes=todo.bytes,
        oldest_ms=since(todo.oldest),
        bytes_per_s=bytes_per_s,
        instances_per_s=instances * 1000 / RATE_MS,
        eta_s=todo.bytes / bytes_per_s if bytes_per_s else None,
        last_error=row.last_error,
        last_delivered_ms=since(row.last_delivered_at),
    )
