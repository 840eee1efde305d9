"""Deliveries become transfers: of studies that are complete all that waits, of others what fills a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, insert, or_, select, update

from dicomrelay.ledger import batches, events, joining, orders
from dicomrelay.ledger.batches import Limits, Room
from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.events import Event, EventKind
from dicomrelay.ledger.new_rows import assign, transfer_row
from dicomrelay.ledger.places import limit_of, more_urgent
from dicomrelay.ledger.schema import (
    DUE,
    KEPT,
    UNGROUPED,
    deliveries,
    destinations,
    instances,
    studies,
    transfers,
)
from dicomrelay.ledger.values import DueTransfer, Priority
from dicomrelay.ledger.waits import NOTHING_WAITS

# Deliveries that one call takes at most, so that a huge study does not hold the database's one writer for long.
DELIVERIES_AT_ONCE: Final = 20_000


@dataclass(frozen=True, slots=True)
class CompletionPolicy:
    """When a study is complete, and how much one transfer holds (docs/design/completion.md).

    Attributes
    ----------
    more_comes : ColumnElement, optional
        Of a row of `studies`: somebody has said that more comes, so that the end of an association is no hint.
    """

    quiet_ms: int
    quiet_after_association_ms: int
    batch_instances: int
    batch_bytes: int
    # Where several hosts are at the ledger: no transfer holds instances of two spools.
    by_host: bool = False
    more_comes: ColumnElement[bool] | None = field(default=None, compare=False, repr=False)

    @property
    def limits(self) -> Limits:
        """The most that one transfer holds."""
        return Limits(self.batch_instances, self.batch_bytes)


@dataclass(frozen=True, slots=True)
class Made:
    """What was made: how many transfers, and those of them that their destinations have room for now."""

    transfers: int = 0
    wake: tuple[DueTransfer, ...] = ()


@dataclass(slots=True)
class _Making:
    """Transfers on their way into the ledger, and what each destination stands."""

    work: Work
    limits: Limits
    by_host: bool
    rooms: dict[tuple[str, str], Room] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    members: list[tuple[str, Sequence[AnyRow]]] = field(default_factory=list)
    wake: list[DueTransfer] = field(default_factory=list)


def complete(work: Work, policy: CompletionPolicy, *, limit: int) -> Made:
    """Make transfers of all that waits in studies that are complete; see `Completion.complete`."""
    orders.unchanging(work)
    query = (
        select(studies.c.study_instance_uid)
        .where(*is_complete(work, policy), ~studies.c.undecided)
        .order_by(studies.c.ungrouped_at)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    )
    making = _Making(work, policy.limits, policy.by_host)
    for part in chunks(list(work.connection.execute(query).scalars())):
        rows, unfinished = _ungrouped(work, part)
        _plan(making, rows, complete=True)
        grouped = [uid for uid in part if uid not in unfinished]
        work.connection.execute(
            update(studies).where(studies.c.study_instance_uid.in_(grouped)).values(**NOTHING_WAITS)
        )
    return _write(making)


def any_complete(work: Work, policy: CompletionPolicy) -> bool:
    """Whether `complete` would find a study."""
    query = select(studies.c.study_instance_uid).where(*is_complete(work, policy)).limit(1)
    return work.connection.execute(query).first() is not None


def worth_a_cut(work: Work, policy: CompletionPolicy, *, older_than_ms: int, limit: int) -> list[str]:
    """Studies of which `cut` would make a transfer; see `Completion.worth_a_cut`."""
    query = (
        select(studies.c.study_instance_uid)
        .where(studies.c.ungrouped_at <= work.now - older_than_ms)
        .order_by(studies.c.ungrouped_at)
        .limit(limit)
    )
    rows, _ = _ungrouped(work, list(work.connection.execute(query).scalars()))
    making = _Making(work, policy.limits, policy.by_host)
    _plan(making, rows, complete=False)
    return sorted({row["study_instance_uid"] for row in making.rows})


def cut(work: Work, policy: CompletionPolicy, study_uids: Sequence[str]) -> Made:
    """Make transfers of what fills them in studies that may still arrive; see `Completion.cut`."""
    orders.unchanging(work)
    making = _Making(work, policy.limits, policy.by_host)
    for part in chunks(sorted(set(study_uids))):
        query = (
            select(studies.c.study_instance_uid)
            .where(studies.c.study_instance_uid.in_(part), studies.c.ungrouped_at.is_not(None))
            .order_by(studies.c.study_instance_uid)
            # Somebody else is completing it: then it is taken care of.
            .with_for_update(skip_locked=True, key_share=True)
        )
        rows, _ = _ungrouped(work, list(work.connection.execute(query).scalars()))
        _plan(making, rows, complete=False)
    return _write(making)


def is_complete(work: Work, policy: CompletionPolicy) -> tuple[ColumnElement[bool], ...]:
    """Of a study: nothing more is expected of it for now, and something of it waits."""
    columns = studies.c
    quiet = columns.ungrouped_at + func.coalesce(columns.quiet_ms, policy.quiet_ms) <= work.now
    ended = columns.association_ended_at + policy.quiet_after_association_ms <= work.now
    if policy.more_comes is not None:
        ended = and_(ended, ~policy.more_comes)
    there = (
        select(func.count())
        .where(KEPT, instances.c.study_instance_uid == columns.study_instance_uid)
        .scalar_subquery()
    )
    nobody_counts = columns.expected_instances.is_(None)
    counted = and_(columns.expected_instances.is_not(None), there >= columns.expected_instances)
    return columns.ungrouped_at <= work.now, or_(quiet, and_(nobody_counts, ended), counted)


def _ungrouped(work: Work, study_uids: Sequence[str]) -> tuple[Sequence[AnyRow], set[str]]:
    """Deliveries without a transfer, and the studies of which some had to be left for the next call."""
    if not study_uids:
        return [], set()
    columns = deliveries.c
    query = (
        select(
            columns.study_instance_uid,
            columns.destination,
            columns.priority,
            columns.job_id,
            columns.instance_id,
            columns.bytes,
            columns.not_before,
        )
        .where(columns.study_instance_uid.in_(study_uids), UNGROUPED)
        .order_by(
            columns.study_instance_uid,
            columns.destination,
            columns.priority,
            columns.job_id,
            columns.instance_id,
        )
        .limit(DELIVERIES_AT_ONCE)
    )
    rows = work.connection.execute(query).all()
    if len(rows) < DELIVERIES_AT_ONCE:
        return rows, set()
    last = rows[-1].study_instance_uid
    return rows, {uid for uid in study_uids if uid not in {row.study_instance_uid for row in rows}} | {last}


def _plan(making: _Making, rows: Sequence[AnyRow], *, complete: bool) -> None:
    for _, group in groupby(
        rows, key=lambda row: (row.study_instance_uid, row.destination, row.priority, row.job_id)
    ):
        waiting = list(group)
        later = [row for row in waiting if row.not_before > making.work.now]
        # What may go now does not wait for what a rule puts off.
        for part in ([row for row in waiting if row.not_before <= making.work.now], later):
            for mine in _of_one_spool(making, part):
                _cut(making, mine, complete=complete)


def _of_one_spool(making: _Making, rows: Sequence[AnyRow]) -> Sequence[Sequence[AnyRow]]:
    """The rows apart by the spools that their bytes came into: a host that is lost keeps back its own, and no other's."""
    if not (rows and making.by_host):
        return [rows] if rows else []
    hosts: dict[str, str] = {}
    for part in chunks([row.instance_id for row in rows]):
        query = select(instances.c.id, instances.c.host).where(instances.c.id.in_(part))
        hosts.update((row.id, row.host) for row in making.work.connection.execute(query))
    return [[row for row in rows if hosts[row.instance_id] == host] for host in sorted(set(hosts.values()))]


def _cut(making: _Making, waiting: Sequence[AnyRow], *, complete: bool) -> None:
    """Transfers of what waits of one study for one destination with one priority."""
    first = waiting[0]
    key = first.destination, first.priority
    room = making.rooms.get(key) or _room(making.work, *key)
    for batch in batches.parts(waiting, room, making.limits, complete=complete):
        row = transfer_row(batch, making.work.now)
        making.rows.append(row)
        making.members.append((row["id"], batch))
        if room.wants_more and row["due_at"] <= making.work.now:
            making.wake.append(DueTransfer(row["id"], Priority(first.priority), first.destination))
        room = Room(room.associations, room.open_transfers + 1)
    making.rooms[key] = room


def _room(work: Work, destination: str, priority: str) -> Room:
    """What a destination stands; transfers that are less urgent do not count, for they let these pass."""
    row = work.connection.execute(select(destinations).where(destinations.c.name == destination)).one()
    associations = max(1, limit_of(row))
    count = 0
    for each in (*more_urgent(Priority(priority)), Priority(priority)):
        open_ones = (
            select(transfers.c.id)
            .where(transfers.c.destination == destination, transfers.c.priority == each.value, DUE)
            # In the order of its index, or PostgreSQL reads the table for the few that are asked for.
            .order_by(transfers.c.due_at)
            .limit(2 * associations)
        )
        count += work.connection.execute(select(func.count()).select_from(open_ones.subquery())).scalar_one()
    return Room(associations, count)


def _write(making: _Making) -> Made:
    if not making.rows:
        return Made()
    work = making.work
    work.connection.execute(insert(transfers), making.rows)
    for transfer_id, batch in making.members:
        assign(work, transfer_id, batch)
    events.record(work, [_made(row) for row in making.rows])
    joining.obey(work, [row["id"] for row in making.rows])
    return Made(len(making.rows), tuple(making.wake))


def _made(row: dict[str, Any]) -> Event:
    return Event(
        EventKind.TRANSFER_MADE,
        study_instance_uid=row["study_instance_uid"],
        transfer_id=row["id"],
        destination=row["destination"],
        job_id=row["job_id"],
    )
