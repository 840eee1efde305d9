"""The verbs on transfers: hold, release, retry. Which state becomes which is one table (docs/design/operations.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import case, func, select, update

from dicomrelay.ledger import events, evidence_chain, orders, subjects
from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.events import Event, EventKind
from dicomrelay.ledger.evidence_chain import Fact, FactKind
from dicomrelay.ledger.schema import (
    NEEDS_ATTENTION,
    REFUSED,
    RUNNING,
    UNGROUPED,
    deliveries,
    destinations,
    instances,
    stages,
    transfers,
)
from dicomrelay.ledger.values import DeliveryState, StageState, TransferState
from dicomrelay.ledger.values_operations import Change, Changed, OrderKind, Subject, SubjectKind, Verb

_MOVES: Final = (TransferState.READY, TransferState.RUNNING, TransferState.WAITING)
_WAITS: Final = (TransferState.WAITING, TransferState.NEEDS_ATTENTION)


def hold(work: Work, subject: Subject, destination: str) -> Changed:
    """Stop what moves until it is released, and what joins the subject later."""
    orders.alone(work)
    if subject.takes_orders:
        orders.write(work, subject, destination, OrderKind.HOLD)
    found = subjects.locked_transfers(work, subject, destination)
    mine = in_states(found, _MOVES)
    make_held(work, mine)
    return account(work, Verb.HOLD, subject, destination, found, changes(mine, TransferState.HELD))


def make_held(work: Work, rows: Sequence[AnyRow]) -> None:
    """Take transfers that move out of the work. The runner of one finds its fence gone, and its attempt did not count."""
    set_transfers(
        work,
        rows,
        state=TransferState.HELD.value,
        due_at=None,
        owner="",
        fence=transfers.c.fence + case((RUNNING, 1), else_=0),
        attempt=transfers.c.attempt - case((RUNNING, 1), else_=0),
    )
    tell(work, rows, EventKind.TRANSFER_HELD, FactKind.HELD)


def release(work: Work, subject: Subject, destination: str) -> Changed:
    """Let go what is held, but for what another subject's order holds."""
    orders.alone(work)
    before = orders.given(work, [subject.id])
    if subject.takes_orders:
        orders.lift(work, subject, destination)
    found = subjects.locked_transfers(work, subject, destination)
    held = in_states(found, (TransferState.HELD,))
    others = orders.for_transfers(work, held) if subject.takes_orders else {}
    mine = [row for row in held if row.id not in others]
    set_transfers(work, mine, state=TransferState.READY.value, due_at=work.now, reason="", advice="")
    tell(work, mine, EventKind.TRANSFER_RELEASED, FactKind.UNHELD)
    held_by = tuple(sorted({order.subject for order in others.values()}))
    made = changes(mine, TransferState.READY)
    done = account(work, Verb.RELEASE, subject, destination, found, made, held_by=held_by)
    return replace(done, lifted=tuple(order for order in before if order not in done.orders))


def retry(work: Work, subject: Subject, destination: str) -> Changed:
    """Try now what waits or needs attention; see `Operations.retry`."""
    orders.unchanging(work)
    _probe_now(work, destination)
    found = subjects.locked_transfers(work, subject, destination)
    # One that is due leaves what was refused alone, until somebody says so.
    mine = [*in_states(found, _WAITS), *_with_refusals(work, in_states(found, (TransferState.READY,)))]
    for part in chunks([row.id for row in mine]):
        work.connection.execute(
            update(deliveries)
            .where(deliveries.c.transfer_id.in_(part), deliveries.c.state == DeliveryState.REFUSED.value)
            .values(state=DeliveryState.PENDING.value, updated_at=work.now)
        )
    fresh = {"reason": "", "advice": "", "finished_at": None, "attempt": 0}
    set_transfers(work, mine, state=TransferState.READY.value, due_at=work.now, **fresh)
    tell(work, mine, EventKind.TRANSFER_REOPENED, FactKind.REOPENED)
    stopped = orders.for_transfers(work, mine)
    again = [row for row in mine if row.id in stopped]
    set_transfers(work, again, state=TransferState.HELD.value, due_at=None)
    going = [row for row in mine if row.id not in stopped]
    return account(
        work,
        Verb.RETRY,
        subject,
        destination,
        found,
        [*changes(going, TransferState.READY), *changes(again, TransferState.HELD)],
        held_by=tuple(sorted({order.subject for order in stopped.values()})),
    )


def _with_refusals(work: Work, rows: Sequence[AnyRow]) -> list[AnyRow]:
    """Those of the transfers in which something was refused."""
    found: set[str] = set()
    for part in chunks([row.id for row in rows]):
        refused = select(deliveries.c.transfer_id).where(REFUSED, deliveries.c.transfer_id.in_(part))
        found.update(work.connection.execute(refused.distinct()).scalars())
    return [row for row in rows if row.id in found]


def bytes_are_back(work: Work, instance_id: str) -> None:
    """What was refused here, for the bytes of an instance were lost, is tried again: they came once more.

    What its destination answered stays as it is. A transfer that runs keeps it for the attempt after; one that is held or
    cancelled stays so.
    """
    ours = (deliveries.c.instance_id == instance_id) & REFUSED & deliveries.c.status.is_(None)
    wanted = select(deliveries.c.transfer_id).where(ours)
    rows = work.connection.execute(
        select(transfers)
        .where(transfers.c.id.in_(wanted))
        .order_by(transfers.c.id)
        .with_for_update(key_share=True)
    ).all()
    if not rows:
        return
    work.connection.execute(
        update(deliveries).where(ours).values(state=DeliveryState.PENDING.value, updated_at=work.now)
    )
    again = in_states(rows, (TransferState.NEEDS_ATTENTION,))
    stopped = orders.for_transfers(work, again)
    fresh = {"reason": "", "advice": "", "finished_at": None, "attempt": 0}
    going = [row for row in again if row.id not in stopped]
    set_transfers(work, going, state=TransferState.READY.value, due_at=work.now, **fresh)
    held = [row for row in again if row.id in stopped]
    set_transfers(work, held, state=TransferState.HELD.value, due_at=None, **fresh)
    tell(work, rows, EventKind.TRANSFER_REOPENED, FactKind.REOPENED, instance_id=instance_id)


def retry_stages(work: Work, subject: Subject) -> int:
    """Archive, and prepare frames, once more where that needs attention; of how many instances."""
    mine = select(stages.c.instance_id).where(NEEDS_ATTENTION)
    if subject.kind is SubjectKind.STUDY:
        of_study = select(instances.c.id).where(instances.c.study_instance_uid == subject.id)
        mine = mine.where(stages.c.instance_id.in_(of_study))
    elif subject.kind is not SubjectKind.ALL:
        delivered = select(deliveries.c.instance_id).where(*subjects.of_deliveries(subject, ""))
        mine = mine.where(stages.c.instance_id.in_(delivered))
    ids = sorted(set(work.connection.execute(mine).scalars()))
    for part in chunks(ids):
        work.connection.execute(
            update(stages)
            .where(stages.c.instance_id.in_(part), stages.c.state == StageState.NEEDS_ATTENTION.value)
            .values(
                state=StageState.PENDING.value,
                due_at=work.now,
                attempts=0,
                reason="",
                updated_at=work.now,
            )
        )
    return len(ids)


def _probe_now(work: Work, destination: str) -> None:
    """Whoever asks for an attempt now does not want to wait for the next probe of a destination that was down."""
    query = update(destinations).where(
        destinations.c.breaker == "open",
        destinations.c.probe_at.is_not(None),
        destinations.c.probe_at > work.now,
    )
    if destination:
        query = query.where(destinations.c.name == destination)
    work.connection.execute(query.values(probe_at=work.now))


def in_states(rows: Sequence[AnyRow], states: Sequence[TransferState]) -> list[AnyRow]:
    """Those of the rows that are in one of the states."""
    wanted = {state.value for state in states}
    return [row for row in rows if row.state in wanted]


def set_transfers(work: Work, rows: Sequence[AnyRow], **values: Any) -> None:
    """Write the same values to some transfers."""
    for part in chunks([row.id for row in rows]):
        work.connection.execute(update(transfers).where(transfers.c.id.in_(part)).values(**values))


def changes(rows: Sequence[AnyRow], after: TransferState) -> list[Change]:
    """What became of rows as they were read, before they were written."""
    return [
        Change(
            transfer_id=row.id,
            study_instance_uid=row.study_instance_uid,
            destination=row.destination,
            job_id=row.job_id,
            before=TransferState(row.state),
            after=after,
            instances=row.instances,
        )
        for row in rows
    ]


def account(
    work: Work,
    verb: Verb,
    subject: Subject,
    destination: str,
    found: Sequence[AnyRow],
    made: Sequence[Change],
    *,
    held_by: tuple[str, ...] = (),
) -> Changed:
    """What a verb did, with what it left as it was."""
    touched = {change.transfer_id for change in made}
    return Changed(
        verb=verb,
        subject=subject,
        destination=destination,
        changes=tuple(made),
        unchanged=Counter(TransferState(row.state) for row in found if row.id not in touched),
        ungrouped=ungrouped(work, subject, destination),
        orders=orders.given(work, [subject.id]),
        held_by=held_by,
    )


def ungrouped(work: Work, subject: Subject, destination: str) -> int:
    """How many deliveries of a subject have no transfer yet."""
    if not subject.takes_orders:
        return 0
    mine = select(deliveries.c.instance_id).where(UNGROUPED, *subjects.of_deliveries(subject, destination))
    return work.connection.execute(select(func.count()).select_from(mine.subquery())).scalar_one()


def tell(
    work: Work, rows: Sequence[AnyRow], event: EventKind, fact: FactKind, *, instance_id: str = ""
) -> None:
    """An event and a fact for each transfer, with what it was; of one instance of it, or of all."""
    details: list[dict[str, str | int | None]] = [
        {"was": row.state, "instances": row.instances} for row in rows
    ]
    events.record(
        work,
        [
            Event(event, row.study_instance_uid, instance_id, row.id, row.destination, row.job_id, detail)
            for row, detail in zip(rows, details, strict=True)
        ],
    )
    evidence_chain.append(
        work,
        [
            Fact(fact, row.study_instance_uid, instance_id, row.destination, row.job_id, row.id, detail)
            for row, detail in zip(rows, details, strict=True)
        ],
    )
