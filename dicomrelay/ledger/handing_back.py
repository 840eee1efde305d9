"""Transfers that are handed back between two instances: no attempt counted, and the old place in the line."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import select, update

from dicomrelay.ledger import events
from dicomrelay.ledger.breaker import BreakerPolicy, BreakerState
from dicomrelay.ledger.contacts import failed
from dicomrelay.ledger.engine import AnyRow, Work
from dicomrelay.ledger.events import Event, EventKind
from dicomrelay.ledger.places import (
    breaker_of,
    limit_of,
    live_leases,
    locked_destination,
    more_urgent_due,
)
from dicomrelay.ledger.schema import destinations, transfers
from dicomrelay.ledger.values import ClaimedTransfer, Priority, TransferState


class Signal(StrEnum):
    """What the ledger says to a runner between two instances."""

    GO_ON = "go_on"
    GIVE_WAY = "give_way"  # to a more urgent transfer, or because the destination is held
    LOST = "lost"  # somebody else has the transfer, or a person took it away


def signal(work: Work, claimed: ClaimedTransfer) -> Signal:
    """See `Flow.signal`."""
    mine = work.connection.execute(
        select(transfers.c.id).where(
            transfers.c.id == claimed.id,
            transfers.c.fence == claimed.fence,
            transfers.c.state == TransferState.RUNNING.value,
        )
    ).one_or_none()
    if mine is None:
        return Signal.LOST
    row = work.connection.execute(
        select(destinations).where(destinations.c.name == claimed.destination)
    ).one_or_none()
    has_to = row is not None and _has_to(work, row, claimed.priority)
    return Signal.GIVE_WAY if has_to else Signal.GO_ON


def give_way(work: Work, claimed: ClaimedTransfer) -> bool:
    """See `Flow.give_way`."""
    row = locked_destination(work, claimed.destination)
    if row is None or not _has_to(work, row, claimed.priority):
        return False
    return hand_back(work, claimed, "gave way")


def _has_to(work: Work, row: AnyRow, priority: Priority) -> bool:
    if row.held_at is not None:
        return True
    # A trial is everybody's: it must come to its end.
    if breaker_of(row).state is not BreakerState.CLOSED:
        return False
    limit = limit_of(row)
    urgent = more_urgent_due(work, row.name, priority, limit=limit)
    return bool(urgent) and urgent > max(0, limit - live_leases(work, row.name))


def probe_failed(
    work: Work, claimed: ClaimedTransfer, *, policy: BreakerPolicy, jitter: float, error: str
) -> None:
    """See `Flow.probe_failed`."""
    failed(work, claimed.destination, policy=policy, jitter=jitter, error=error)
    hand_back(work, claimed, "probe failed")


def hand_back(work: Work, claimed: ClaimedTransfer, why: str) -> bool:
    """See `Flow.hand_back`."""
    transfer = work.connection.execute(
        select(transfers).where(transfers.c.id == claimed.id).with_for_update(key_share=True)
    ).one_or_none()
    if transfer is None or transfer.fence != claimed.fence or transfer.state != TransferState.RUNNING.value:
        return False
    work.connection.execute(
        update(transfers)
        .where(transfers.c.id == claimed.id)
        .values(
            # One that had failed before goes on waiting, with its reason.
            state=(TransferState.WAITING if transfer.reason else TransferState.READY).value,
            due_at=transfers.c.created_at,
            attempt=transfers.c.attempt - 1,
            owner="",
        )
    )
    events.record(
        work,
        [
            Event(
                EventKind.TRANSFER_HANDED_BACK,
                study_instance_uid=transfer.study_instance_uid,
                transfer_id=transfer.id,
                destination=transfer.destination,
                job_id=transfer.job_id,
                detail={"why": why},
            )
        ],
    )
    return True
