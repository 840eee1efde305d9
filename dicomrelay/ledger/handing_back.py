"""Transfers that are handed back between two instances: no attempt counted, and the old place in the line."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sqlalchemy import exists, select, update

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
    more_urgent,
    more_urgent_due,
)
from dicomrelay.ledger.schema import RUNNING, deliveries, destinations, transfers
from dicomrelay.ledger.schema import events as event_rows
from dicomrelay.ledger.values import ClaimedTransfer, TransferState

# So long a more urgent transfer may run without an answer before those that were there first make room for it.
_WAITS_MS: Final = 2_000


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
    has_to = row is not None and _has_to(work, row, claimed)
    return Signal.GIVE_WAY if has_to else Signal.GO_ON


def give_way(work: Work, claimed: ClaimedTransfer) -> bool:
    """See `Flow.give_way`."""
    row = locked_destination(work, claimed.destination)
    if row is None or not _has_to(work, row, claimed):
        return False
    return hand_back(work, claimed, "gave way")


def _has_to(work: Work, row: AnyRow, claimed: ClaimedTransfer) -> bool:
    if row.held_at is not None:
        return True
    # A trial is everybody's: it must come to its end.
    if breaker_of(row).state is not BreakerState.CLOSED:
        return False
    limit = limit_of(row)
    urgent = more_urgent_due(work, row.name, claimed.priority, limit=limit, host=claimed.host)
    if urgent and urgent > max(0, limit - live_leases(work, row.name)):
        return True
    return _holds_up(work, claimed)


def _holds_up(work: Work, claimed: ClaimedTransfer) -> bool:
    """Whether a more urgent transfer, claimed after this one, has run for a while and got no answer.

    It has its place with us and none with a destination that serves one association after the other: there it waits behind
    this one. What is claimed after it does not make room once more.
    """
    names = [each.value for each in more_urgent(claimed.priority)]
    running = select(transfers.c.id).where(
        transfers.c.destination == claimed.destination,
        transfers.c.due_at > work.now,
        RUNNING,
        transfers.c.priority.in_(names),
    )
    urgent = work.connection.execute(running).scalars().all() if names else ()
    mine = _claim_of(work, claimed.id) if urgent else None
    for transfer_id in urgent:
        theirs = _claim_of(work, transfer_id)
        if mine is None or theirs is None or theirs.id < mine.id or theirs.at > work.now - _WAITS_MS:
            continue
        if not _has_answers(work, transfer_id, since=theirs.at):
            return True
    return False


def _claim_of(work: Work, transfer_id: str) -> AnyRow | None:
    """The event of its last claim."""
    return work.connection.execute(
        select(event_rows.c.id, event_rows.c.at)
        .where(
            event_rows.c.transfer_id == transfer_id,
            event_rows.c.kind == EventKind.TRANSFER_CLAIMED.value,
        )
        .order_by(event_rows.c.id.desc())
        .limit(1)
    ).one_or_none()


def _has_answers(work: Work, transfer_id: str, *, since: int) -> bool:
    """Whether the destination has answered any of its instances."""
    answered = exists().where(
        deliveries.c.transfer_id == transfer_id,
        deliveries.c.status.is_not(None),
        deliveries.c.updated_at >= since,
    )
    return bool(work.connection.execute(select(answered)).scalar_one())


def probe_failed(
    work: Work, claimed: ClaimedTransfer, *, policy: BreakerPolicy, jitter: float, error: str
) -> None:
    """See `Flow.probe_failed`."""
    failed(work, claimed.destination, policy=policy, jitter=jitter, error=error, also=claimed.id)
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
