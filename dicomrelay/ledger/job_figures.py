"""The figures of a job, added up from its transfers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select

from dicomrelay.ledger import orders
from dicomrelay.ledger.engine import AnyRow, Work
from dicomrelay.ledger.schema import transfers
from dicomrelay.ledger.values import TransferState
from dicomrelay.ledger.values_operations import JobRow


@dataclass(slots=True)
class Sums:
    """What the transfers of one job come to, and its deliveries without one."""

    transfers: dict[TransferState, int] = field(default_factory=dict)
    instances: dict[TransferState, int] = field(default_factory=dict)
    destinations: set[str] = field(default_factory=set)
    ungrouped: int = 0
    due_at: int | None = None
    reason: str = ""
    advice: str = ""

    def add(self, row: AnyRow) -> None:
        state = TransferState(row.state)
        self.transfers[state] = self.transfers.get(state, 0) + row.transfers
        self.instances[state] = self.instances.get(state, 0) + int(row.instances)
        self.destinations.add(row.destination)
        # A lease ends at due_at, which is nothing to wait for.
        if row.due_at is not None and state is not TransferState.RUNNING:
            self.due_at = min(self.due_at or row.due_at, row.due_at)
        if state is not TransferState.DONE:
            self.reason = row.reason or self.reason
            self.advice = row.advice or self.advice


@dataclass(frozen=True, slots=True)
class Entry:
    """A job of the list before its figures."""

    key: str
    kind: str
    at: int


def figures(*more: ColumnElement[Any]) -> Select[Any]:
    return select(
        *more,
        transfers.c.state,
        transfers.c.destination,
        func.count().label("transfers"),
        func.sum(transfers.c.instances).label("instances"),
        func.min(transfers.c.due_at).label("due_at"),
        func.max(transfers.c.reason).label("reason"),
        func.max(transfers.c.advice).label("advice"),
    ).group_by(*more, transfers.c.state, transfers.c.destination)


def row_of(work: Work, entry: Entry, sums: Sums) -> JobRow:
    return JobRow(
        id=entry.key,
        kind=entry.kind,
        at_ms=entry.at,
        transfers=sums.transfers,
        instances=sums.instances,
        ungrouped=sums.ungrouped,
        destinations=tuple(sorted(sums.destinations)),
        next_due_in_ms=None if sums.due_at is None else max(0, sums.due_at - work.now),
        reason=sums.reason,
        advice=sums.advice,
        orders=orders.given(work, [entry.key]),
    )
