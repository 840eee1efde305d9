"""Replay: instances that are here are sent once more, as a job of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Select, insert, select, update

from dicomrelay.ledger import delivery_counts, events, evidence_chain, jobs, subjects, waits
from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.events import Event, EventKind
from dicomrelay.ledger.evidence_chain import Fact, FactKind
from dicomrelay.ledger.new_rows import delivery_row
from dicomrelay.ledger.schema import deliveries, instances, job_items, studies
from dicomrelay.ledger.values import DeliveryState, InstanceState
from dicomrelay.ledger.values_decisions import Terms
from dicomrelay.ledger.values_operations import Replayed, ReplayOrder, SubjectKind

KIND: Final = "replay"
INSTANCES_AT_ONCE: Final = 5_000
# A delivery in one of these is on its way, or waits for a person.
_OPEN: Final = frozenset({DeliveryState.PENDING, DeliveryState.FAILED, DeliveryState.REFUSED})


@dataclass(frozen=True, slots=True)
class Plan:
    """What a replay is to look at: instance ids in order, and where to.

    Attributes
    ----------
    archived : tuple of str
        SOP Instance UIDs of those whose bytes only the archive can have.
    """

    instance_ids: tuple[str, ...]
    destinations: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    archived: tuple[str, ...] = ()


@dataclass(slots=True)
class Portion:
    """What a part of the instances came to."""

    rows: list[dict[str, object]] = field(default_factory=list)
    bytes: int = 0
    delivered_before: int = 0
    open: int = 0
    gone: list[str] = field(default_factory=list)


def plan(work: Work, order: ReplayOrder) -> Plan:
    """The kept instances of the subject, and the destinations: those that were named, else those that it had."""
    found: dict[str, str] = {}
    released: set[str] = set()
    for query in _wanted(order):
        for row in work.connection.execute(query):
            found[row.id] = row.sop_instance_uid
            if row.released_at is not None:
                released.add(row.id)
    chosen = order.sop_instance_uids
    ids = sorted(key for key, uid in found.items() if not chosen or uid in chosen)
    names = order.destinations or tuple(
        work.connection.execute(
            select(deliveries.c.destination)
            .where(*subjects.of_deliveries(order.subject, ""))
            .distinct()
            .order_by(deliveries.c.destination)
        ).scalars()
    )
    archived = tuple(sorted(found[key] for key in ids if key in released))
    return Plan(tuple(ids), tuple(names), tuple(sorted(chosen - set(found.values()))), archived)


def _wanted(order: ReplayOrder) -> list[Select[Any]]:
    """What belongs to the subject: the instances of a study; of a job what it submitted, and what it delivers."""
    columns = instances.c
    kept = select(columns.id, columns.sop_instance_uid, columns.released_at).where(
        columns.state == InstanceState.KEPT.value
    )
    subject = order.subject
    if subject.kind is SubjectKind.STUDY:
        return [kept.where(instances.c.study_instance_uid == subject.id)]
    delivered = select(deliveries.c.instance_id).where(*subjects.of_deliveries(subject, ""))
    queries: list[Select[Any]] = [kept.where(instances.c.id.in_(delivered))]
    if subject.kind is SubjectKind.JOB:
        submitted = select(job_items.c.instance_id).where(job_items.c.job_id == subject.id)
        queries.append(kept.where(instances.c.id.in_(submitted)))
    return queries


def queue(
    work: Work,
    order: ReplayOrder,
    instance_ids: Sequence[str],
    names: Sequence[str],
    *,
    gone: Set[str] = frozenset(),
) -> Portion:
    """Deliveries for a part of the instances, of those that are to be sent and whose bytes are here.

    Parameters
    ----------
    gone : set of str
        SOP Instance UIDs of those that the archive does not have; in the spool they may be again by now.
    """
    portion = Portion()
    rows = work.connection.execute(
        select(instances)
        .where(instances.c.id.in_(instance_ids))
        .order_by(instances.c.id)
        .with_for_update(key_share=True)
    ).all()
    before = _deliveries_before(work, instance_ids, names)
    edits = _edits_before(work, instance_ids, names)
    for row in rows:
        if row.released_at is not None and (not row.archive_path or row.sop_instance_uid in gone):
            portion.gone.append(row.sop_instance_uid)
            continue
        for name in names:
            terms = Terms(edits.get((row.id, name), ""))
            _decide(portion, order, row, name, before.get((row.id, name), set()), work.now, terms)
    if portion.rows:
        _write(work, order, portion)
    return portion


def _decide(
    portion: Portion,
    order: ReplayOrder,
    row: AnyRow,
    name: str,
    states: set[DeliveryState],
    now: int,
    terms: Terms,
) -> None:
    """One instance for one destination; the table is in docs/design/operations.md."""
    if states & _OPEN:
        portion.open += 1
    elif any(state.is_delivered for state in states) and not order.again:
        portion.delivered_before += 1
    else:
        portion.bytes += row.data_set_bytes
        portion.rows.append(
            delivery_row(
                row.id,
                row.study_instance_uid,
                destination=name,
                job_id=order.job_id,
                priority=order.priority,
                size=row.data_set_bytes,
                now=now,
                terms=terms,
            )
        )


def _deliveries_before(
    work: Work, instance_ids: Sequence[str], names: Sequence[str]
) -> dict[tuple[str, str], set[DeliveryState]]:
    found: dict[tuple[str, str], set[DeliveryState]] = {}
    columns = deliveries.c
    rows = work.connection.execute(
        select(columns.instance_id, columns.destination, columns.state).where(
            columns.instance_id.in_(instance_ids), columns.destination.in_(names)
        )
    )
    for instance_id, name, state in rows:
        found.setdefault((instance_id, name), set()).add(DeliveryState(state))
    return found


def _edits_before(
    work: Work, instance_ids: Sequence[str], names: Sequence[str]
) -> dict[tuple[str, str], str]:
    """By which profile a destination was to get an instance: what is sent again is changed as it was the last time."""
    columns = deliveries.c
    rows = work.connection.execute(
        select(columns.instance_id, columns.destination, columns.edits)
        .where(columns.instance_id.in_(instance_ids), columns.destination.in_(names), columns.edits != "")
        .order_by(columns.created_at)
    )
    return {(instance_id, name): edits for instance_id, name, edits in rows}


def _write(work: Work, order: ReplayOrder, portion: Portion) -> None:
    """The job, its deliveries, and what a crash from here on needs: studies that will be looked at for transfers."""
    jobs.create_empty(work, order.job_id, kind=KIND, detail=order.subject.id)
    work.connection.execute(insert(deliveries), portion.rows)
    delivery_counts.change(work, [str(row["instance_id"]) for row in portion.rows], open_by=1, all_by=1)
    jobs.add_queued(work, order.job_id, len({row["instance_id"] for row in portion.rows}))
    touched = sorted({str(row["study_instance_uid"]) for row in portion.rows})
    waits.locked(work, touched)
    for uids in chunks(touched):
        work.connection.execute(
            update(studies)
            .where(studies.c.study_instance_uid.in_(uids), studies.c.ungrouped_at.is_(None))
            .values(ungrouped_at=work.now)
        )
    told = Counter((str(row["study_instance_uid"]), str(row["destination"])) for row in portion.rows)
    events.record(
        work,
        [
            Event(
                EventKind.REPLAYED, study, destination=name, job_id=order.job_id, detail={"instances": count}
            )
            for (study, name), count in sorted(told.items())
        ],
    )
    evidence_chain.append(
        work,
        [
            # One for each delivery that is wanted now: a report of the job knows them before anything was sent.
            Fact(
                FactKind.REPLAYED,
                str(row["study_instance_uid"]),
                instance_id=str(row["instance_id"]),
                destination=str(row["destination"]),
                job_id=order.job_id,
            )
            for row in portion.rows
        ],
    )


def outcome(order: ReplayOrder, made: Plan, portions: Sequence[Portion]) -> Replayed:
    """All portions together."""
    return Replayed(
        job_id=order.job_id if any(portion.rows for portion in portions) else "",
        destinations=made.destinations,
        queued=sum(len(portion.rows) for portion in portions),
        bytes=sum(portion.bytes for portion in portions),
        delivered_before=sum(portion.delivered_before for portion in portions),
        open=sum(portion.open for portion in portions),
        gone=tuple(uid for portion in portions for uid in portion.gone),
        unknown=made.unknown,
    )
