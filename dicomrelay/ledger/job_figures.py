"""The figures of a job, added up from its transfers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, TextClause, case, func, not_, or_, select

from dicomrelay.ledger import orders
from dicomrelay.ledger.engine import AnyRow, Work
from dicomrelay.ledger.schema import deliveries, transfers
from dicomrelay.ledger.tallies import DONE, NEVER_RAN, stands_as
from dicomrelay.ledger.values import DeliveryState, TransferState
from dicomrelay.ledger.values_operations import JobRow

_MOVING: Final = (TransferState.READY, TransferState.WAITING)


@dataclass(slots=True)
class Sums:
    """What the transfers of one job come to, and its deliveries without one."""

    transfers: dict[TransferState, int] = field(default_factory=dict)
    delivery_states: dict[str, int] = field(default_factory=dict)
    destinations: set[str] = field(default_factory=set)
    moving: set[str] = field(default_factory=set)
    ungrouped: int = 0
    due_at: int | None = None
    reason: str = ""
    advice: str = ""

    def add(self, row: AnyRow) -> None:
        state = TransferState(row.state)
        self.transfers[state] = self.transfers.get(state, 0) + row.transfers
        if state is TransferState.DONE:
            self._count("delivered", int(row.instances))
        self._count("held" if state is TransferState.HELD else "pending", int(row.never_ran))
        self.destinations.add(row.destination)
        if state in _MOVING:
            self.moving.add(row.destination)
        # A lease ends at due_at, which is nothing to wait for.
        if row.due_at is not None and state is not TransferState.RUNNING:
            self.due_at = min(self.due_at or row.due_at, row.due_at)
        if state is not TransferState.DONE:
            self.reason = row.reason or self.reason
            self.advice = row.advice or self.advice

    def add_deliveries(self, row: AnyRow) -> None:
        """A row of `looked_at`."""
        self._count(stands_as(DeliveryState(row.delivery_state), row.state), row.number)

    def _count(self, name: str, number: int) -> None:
        if number:
            self.delivery_states[name] = self.delivery_states.get(name, 0) + number


@dataclass(frozen=True, slots=True)
class Entry:
    """A job of the list before its figures."""

    key: str
    kind: str
    at: int


def figures(*more: ColumnElement[Any]) -> Select[Any]:
    """Transfers by state and destination, for `Sums.add`."""
    return select(
        *more,
        transfers.c.state,
        transfers.c.destination,
        func.count().label("transfers"),
        func.sum(transfers.c.instances).label("instances"),
        func.min(transfers.c.due_at).label("due_at"),
        func.max(transfers.c.reason).label("reason"),
        func.max(transfers.c.advice).label("advice"),
        func.sum(case((NEVER_RAN, transfers.c.instances), else_=0)).label("never_ran"),
    ).group_by(*more, transfers.c.state, transfers.c.destination)


def looked_at(key: ColumnElement[str], *conditions: ColumnElement[bool] | TextClause) -> Select[Any]:
    """The deliveries of those transfers that are neither done nor untouched, for `Sums.add_deliveries`."""
    some = (
        select(key.label("key"), transfers.c.id, transfers.c.state)
        .where(not_(or_(DONE, NEVER_RAN)), *conditions)
        .subquery()
    )
    return (
        select(
            some.c.key,
            some.c.state,
            deliveries.c.state.label("delivery_state"),
            func.count().label("number"),
        )
        .join(deliveries, deliveries.c.transfer_id == some.c.id)
        .group_by(some.c.key, some.c.state, deliveries.c.state)
    )


def row_of(work: Work, entry: Entry, sums: Sums) -> JobRow:
    return JobRow(
        id=entry.key,
        kind=entry.kind,
        at_ms=entry.at,
        transfers=sums.transfers,
        delivery_states=sums.delivery_states,
        ungrouped=sums.ungrouped,
        destinations=tuple(sorted(sums.destinations)),
        moving=tuple(sorted(sums.moving)),
        next_due_in_ms=None if sums.due_at is None else max(0, sums.due_at - work.now),
        reason=sums.reason,
        advice=sums.advice,
        orders=orders.given(work, [entry.key]),
    )
