"""Claims: a transfer under lease, when its destination has a free place for it.

Everything here holds the lock on the destination's row, so that claims for one destination take turns and the counts
stay true (docs/design/flow.md).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update

from dicomrelay.ledger import events
from dicomrelay.ledger.breaker import Breaker
from dicomrelay.ledger.engine import AnyRow, Work
from dicomrelay.ledger.events import Event, EventKind
from dicomrelay.ledger.facts import INSTANCE_COLUMNS, destination_info, instance_facts
from dicomrelay.ledger.places import (
    breaker_of,
    locked_destination,
    more_urgent_due,
    places,
    write_breaker,
)
from dicomrelay.ledger.readable import TO_DO, readable_at
from dicomrelay.ledger.schema import WAS_UNDER_WAY, deliveries, instances, transfers
from dicomrelay.ledger.values import (
    ClaimedTransfer,
    PendingDelivery,
    Priority,
    TransferState,
)


def claim(
    work: Work, transfer_id: str, *, owner: str, lease_ms: int, host: str = ""
) -> ClaimedTransfer | None:
    """Take the lease; see `Ledger.claim_transfer`."""
    wanted = work.connection.execute(
        select(transfers.c.destination, transfers.c.priority).where(transfers.c.id == transfer_id)
    ).one_or_none()
    row = None if wanted is None else locked_destination(work, wanted.destination)
    if wanted is None or row is None:
        return None
    free = places(work, row)
    if not free.free:
        return None
    if more_urgent_due(work, row.name, Priority(wanted.priority), limit=free.free, host=host) >= free.free:
        return None
    return _take(work, row, transfer_id, trial=free.trial, owner=owner, lease_ms=lease_ms, host=host)


def claim_next(
    work: Work,
    destination: str,
    *,
    priorities: Sequence[Priority],
    owner: str,
    lease_ms: int,
    host: str = "",
) -> ClaimedTransfer | None:
    """Take the lease on what goes first; see `Ledger.claim_next_transfer`."""
    row = locked_destination(work, destination)
    if row is None:
        return None
    free = places(work, row)
    found = next_due(work, destination, 1, host=host) if free.free else []
    if not found or found[0][1] not in priorities:
        return None
    return _take(work, row, found[0][0], trial=free.trial, owner=owner, lease_ms=lease_ms, host=host)


def next_due(work: Work, destination: str, count: int, *, host: str = "") -> list[tuple[str, Priority]]:
    """The most urgent transfers that are due, and of those the longest due; with a host, of those that it can read."""
    found: list[tuple[str, Priority]] = []
    for priority in Priority:
        if len(found) >= count:
            break
        rows = work.connection.execute(
            select(transfers.c.id)
            .where(
                transfers.c.destination == destination,
                transfers.c.priority == priority.value,
                transfers.c.due_at <= work.now,
                *readable_at(host),
            )
            .order_by(transfers.c.due_at)
            .limit(count - len(found))
        ).scalars()
        found.extend((transfer_id, priority) for transfer_id in rows)
    return found


def _take(
    work: Work, row: AnyRow, transfer_id: str, *, trial: bool, owner: str, lease_ms: int, host: str
) -> ClaimedTransfer | None:
    claimed = work.connection.execute(
        update(transfers)
        .where(transfers.c.id == transfer_id, transfers.c.due_at <= work.now, *readable_at(host))
        .values(
            state=TransferState.RUNNING.value,
            due_at=work.now + lease_ms,
            fence=transfers.c.fence + 1,
            attempt=transfers.c.attempt + 1,
            owner=owner,
        )
        .returning(*transfers.c)
    ).one_or_none()
    if claimed is None:
        return None
    events.record(work, [_claimed(claimed, owner)])
    breaker: Breaker = breaker_of(row)
    if trial:
        write_breaker(work, row.name, breaker.trial(work.now))
    return ClaimedTransfer(
        id=claimed.id,
        fence=claimed.fence,
        destination=claimed.destination,
        address=destination_info(row),
        study_instance_uid=claimed.study_instance_uid,
        priority=Priority(claimed.priority),
        job_id=claimed.job_id,
        attempt=claimed.attempt,
        deliveries=_to_do(work, transfer_id),
        trial=trial,
        in_trouble=breaker.in_trouble,
        host=host,
    )


def _claimed(transfer: AnyRow, owner: str) -> Event:
    """Of a runner that dies there is no other trace."""
    return Event(
        EventKind.TRANSFER_CLAIMED,
        study_instance_uid=transfer.study_instance_uid,
        transfer_id=transfer.id,
        destination=transfer.destination,
        job_id=transfer.job_id,
        detail={"attempt": transfer.attempt, "fence": transfer.fence, "owner": owner},
    )


def _to_do(work: Work, transfer_id: str) -> tuple[PendingDelivery, ...]:
    rows = work.connection.execute(
        select(*INSTANCE_COLUMNS, deliveries.c.attempts, deliveries.c.edits, WAS_UNDER_WAY.label("suspect"))
        .join(deliveries, deliveries.c.instance_id == instances.c.id)
        .where(deliveries.c.transfer_id == transfer_id, deliveries.c.state.in_(TO_DO))
        # What failed goes behind what was not tried yet: it must not hold up the rest of its study.
        .order_by(deliveries.c.attempts, instances.c.id)
    )
    return tuple(
        PendingDelivery(instance_facts(row), row.attempts, bool(row.suspect), row.edits) for row in rows
    )
