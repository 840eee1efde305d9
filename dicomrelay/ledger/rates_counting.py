"""Counts minutes from what the ledger has anyway, by indexes on what is new (docs/design/monitor.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Select, delete, func, select, union

from dicomrelay.ledger.engine import Work, chunks
from dicomrelay.ledger.events import EventKind
from dicomrelay.ledger.schema import DUE, deliveries, events, instances, studies, transfer_rates, transfers
from dicomrelay.ledger.values import DeliveryState

MINUTE_MS: Final = 60_000
KEPT_MINUTES: Final = 2 * 24 * 60
# What a scheduler missed is counted later, of so long at most, and in portions.
_MISSED_MINUTES: Final = 24 * 60
_PORTION_MINUTES: Final = 60
# A transaction may commit so long after the time that it wrote.
_LATE_MS: Final = 10_000
# What a peer calls itself is its own word: so many are kept apart in a portion.
_MOST_SOURCES: Final = 200
OTHERS: Final = "other"
_UNTIL: Final = "until"
_ROWS: Final = 500
_DELIVERED: Final = (DeliveryState.DELIVERED.value, DeliveryState.WARNING.value)
# How a transfer stops being due.
_ENDS: Final = tuple(
    kind.value
    for kind in (
        EventKind.TRANSFER_DONE,
        EventKind.TRANSFER_NEEDS_ATTENTION,
        EventKind.TRANSFER_HELD,
        EventKind.TRANSFER_CANCELLED,
    )
)


class Direction(StrEnum):
    """Which way something moved."""

    TO = "to"  # a destination, by its name
    FROM = "from"  # a source, by the AE title that it called with


@dataclass(frozen=True, slots=True)
class Moved:
    """So much."""

    instances: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Counted:
    """Rows to be written: direction, name, minute, instances, bytes; `until` is the first minute that is not counted."""

    rows: Sequence[tuple[str, str, int, int, int]]
    until: int
    is_behind: bool


def count(work: Work) -> Counted | None:
    """The minutes after the last one that was counted; None when none is over."""
    over = (work.now - _LATE_MS) // MINUTE_MS
    columns = transfer_rates.c
    until = work.connection.execute(
        select(func.max(columns.minute)).where(columns.direction == _UNTIL)
    ).scalar_one()
    begin = max(over - _PORTION_MINUTES if until is None else until, over - _MISSED_MINUTES)
    end = min(over, begin + _PORTION_MINUTES)
    if begin >= end:
        return None
    rows = [
        *_rows(work, Direction.TO, _delivered(begin * MINUTE_MS, end * MINUTE_MS)),
        *_few(_rows(work, Direction.FROM, _arrived(begin * MINUTE_MS, end * MINUTE_MS))),
    ]
    return Counted(rows, end, end < over)


def write(work: Work, counted: Counted) -> None:
    """Write them over what was counted of the same minutes, and remove what is old."""
    columns = transfer_rates.c
    upsert = work.insert(transfer_rates)
    names = ("direction", "name", "minute", "instances", "bytes")
    for part in chunks(counted.rows, _ROWS):
        work.connection.execute(
            upsert.on_conflict_do_update(
                index_elements=[columns.direction, columns.name, columns.minute],
                set_={"instances": upsert.excluded.instances, "bytes": upsert.excluded.bytes},
            ),
            [dict(zip(names, row, strict=True)) for row in part],
        )
    work.insert_missing(
        transfer_rates,
        [{"direction": _UNTIL, "name": "", "minute": counted.until, "instances": 0, "bytes": 0}],
    )
    work.connection.execute(
        delete(transfer_rates).where(columns.direction == _UNTIL, columns.minute < counted.until)
    )
    work.connection.execute(delete(transfer_rates).where(columns.minute < counted.until - KEPT_MINUTES))


def arrived_since(work: Work, since: int) -> dict[str, Moved]:
    """See `Rates.arriving`."""
    found: dict[str, Moved] = {}
    rows = _few(_rows(work, Direction.FROM, _arrived(since, work.now + MINUTE_MS)))
    for _, name, _, number, size in rows:
        before = found.get(name, Moved(0, 0))
        found[name] = Moved(before.instances + number, before.bytes + size)
    return found


def _rows(work: Work, direction: Direction, query: Select[Any]) -> list[tuple[str, str, int, int, int]]:
    return [
        (direction.value, name, minute, number, int(size or 0))
        for name, minute, number, size in work.connection.execute(query)
    ]


def _few(rows: Iterable[tuple[str, str, int, int, int]]) -> list[tuple[str, str, int, int, int]]:
    """The sources with most bytes by their names, all others by one."""
    every = list(rows)
    bytes_of: dict[str, int] = {}
    for _, name, _, _, size in every:
        bytes_of[name] = bytes_of.get(name, 0) + size
    if len(bytes_of) <= _MOST_SOURCES:
        return every
    apart = set(sorted(bytes_of, key=lambda name: bytes_of[name], reverse=True)[: _MOST_SOURCES - 1])
    sums: dict[tuple[str, str, int], list[int]] = {}
    for direction, name, minute, number, size in every:
        mine = sums.setdefault((direction, name if name in apart else OTHERS, minute), [0, 0])
        mine[0] += number
        mine[1] += size
    return [(*key, number, size) for key, (number, size) in sums.items()]


def _delivered(begin: int, end: int) -> Select[Any]:
    """Deliveries by the minute of their answer, of transfers that have begun, or ended since."""
    begun: Select[Any] = select(transfers.c.id).where(DUE, transfers.c.fence > 0)
    ended: Select[Any] = select(events.c.transfer_id).where(events.c.at >= begin, events.c.kind.in_(_ENDS))
    columns = deliveries.c
    minute = (columns.updated_at // MINUTE_MS).label("minute")
    return (
        select(columns.destination, minute, func.count(), func.sum(columns.bytes))
        .where(
            columns.transfer_id.in_(union(begun, ended)),
            columns.state.in_(_DELIVERED),
            columns.updated_at >= begin,
            columns.updated_at < end,
        )
        .group_by(columns.destination, minute)
    )


def _arrived(begin: int, end: int) -> Select[Any]:
    """Instances by the minute in which they were registered, of studies that received something since."""
    columns = instances.c
    minute = (columns.registered_at // MINUTE_MS).label("minute")
    return (
        select(columns.calling_ae_title, minute, func.count(), func.sum(columns.data_set_bytes))
        .where(
            # A list of studies, so that a planner begins with it.
            columns.study_instance_uid.in_(
                select(studies.c.study_instance_uid).where(studies.c.last_received_at >= begin)
            ),
            columns.registered_at >= begin,
            columns.registered_at < end,
        )
        .group_by(columns.calling_ae_title, minute)
    )
