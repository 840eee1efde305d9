"""Registering arrivals: load what a batch meets, judge it, write it in a handful of statements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import insert, select, update
from sqlalchemy.sql.expression import bindparam

from dicomrelay.ledger import decisions, destinations, events, evidence_chain, evidence_facts, jobs, waits
from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.events import Event, EventKind
from dicomrelay.ledger.judgement import Batch, Entry, storable_arrival
from dicomrelay.ledger.new_rows import delivery_row, stage_row
from dicomrelay.ledger.schema import deliveries, instances, series, stages
from dicomrelay.ledger.texts import path_bytes
from dicomrelay.ledger.values import (
    Arrival,
    InstanceState,
    Registered,
    Stage,
    Verdict,
)
from dicomrelay.ledger.values_decisions import PLAIN


def register(work: Work, arrivals: Sequence[Arrival]) -> list[Registered]:
    """Register a batch; see `Ledger.register`."""
    if not arrivals:
        return []
    work.exclusive("register")
    batch = Batch([storable_arrival(arrival) for arrival in arrivals])
    _load(work, batch)
    for arrival in batch.arrivals:
        batch.judge(arrival)
    _write_parents(work, batch)
    _write_instances(work, batch)
    _write_deliveries(work, batch)
    _write_stages(work, batch)
    jobs.add_items(
        work,
        [
            (arrival.job_id, arrival.spool_id, entry.id, verdict)
            for arrival, entry, verdict in batch.judged
            if arrival.job_id
        ],
    )
    decisions.of_arrivals(work, batch)
    events.record(work, list(_happened(batch)))
    evidence_chain.append(work, list(evidence_facts.of_arrivals(batch)))
    return [
        # Spool ids as they came, whatever the ledger had to store.
        Registered(arrival.spool_id, verdict, entry.id, entry.spool_id)
        for arrival, (_, entry, verdict) in zip(arrivals, batch.judged, strict=True)
    ]


def _load(work: Work, batch: Batch) -> None:
    """Everything the batch may meet: rows of its spool ids and of its SOP Instance UIDs."""
    met: set[str] = set()
    for column, values in (
        (instances.c.spool_id, {arrival.spool_id for arrival in batch.arrivals}),
        (instances.c.sop_instance_uid, {arrival.sop_instance_uid for arrival in batch.arrivals}),
    ):
        for part in chunks(sorted(values)):
            met.update(work.connection.execute(select(instances.c.id).where(column.in_(part))).scalars())
    found: dict[str, AnyRow] = {}
    for part in chunks(sorted(met)):
        # Under lock, by id, and before their studies: whoever records an outcome takes them in that order too.
        rows = work.connection.execute(
            select(instances)
            .where(instances.c.id.in_(part))
            .order_by(instances.c.id)
            .with_for_update(key_share=True)
        )
        found.update((row.id, row) for row in rows)
    wanted: dict[str, set[tuple[str, str]]] = {}
    for part in chunks(sorted(found)):
        query = select(deliveries.c.instance_id, deliveries.c.destination, deliveries.c.job_id)
        for delivery in work.connection.execute(query.where(deliveries.c.instance_id.in_(part))):
            wanted.setdefault(delivery.instance_id, set()).add((delivery.destination, delivery.job_id))
    for row in found.values():
        entry = Entry(
            id=row.id,
            state=InstanceState(row.state),
            spool_id=row.spool_id,
            host=row.host,
            digest=row.digest,
            study_instance_uid=row.study_instance_uid,
            archive_wanted=row.archive_wanted,
            bytes_gone=row.released_at is not None and not row.archive_path,
            wanted=wanted.get(row.id, set()),
        )
        batch.hold(entry, row.sop_instance_uid)


def _write_parents(work: Work, batch: Batch) -> None:
    """Studies, series and destinations, in the order of their keys: two transactions never wait for each other."""
    waits.write_studies(work, batch)
    new_series = {(a.study_instance_uid, a.series_instance_uid): a.modality for _, a in batch.new}
    work.insert_missing(
        series,
        [
            {"study_instance_uid": study, "series_instance_uid": uid, "modality": modality}
            for (study, uid), modality in sorted(new_series.items())
        ],
    )
    names = {name for _, entry, _ in batch.judged for name, _ in entry.added}
    destinations.let_be(work, sorted(names))


def _write_instances(work: Work, batch: Batch) -> None:
    if batch.new:
        rows = [_instance_row(entry, arrival, work.now) for entry, arrival in batch.new]
        work.connection.execute(insert(instances), rows)
    changed = [
        {
            "key": entry.id,
            "more": len(entry.added),
            "archive_wanted": entry.archive_wanted,
        }
        for entry in _touched(batch)
        if not entry.is_new and (entry.added or entry.archive_added)
    ]
    if changed:
        work.connection.execute(
            update(instances)
            .where(instances.c.id == bindparam("key"))
            .values(
                all_deliveries=instances.c.all_deliveries + bindparam("more"),
                open_deliveries=instances.c.open_deliveries + bindparam("more"),
            ),
            changed,
        )
    adopted = [(entry, entry.adopted) for entry in _touched(batch) if entry.adopted is not None]
    if adopted:
        work.connection.execute(
            update(instances).where(instances.c.id == bindparam("key")).values(released_at=None),
            [{"key": entry.id, **_file_columns(arrival)} for entry, arrival in adopted],
        )


def _write_deliveries(work: Work, batch: Batch) -> None:
    rows = [
        delivery_row(
            entry.id,
            entry.study_instance_uid,
            destination=name,
            job_id=arrival.job_id,
            priority=arrival.priority,
            size=arrival.data_set_bytes,
            now=work.now,
            terms=arrival.terms.get(name, PLAIN),
        )
        for entry in _touched(batch)
        for name, arrival in entry.added
    ]
    if rows:
        work.connection.execute(insert(deliveries), rows)


def _write_stages(work: Work, batch: Batch) -> None:
    work.insert_missing(
        stages,
        [
            stage_row(entry.id, Stage.ARCHIVE, entry.host, work.now)
            for entry in _touched(batch)
            if entry.archive_added
        ],
    )


def _touched(batch: Batch) -> list[Entry]:
    """The instances of the batch, each once, in the order of their ids."""
    unique = {entry.id: entry for _, entry, _ in batch.judged}
    return [unique[key] for key in sorted(unique)]


def _instance_row(entry: Entry, arrival: Arrival, now: int) -> Mapping[str, object]:
    return {
        "id": entry.id,
        "state": entry.state.value,
        "sop_class_uid": arrival.sop_class_uid,
        "sop_instance_uid": arrival.sop_instance_uid,
        "study_instance_uid": arrival.study_instance_uid,
        "series_instance_uid": arrival.series_instance_uid,
        "transfer_syntax_uid": arrival.transfer_syntax_uid,
        "modality": arrival.modality,
        "data_set_bytes": arrival.data_set_bytes,
        "digest": arrival.digest,
        "calling_ae_title": arrival.calling_ae_title,
        "called_ae_title": arrival.called_ae_title,
        "peer_address": arrival.peer_address,
        "association_id": arrival.association_id,
        "received_at": arrival.received_at_ms,
        "registered_at": now,
        "archive_wanted": entry.archive_wanted,
        "archive_path": "",
        "frames": None,
        "all_deliveries": len(entry.added),
        "open_deliveries": len(entry.added),
        "released_at": None,
        **_file_columns(arrival),
    }


def _file_columns(arrival: Arrival) -> Mapping[str, object]:
    """Where the bytes are."""
    return {
        "spool_id": arrival.spool_id,
        "host": arrival.host,
        "source_path": path_bytes(arrival.source_path),
        "data_set_offset": arrival.data_set_offset,
    }


def _happened(batch: Batch) -> Iterator[Event]:
    """One event a study and verdict, and one for each conflict."""
    counts = Counter(
        (entry.study_instance_uid, arrival.job_id, verdict) for arrival, entry, verdict in batch.judged
    )
    for (study, job_id, verdict), count in counts.items():
        if verdict is not Verdict.KNOWN:
            yield Event(
                EventKind.RECEIVED,
                study_instance_uid=study,
                job_id=job_id,
                detail={"verdict": verdict.value, "instances": count},
            )
    for arrival, entry, verdict in batch.judged:
        if verdict is Verdict.CONFLICT and entry.is_new:
            yield Event(
                EventKind.CONFLICT,
                study_instance_uid=entry.study_instance_uid,
                instance_id=entry.id,
                job_id=arrival.job_id,
                detail={"sop_instance_uid": arrival.sop_instance_uid, "spool_id": arrival.spool_id},
            )
