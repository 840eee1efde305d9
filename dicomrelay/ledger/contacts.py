"""What attempts learned about a destination, written on its row: breaker, associations it stands, hold, booked bytes."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select, update

from dicomrelay.ledger import events
from dicomrelay.ledger.breaker import BreakerPolicy, BreakerState
from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.events import Event, EventKind
from dicomrelay.ledger.places import breaker_of, live_leases, locked_destination, write_breaker
from dicomrelay.ledger.schema import destinations, transfers
from dicomrelay.ledger.texts import storable
from dicomrelay.ledger.values import TransferState

# One volley of rejections halves once.
_HALVE_AGAIN_MS: Final = 5_000


def reached(work: Work, name: str) -> bool:
    """It answered; see `Flow.reached`."""
    row = locked_destination(work, name)
    return row is not None and _reached(work, row)


def _reached(work: Work, row: AnyRow, *, also: str = "") -> bool:
    breaker = breaker_of(row)
    if not breaker.in_trouble:
        return False
    write_breaker(work, row.name, breaker.reached())
    if breaker.state is BreakerState.CLOSED:
        return False
    opened_at = breaker.opened_at or work.now
    _tell(work, EventKind.BREAKER_CLOSED, row.name, {"after_ms": work.now - opened_at})
    _wake_waiting(work, row.name, also=also)
    return True


def failed(
    work: Work, name: str, *, policy: BreakerPolicy, jitter: float, error: str, also: str = ""
) -> BreakerState:
    """A contact failed; see `Flow.failed`. `also` as in `delivered`."""
    row = locked_destination(work, name)
    if row is None:
        return BreakerState.CLOSED
    before = breaker_of(row)
    after = before.failed(policy, now=work.now, jitter=jitter)
    write_breaker(work, name, after)
    _set(work, name, last_error=storable(error))
    if after.state is BreakerState.OPEN and before.state is BreakerState.CLOSED:
        _tell(work, EventKind.BREAKER_OPENED, name, {"failures": after.failures})
        # From now on the probe is the only clock.
        _wake_waiting(work, name, also=also)
    return after.state


def turned_away(work: Work, name: str, *, policy: BreakerPolicy, jitter: float, error: str) -> BreakerState:
    """Rejected for now; see `Flow.turned_away`. The transfer that was is among the live leases still."""
    row = locked_destination(work, name)
    if row is None:
        return BreakerState.CLOSED
    if live_leases(work, name) <= 1 or breaker_of(row).state is not BreakerState.CLOSED:
        return failed(work, name, policy=policy, jitter=jitter, error=error)
    _set(work, name, last_error=storable(error))
    _halve(work, row)
    return BreakerState.CLOSED


def slower(work: Work, name: str) -> bool:
    """See `Flow.slower`."""
    row = locked_destination(work, name)
    return row is not None and live_leases(work, name) > 1 and _halve(work, row)


def _halve(work: Work, row: AnyRow) -> bool:
    if row.allowed_at is not None and work.now - row.allowed_at < _HALVE_AGAIN_MS:
        return False
    stood = min(live_leases(work, row.name), row.associations, row.allowed or row.associations)
    _set(work, row.name, allowed=max(1, stood // 2), allowed_at=work.now)
    return True


def delivered(work: Work, name: str, *, whole: bool, also: str = "") -> None:
    """An attempt brought something across; `whole` when it left nothing.

    Parameters
    ----------
    also : str
        A transfer that this transaction locks afterwards: it is locked in its turn.
    """
    row = locked_destination(work, name)
    if row is None:
        return
    _reached(work, row, also=also)
    allowed = row.allowed
    if allowed is not None and whole:
        allowed = None if allowed + 1 >= row.associations else allowed + 1
    _set(work, name, last_delivered_at=work.now, allowed=allowed)


def hold(work: Work, name: str) -> bool | None:
    """See `Flow.hold`."""
    row = locked_destination(work, name)
    if row is None or row.held_at is not None:
        return None if row is None else False
    _set(work, name, held_at=work.now)
    _tell(work, EventKind.DESTINATION_HELD, name, {})
    return True


def release(work: Work, name: str) -> bool | None:
    """See `Flow.release`."""
    row = locked_destination(work, name)
    if row is None or row.held_at is None:
        return None if row is None else False
    _set(work, name, held_at=None)
    _tell(work, EventKind.DESTINATION_RELEASED, name, {"after_ms": work.now - row.held_at})
    return True


def book(work: Work, name: str, *, count: int, bytes_per_s: int) -> int:
    """See `Flow.book`."""
    row = locked_destination(work, name)
    if row is None:
        return 0
    begin = max(work.now, row.paced_until or 0)
    _set(work, name, paced_until=begin + -(-count * 1000 // bytes_per_s))
    return int(begin - work.now)


def _set(work: Work, name: str, **values: object) -> None:
    work.connection.execute(update(destinations).where(destinations.c.name == name).values(**values))


def _tell(work: Work, kind: EventKind, name: str, detail: dict[str, str | int | None]) -> None:
    events.record(work, [Event(kind, destination=name, detail=detail)])


def _wake_waiting(work: Work, name: str, *, also: str) -> None:
    waits = (
        (transfers.c.destination == name)
        & (transfers.c.due_at > work.now)
        & (transfers.c.state == TransferState.WAITING.value)
    )
    ids = set(work.connection.execute(select(transfers.c.id).where(waits)).scalars())
    if not ids:
        return
    # In the order of ids, as everybody takes them, and with them the one that the caller wants next.
    for part in chunks(sorted({*ids, also} - {""})):
        work.connection.execute(
            select(transfers.c.id)
            .where(transfers.c.id.in_(part))
            .order_by(transfers.c.id)
            .with_for_update(key_share=True)
        )
        work.connection.execute(
            update(transfers).where(transfers.c.id.in_(part), waits).values(due_at=work.now)
        )
