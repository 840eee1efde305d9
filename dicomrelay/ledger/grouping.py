"""Studies that have become quiet: their deliveries become transfers, bounded in instances and bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from sqlalchemy import insert, select, update

from dicomrelay.ledger import events
from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.events import Event, EventKind
from dicomrelay.ledger.ids import new_id
from dicomrelay.ledger.schema import UNGROUPED, deliveries, studies, transfers
from dicomrelay.ledger.values import TransferState

# Deliveries that one call takes at most, so that a huge study does not hold the database's one writer for long.
DELIVERIES_AT_ONCE: Final = 20_000


def complete_quiet_studies(
    work: Work, *, quiet_ms: int, batch_instances: int, batch_bytes: int, limit: int
) -> int:
    """Make transfers; see `Ledger.complete_quiet_studies`."""
    query = (
        select(studies.c.study_instance_uid)
        .where(studies.c.ungrouped_at <= work.now - quiet_ms)
        .order_by(studies.c.ungrouped_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    quiet = list(work.connection.execute(query).scalars())
    made = 0
    for part in chunks(quiet):
        rows, unfinished = _ungrouped(work, part)
        made += _make_transfers(work, rows, batch_instances=batch_instances, batch_bytes=batch_bytes)
        grouped = [uid for uid in part if uid not in unfinished]
        work.connection.execute(
            update(studies).where(studies.c.study_instance_uid.in_(grouped)).values(ungrouped_at=None)
        )
    return made


def _ungrouped(work: Work, study_uids: Sequence[str]) -> tuple[Sequence[AnyRow], set[str]]:
    """Deliveries without a transfer, and the studies of which some had to be left for the next call."""
    columns = deliveries.c
    query = (
        select(
            columns.study_instance_uid,
            columns.destination,
            columns.priority,
            columns.job_id,
            columns.instance_id,
            columns.bytes,
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


def _make_transfers(work: Work, rows: Sequence[AnyRow], *, batch_instances: int, batch_bytes: int) -> int:
    new: list[dict[str, object]] = []
    members: list[tuple[str, list[AnyRow]]] = []
    for _, group in groupby(
        rows, key=lambda row: (row.study_instance_uid, row.destination, row.priority, row.job_id)
    ):
        for batch in _pack(list(group), batch_instances, batch_bytes):
            transfer_id = new_id()
            members.append((transfer_id, batch))
            new.append(
                {
                    "id": transfer_id,
                    "study_instance_uid": batch[0].study_instance_uid,
                    "destination": batch[0].destination,
                    "priority": batch[0].priority,
                    "job_id": batch[0].job_id,
                    "state": TransferState.READY.value,
                    "due_at": work.now,
                    "fence": 0,
                    "owner": "",
                    "attempt": 0,
                    "instances": len(batch),
                    "bytes": sum(row.bytes for row in batch),
                    "reason": "",
                    "created_at": work.now,
                    "finished_at": None,
                }
            )
    if not new:
        return 0
    work.connection.execute(insert(transfers), new)
    for transfer_id, batch in members:
        _assign(work, transfer_id, batch)
    events.record(work, [_made(row) for row in new])
    return len(new)


def _pack(rows: Sequence[AnyRow], batch_instances: int, batch_bytes: int) -> Iterator[list[AnyRow]]:
    """Batches in order; one instance that is larger than `batch_bytes` goes by itself."""
    batch: list[AnyRow] = []
    size = 0
    for row in rows:
        if batch and (len(batch) >= batch_instances or size + row.bytes > batch_bytes):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += row.bytes
    if batch:
        yield batch


def _assign(work: Work, transfer_id: str, batch: Sequence[AnyRow]) -> None:
    for part in chunks(batch):
        work.connection.execute(
            update(deliveries)
            .where(
                deliveries.c.instance_id.in_([row.instance_id for row in part]),
                deliveries.c.destination == part[0].destination,
                deliveries.c.job_id == part[0].job_id,
            )
            .values(transfer_id=transfer_id)
        )


def _made(row: dict[str, object]) -> Event:
    return Event(
        EventKind.TRANSFER_MADE,
        study_instance_uid=str(row["study_instance_uid"]),
        transfer_id=str(row["id"]),
        destination=str(row["destination"]),
        job_id=str(row["job_id"]),
    )
