"""Jobs as a list for people: figures by transfer, so that a backlog of any depth costs what its transfers cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from sqlalchemy import case, func, select

from dicomrelay.ledger.engine import Work, chunks
from dicomrelay.ledger.job_figures import Entry, Sums, figures, looked_at, row_of
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
from dicomrelay.ledger.values import TransferState
from dicomrelay.ledger.values_operations import JobRow

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
_LEAST: Final = 20
# A job and the study of what came over the network have the same figures: of which of the two columns they are.
_KEY: Final = case((transfers.c.job_id != "", transfers.c.job_id), else_=transfers.c.study_instance_uid)


def newest(work: Work, *, limit: int, state: TransferState | None) -> tuple[JobRow, ...]:
    """See `Operations.jobs`."""
    if state in _INDEX:
        entries = _with_transfers_in(work, state)
        return tuple(_rows(work, entries[:limit]))
    rows = (row for page in _pages(work, min(_PAGE, max(limit, _LEAST))) for row in _rows(work, page))
    wanted = (row for row in rows if state is None or row.state == state.value)
    return tuple(islice(wanted, limit))


def _with_transfers_in(work: Work, state: TransferState) -> list[Entry]:
    """The jobs with a transfer in a state, the newest first, from the index of that state."""
    rows = work.connection.execute(
        select(transfers.c.job_id, _KEY.label("key"), func.max(transfers.c.created_at).label("at"))
        .where(_INDEX[state], transfers.c.state == state.value)
        .group_by(transfers.c.job_id, _KEY)
    ).all()
    found: dict[str, Entry] = {}
    for row in sorted(rows, key=lambda row: row.at, reverse=True):
        found.setdefault(row.key, Entry(row.key, "" if row.job_id else _BY_NETWORK, row.at))
    kinds = _kinds(work, [entry.key for entry in found.values() if not entry.kind])
    return [
        entry if entry.kind else Entry(entry.key, *kinds.get(entry.key, ("send", entry.at)))
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


def _pages(work: Work, size: int) -> Iterator[list[Entry]]:
    """Jobs and studies together, the newest first, a page at a time."""
    of_jobs = select(jobs.c.id, jobs.c.kind, jobs.c.created_at).order_by(jobs.c.created_at.desc(), jobs.c.id)
    of_studies = select(studies.c.study_instance_uid, studies.c.last_received_at).order_by(
        studies.c.last_received_at.desc(), studies.c.study_instance_uid
    )
    number = 0
    job_entries: list[Entry] = []
    study_entries: list[Entry] = []
    while True:
        more_jobs = work.connection.execute(of_jobs.limit(size).offset(number * size)).all()
        more_studies = work.connection.execute(of_studies.limit(size).offset(number * size)).all()
        job_entries += [Entry(*row) for row in more_jobs]
        study_entries += [Entry(uid, _BY_NETWORK, at) for uid, at in more_studies]
        # What is older than the end of either list may have newer ones on the next page of the other.
        last = not more_jobs and not more_studies
        known_to = max(
            job_entries[-1].at if len(more_jobs) == size else 0,
            study_entries[-1].at if len(more_studies) == size else 0,
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


def _rows(work: Work, entries: Sequence[Entry]) -> Iterator[JobRow]:
    """The figures of some entries; a study of which nothing came over the network is none."""
    by_job = [entry.key for entry in entries if entry.kind != _BY_NETWORK]
    by_study = [entry.key for entry in entries if entry.kind == _BY_NETWORK]
    sums: dict[str, Sums] = {}
    for keys, column, condition in (
        (by_job, transfers.c.job_id, OF_A_JOB),
        (by_study, transfers.c.study_instance_uid, transfers.c.job_id == ""),
    ):
        for part in chunks(keys):
            query = figures(column.label("key")).where(column.in_(part), condition)
            for row in work.connection.execute(query):
                sums.setdefault(row.key, Sums()).add(row)
            for row in work.connection.execute(looked_at(column, column.in_(part), condition)):
                sums[row.key].add_deliveries(row)
    _add_ungrouped(work, sums, set(by_job), by_study)
    for entry in entries:
        if entry.key in sums or entry.kind != _BY_NETWORK:
            yield row_of(work, entry, sums.get(entry.key, Sums()))


def _add_ungrouped(work: Work, sums: dict[str, Sums], job_ids: set[str], study_uids: Sequence[str]) -> None:
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
            mine = sums.setdefault(key, Sums())
            mine.ungrouped += row.number
            mine.destinations.add(row.destination)
