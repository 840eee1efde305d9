"""Standing orders: what was said of a job or a study, and is obeyed by what joins it later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import delete, select

from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.schema import standing_orders
from dicomrelay.ledger.values_operations import OrderKind, StandingOrder, Subject

_LOCK: Final = "orders"


def alone(work: Work) -> None:
    """Before an order is written: nothing becomes a transfer until this transaction ends."""
    work.exclusive(_LOCK)


def unchanging(work: Work) -> None:
    """Before deliveries become transfers, and before any row is locked: no order changes until this transaction ends."""
    work.shared(_LOCK)


def write(work: Work, subject: Subject, destination: str, kind: OrderKind) -> None:
    """Give an order. A hold does not weaken a cancel that is in force; what it is wider than, it takes the place of."""
    known = {order.destination: order.kind for order in given(work, [subject.id])}
    # The one who names its destination wins, so what is narrower has to go; a cancel stays, it is the stronger.
    narrower = [name for name, other in known.items() if name and not destination and other is not kind]
    for name in narrower:
        if known[name] is not OrderKind.CANCEL:
            _remove(work, subject, name)
    if kind is OrderKind.HOLD and known.get(destination) is OrderKind.CANCEL:
        return
    row = {"subject": subject.id, "destination": destination, "kind": kind.value, "at": work.now}
    upsert = work.insert(standing_orders).values(**row)
    work.connection.execute(
        upsert.on_conflict_do_update(
            index_elements=[standing_orders.c.subject, standing_orders.c.destination],
            set_={"kind": kind.value, "at": work.now},
        )
    )


def lift(work: Work, subject: Subject, destination: str) -> None:
    """Take the orders of a subject away, or let one destination go where all of them are stopped."""
    if not destination:
        work.connection.execute(delete(standing_orders).where(standing_orders.c.subject == subject.id))
        return
    _remove(work, subject, destination)
    if any(not order.destination for order in given(work, [subject.id])):
        write(work, subject, destination, OrderKind.GO)


def given(work: Work, subject_ids: Iterable[str]) -> tuple[StandingOrder, ...]:
    """The orders of some subjects, those for every destination first."""
    found: list[StandingOrder] = []
    for part in chunks(sorted(set(subject_ids) - {""})):
        rows = work.connection.execute(
            select(standing_orders)
            .where(standing_orders.c.subject.in_(part))
            .order_by(standing_orders.c.subject, standing_orders.c.destination)
        )
        found.extend(StandingOrder(row.subject, row.destination, OrderKind(row.kind), row.at) for row in rows)
    return tuple(found)


def for_transfers(work: Work, rows: Sequence[AnyRow]) -> dict[str, StandingOrder]:
    """The hold or cancel that is in force for each of these transfers, by its id; most have none."""
    if work.connection.execute(select(standing_orders.c.subject).limit(1)).first() is None:
        return {}
    orders = given(work, {row.job_id for row in rows} | {row.study_instance_uid for row in rows})
    by_place = {(order.subject, order.destination): order for order in orders}
    found: dict[str, StandingOrder] = {}
    for row in rows:
        order = _in_force(by_place, row)
        if order is not None:
            found[row.id] = order
    return found


def _in_force(orders: dict[tuple[str, str], StandingOrder], row: AnyRow) -> StandingOrder | None:
    """One cancel cancels, else one hold holds; a job that was submitted does not obey the cancel of its study."""

    def of(subject: str) -> StandingOrder | None:
        order = orders.get((subject, row.destination)) or orders.get((subject, ""))
        return None if order is None or order.kind is OrderKind.GO else order

    by_job = of(row.job_id) if row.job_id else None
    by_study = of(row.study_instance_uid)
    if by_study is not None and by_study.kind is OrderKind.CANCEL and row.job_id:
        by_study = None
    both = [order for order in (by_job, by_study) if order is not None]
    return min(both, key=lambda order: order.kind is not OrderKind.CANCEL, default=None)


def _remove(work: Work, subject: Subject, destination: str) -> None:
    work.connection.execute(
        delete(standing_orders).where(
            standing_orders.c.subject == subject.id, standing_orders.c.destination == destination
        )
    )
