"""Cancelling: transfers and their deliveries end, and no byte goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Final

from sqlalchemy import case, insert, select, update

from dicomrelay.ledger import actions, delivery_counts, events, evidence_chain, orders, subjects
from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.events import Event, EventKind
from dicomrelay.ledger.evidence_chain import Fact, FactKind
from dicomrelay.ledger.new_rows import assign, transfer_row
from dicomrelay.ledger.schema import RUNNING, UNGROUPED, deliveries, transfers
from dicomrelay.ledger.values import DeliveryState, TransferState
from dicomrelay.ledger.values_operations import Changed, OrderKind, Subject, Verb

# What one transaction takes: the database's one writer is not held for long.
INSTANCES_AT_ONCE: Final = 5_000
_OPEN: Final = (
    TransferState.READY,
    TransferState.RUNNING,
    TransferState.WAITING,
    TransferState.NEEDS_ATTENTION,
    TransferState.HELD,
)
_UNDELIVERED: Final = tuple(
    state.value for state in (DeliveryState.PENDING, DeliveryState.FAILED, DeliveryState.REFUSED)
)


def cancel(work: Work, subject: Subject, destination: str) -> tuple[Changed, bool]:
    """Cancel a portion of what is open; whether there is more. The order is in force from the first one."""
    orders.alone(work)
    if subject.takes_orders:
        orders.write(work, subject, destination, OrderKind.CANCEL)
        _give_transfers(work, subject, destination)
    found = subjects.locked_transfers(work, subject, destination)
    is_open = actions.in_states(found, _OPEN)
    mine = portion(is_open)
    make_cancelled(work, mine)
    made = actions.changes(mine, TransferState.CANCELLED)
    more = len(mine) < len(is_open) or actions.ungrouped(work, subject, destination) > 0
    return actions.account(work, Verb.CANCEL, subject, destination, found, made), more


def portion(rows: Sequence[AnyRow]) -> list[AnyRow]:
    """The first of them, at least one, up to what one transaction takes."""
    taken: list[AnyRow] = []
    size = 0
    for row in rows:
        if taken and size + row.instances > INSTANCES_AT_ONCE:
            break
        taken.append(row)
        size += row.instances
    return taken


def make_cancelled(work: Work, rows: Sequence[AnyRow]) -> None:
    """End transfers that are open, and all they have not delivered."""
    ids = [row.id for row in rows]
    ended = _undelivered(work, ids)
    instance_ids = [row.instance_id for row in ended]
    delivery_counts.lock(work, instance_ids)
    delivery_counts.change(work, instance_ids, open_by=-1, all_by=-1)
    for part in chunks(ids):
        work.connection.execute(
            update(deliveries)
            .where(deliveries.c.transfer_id.in_(part), deliveries.c.state.in_(_UNDELIVERED))
            .values(state=DeliveryState.CANCELLED.value, updated_at=work.now)
        )
    actions.set_transfers(
        work,
        rows,
        state=TransferState.CANCELLED.value,
        due_at=None,
        owner="",
        # Who runs it finds its fence gone.
        fence=transfers.c.fence + case((RUNNING, 1), else_=0),
        advice="",
        finished_at=work.now,
    )
    counts = Counter(row.transfer_id for row in ended)
    events.record(work, [_event(row, counts[row.id]) for row in rows])
    evidence_chain.append(work, [_fact(row) for row in ended])


def _undelivered(work: Work, transfer_ids: Sequence[str]) -> list[AnyRow]:
    found: list[AnyRow] = []
    columns = deliveries.c
    for part in chunks(transfer_ids):
        found.extend(
            work.connection.execute(
                select(
                    columns.instance_id,
                    columns.study_instance_uid,
                    columns.destination,
                    columns.job_id,
                    columns.transfer_id,
                    columns.state,
                )
                .where(columns.transfer_id.in_(part), columns.state.in_(_UNDELIVERED))
                .order_by(columns.instance_id, columns.destination)
            )
        )
    return found


def _give_transfers(work: Work, subject: Subject, destination: str) -> None:
    """A transfer for what has none yet, so that it can be cancelled with it: one for each study, destination and job."""
    columns = deliveries.c
    rows = work.connection.execute(
        select(
            columns.study_instance_uid,
            columns.destination,
            columns.priority,
            columns.job_id,
            columns.instance_id,
            columns.bytes,
            columns.not_before,
        )
        .where(UNGROUPED, *subjects.of_deliveries(subject, destination))
        .order_by(columns.study_instance_uid, columns.destination, columns.priority, columns.job_id)
        .limit(INSTANCES_AT_ONCE)
    ).all()
    for _, group in groupby(rows, key=lambda row: tuple(row)[:4]):
        batch = list(group)
        row = transfer_row(batch, work.now)
        work.connection.execute(insert(transfers).values(row))
        assign(work, row["id"], batch)


def _event(row: AnyRow, cancelled: int) -> Event:
    detail: dict[str, str | int | None] = {"was": row.state, "cancelled": cancelled}
    return Event(
        EventKind.TRANSFER_CANCELLED,
        study_instance_uid=row.study_instance_uid,
        transfer_id=row.id,
        destination=row.destination,
        job_id=row.job_id,
        detail=detail,
    )


def _fact(row: AnyRow) -> Fact:
    return Fact(
        FactKind.CANCELLED,
        row.study_instance_uid,
        instance_id=row.instance_id,
        destination=row.destination,
        job_id=row.job_id,
        transfer_id=row.transfer_id,
        detail={"was": row.state},
    )
