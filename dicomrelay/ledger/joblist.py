"""Jobs as a list for people: figures by transfer, so that a backlog of any depth costs what its transfers cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, case, func, select

from dicomrelay.errors import LedgerError
from dicomrelay.ledger import orders
from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.schema import (
    CANCELLED,
    DUE,
    HELD,
    NEEDS_ATTENTION,
    OF_A_JOB,
    UNGROUPED,
    deliveries,
    jobs,
    studies,
    transfers,
)
from dicomrelay.ledger.subjects import of_transfers
from dicomrelay.ledger.values import Priority, TransferState
from dicomrelay.ledger.values_operations import JobRow, Subject, SubjectKind, TransferRow

# The index that holds the transfers of a state; `done` has none, for nearly everything is.
_INDEX: Final = {
    TransferState.READY: DUE,
    TransferState.RUNNING: DUE,
    TransferState.WAITING: DUE,
    TransferState.NEEDS_ATTENTION: NEEDS_ATTENTION,
    TransferState.HELD: HELD,
    TransferState.CANCELLED: CANCELLED,
}
_BY_NETWORK: Final = "study"
_PAGE: Final = 200
# A job and the study of what came over the network have the same figures: of which of the two columns they are.
_KEY: Final = case((transfers.c.job_id != "", transfers.c.job_id), else_=transfers.c.study_instance_uid)


@dataclass(slots=True)
class _Sums:
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
class _Entry:
    """A job of the list before its figures."""

    key: str
    kind: str
    at: int


def newest(work: Work, *, limit: int, state: TransferState | None) -> tuple[JobRow, ...]:
    """See `Operations.jobs`."""
    if state in _INDEX:
        entries = _with_transfers_in(work, state)
        return tuple(_rows(work, entries[:limit]))
    rows = (row for page in _pages(work) for row in _rows(work, page))
    wanted = (row for row in rows if state is None or row.state == state.value)
    return tuple(islice(wanted, limit))


def one(work: Work, subject: Subject) -> JobRow:
    """See `Operations.job`."""
    entry = _entry(work, subject)
    if entry is None:
        raise LedgerError(f"There is no {subject.kind.value} {subject.id}")
    sums = _Sums()
    for row in work.connection.execute(_figures().where(*of_transfers(subject))):
        sums.add(row)
    if subject.takes_orders:
        mine = deliveries.c.job_id == subject.id
        if subject.kind is SubjectKind.STUDY:
            mine = deliveries.c.study_instance_uid == subject.id
        for name, count in work.connection.execute(
            select(deliveries.c.destination, func.count())
            .where(UNGROUPED, mine)
            .group_by(deliveries.c.destination)
        ):
            sums.ungrouped += count
            sums.destinations.add(name)
    return _row(work, entry, sums)


def transfers_of(work: Work, subject: Subject, *, limit: int) -> tuple[TransferRow, ...]:
    """See `Operations.transfers`."""
    is_over = transfers.c.state.in_((TransferState.DONE.value, TransferState.CANCELLED.value))
    rows = work.connection.execute(
        select(transfers)
        .where(*of_transfers(subject))
        .order_by(case((is_over, 1), else_=0), transfers.c.id)
        .limit(limit)
    )
    return tuple(_transfer(row, work.now) for row in rows)


def _entry(work: Work, subject: Subject) -> _Entry | None:
    query: Select[Any]
    if subject.kind is SubjectKind.JOB:
        query = select(jobs.c.id, jobs.c.kind, jobs.c.created_at).where(jobs.c.id == subject.id)
    elif subject.kind is SubjectKind.STUDY:
        query = select(
            studies.c.study_instance_uid, studies.c.study_instance_uid, studies.c.last_received_at
        ).where(studies.c.study_instance_uid == subject.id)
    else:
        query = select(transfers.c.id, transfers.c.id, transfers.c.created_at).where(
            transfers.c.id == subject.id
        )
    row = work.connection.execute(query).one_or_none()
    if row is None:
        return None
    kind = row[1] if subject.kind is SubjectKind.JOB else subject.kind.value
    return _Entry(row[0], kind, row[2])


def _figures(*more: ColumnElement[Any]) -> Select[Any]:
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


def _with_transfers_in(work: Work, state: TransferState) -> list[_Entry]:
    """The jobs with a transfer in a state, the newest first, from the index of that state."""
    rows = work.connection.execute(
        select(transfers.c.job_id, _KEY.label("key"), func.max(transfers.c.created_at).label("at"))
        .where(_INDEX[state], transfers.c.state == state.value)
        .group_by(transfers.c.job_id, _KEY)
    ).all()
    found: dict[str, _Entry] = {}
    for row in sorted(rows, key=lambda row: row.at, reverse=True):
        found.setdefault(row.key, _Entry(row.key, "" if row.job_id else _BY_NETWORK, row.at))
    kinds = _kinds(work, [entry.key for entry in found.values() if not entry.kind])
    return [
        entry if entry.kind else _Entry(entry.key, *kinds.get(entry.key, ("send", entry.at)))
        for entry in found.values()
    ]


def _kinds(work: Work, job_ids: Sequence[str]) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for part in chunks(job_ids):
        rows = work.connection.execute(
            select(jobs.c.id, jobs.c.kind, jobs.c.created_at).where(jobs.c.id.in_(part))
        )
        found.update((row.id, (row.kind, row.created_at)) for row in rows)
    return found


def _pages(work: Work) -> Iterator[list[_Entry]]:
    """Jobs and studies together, the newest first, a page at a time."""
    of_jobs = select(jobs.c.id, jobs.c.kind, jobs.c.created_at).order_by(jobs.c.created_at.desc(), jobs.c.id)
    of_studies = select(studies.c.study_instance_uid, studies.c.last_received_at).order_by(
        studies.c.last_received_at.desc(), studies.c.study_instance_uid
    )
    number = 0
    job_entries: list[_Entry] = []
    study_entries: list[_Entry] = []
    while True:
        page = {"limit": _PAGE, "offset": number * _PAGE}
        more_jobs = work.connection.execute(of_jobs.limit(page["limit"]).offset(page["offset"])).all()
        more_studies = work.connection.execute(of_studies.limit(page["limit"]).offset(page["offset"])).all()
        job_entries += [_Entry(*row) for row in more_jobs]
        study_entries += [_Entry(uid, _BY_NETWORK, at) for uid, at in more_studies]
        # What is older than the end of either list may have newer ones on the next page of the other.
        last = not more_jobs and not more_studies
        known_to = max(
            job_entries[-1].at if len(more_jobs) == _PAGE else 0,
            study_entries[-1].at if len(more_studies) == _PAGE else 0,
        )
        together = sorted([*job_entries, *study_entries], key=lambda entry: entry.at, reverse=True)
        ready = together if last else [entry for entry in together if entry.at >= known_to]
        yield ready
        if last:
            return
        kept = {entry.key for entry in ready}
        job_entries = [entry for entry in job_entries if entry.key not in kept]
        study_entries = [entry for entry in study_entries if entry.key not in kept]
        number += 1


def _rows(work: Work, entries: Sequence[_Entry]) -> Iterator[JobRow]:
    """The figures of some entries; a study of which nothing came over the network is none."""
    by_job = [entry.key for entry in entries if entry.kind != _BY_NETWORK]
    by_study = [entry.key for entry in entries if entry.kind == _BY_NETWORK]
    sums: dict[str, _Sums] = {}
    for keys, column, condition in (
        (by_job, transfers.c.job_id, OF_A_JOB),
        (by_study, transfers.c.study_instance_uid, transfers.c.job_id == ""),
    ):
        for part in chunks(keys):
            query = _figures(column.label("key")).where(column.in_(part), condition)
            for row in work.connection.execute(query):
                sums.setdefault(row.key, _Sums()).add(row)
    _add_ungrouped(work, sums, set(by_job), by_study)
    for entry in entries:
        if entry.key in sums or entry.kind != _BY_NETWORK:
            yield _row(work, entry, sums.get(entry.key, _Sums()))


def _add_ungrouped(work: Work, sums: dict[str, _Sums], job_ids: set[str], study_uids: Sequence[str]) -> None:
    columns = deliveries.c
    rows = work.connection.execute(
        select(columns.job_id, columns.study_instance_uid, columns.destination, func.count().label("number"))
        .where(UNGROUPED)
        .group_by(columns.job_id, columns.study_instance_uid, columns.destination)
    )
    wanted = set(study_uids)
    for row in rows:
        key = row.job_id or row.study_instance_uid
        if key in (job_ids if row.job_id else wanted):
            mine = sums.setdefault(key, _Sums())
            mine.ungrouped += row.number
            mine.destinations.add(row.destination)


def _row(work: Work, entry: _Entry, sums: _Sums) -> JobRow:
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


def _transfer(row: AnyRow, now: int) -> TransferRow:
    return TransferRow(
        id=row.id,
        study_instance_uid=row.study_instance_uid,
        destination=row.destination,
        priority=Priority(row.priority),
        job_id=row.job_id,
        state=TransferState(row.state),
        attempt=row.attempt,
        instances=row.instances,
        bytes=row.bytes,
        due_in_ms=None if row.due_at is None else max(0, row.due_at - now),
        reason=row.reason,
        advice=row.advice,
        created_at_ms=row.created_at,
        finished_at_ms=row.finished_at,
    )
