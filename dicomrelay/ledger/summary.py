"""Studies in figures, a fixed number of statements however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from sqlalchemy import Select, case, distinct, func, select

from dicomrelay.ledger.engine import Work, chunks
from dicomrelay.ledger.schema import deliveries, instances, job_items, studies, transfers
from dicomrelay.ledger.values import (
    DeliveryState,
    DestinationSummary,
    InstanceState,
    StudySummary,
    TransferState,
)

_COUNTS = tuple(field.name for field in fields(DestinationSummary) if field.name != "destination")


def newest(work: Work, *, limit: int, study_instance_uid: str | None) -> tuple[StudySummary, ...]:
    """See `Ledger.studies`."""
    query = (
        select(studies.c.study_instance_uid)
        .order_by(studies.c.last_received_at.desc(), studies.c.study_instance_uid)
        .limit(limit)
    )
    if study_instance_uid is not None:
        query = query.where(studies.c.study_instance_uid == study_instance_uid)
    return summarise(work, list(work.connection.execute(query).scalars()), job_id=None)


def summarise(work: Work, study_uids: Sequence[str], *, job_id: str | None) -> tuple[StudySummary, ...]:
    """The studies in the order given; with a job, only its instances and its deliveries are counted."""
    found: dict[str, StudySummary] = {}
    for part in chunks(study_uids):
        by_study = _deliveries(work, part, job_id)
        for row in work.connection.execute(_instances(part, job_id)):
            found[row.study_instance_uid] = StudySummary(
                study_instance_uid=row.study_instance_uid,
                first_received_at_ms=row.first_received_at,
                last_received_at_ms=row.last_received_at,
                instances=row.kept,
                set_aside=row.set_aside,
                series=row.series,
                bytes=int(row.bytes),
                archived=row.archived,
                framed=row.framed,
                frames=int(row.frames),
                destinations=by_study.get(row.study_instance_uid, ()),
            )
    return tuple(found[uid] for uid in study_uids if uid in found)


def totals(summaries: Sequence[StudySummary]) -> tuple[DestinationSummary, ...]:
    """Each destination over all the studies, by name."""
    sums: dict[str, dict[str, int]] = {}
    for study in summaries:
        for row in study.destinations:
            counts = sums.setdefault(row.destination, dict.fromkeys(_COUNTS, 0))
            for name in _COUNTS:
                counts[name] += getattr(row, name)
    return tuple(DestinationSummary(name, **counts) for name, counts in sorted(sums.items()))


def _instances(study_uids: Sequence[str], job_id: str | None) -> Select[tuple[object, ...]]:
    kept = instances.c.state == InstanceState.KEPT.value
    query: Select[tuple[object, ...]] = (
        select(
            studies.c.study_instance_uid,
            studies.c.first_received_at,
            studies.c.last_received_at,
            func.sum(case((kept, 1), else_=0)).label("kept"),
            func.sum(case((kept, 0), else_=1)).label("set_aside"),
            func.count(distinct(instances.c.series_instance_uid)).label("series"),
            func.sum(case((kept, instances.c.data_set_bytes), else_=0)).label("bytes"),
            func.sum(case((instances.c.archive_path != "", 1), else_=0)).label("archived"),
            func.count(instances.c.frames).label("framed"),
            func.coalesce(func.sum(instances.c.frames), 0).label("frames"),
        )
        .join(instances, instances.c.study_instance_uid == studies.c.study_instance_uid)
        .where(studies.c.study_instance_uid.in_(study_uids))
        .group_by(studies.c.study_instance_uid, studies.c.first_received_at, studies.c.last_received_at)
    )
    if job_id is not None:
        members = select(job_items.c.instance_id).where(job_items.c.job_id == job_id)
        query = query.where(instances.c.id.in_(members))
    return query


def _deliveries(
    work: Work, study_uids: Sequence[str], job_id: str | None
) -> dict[str, tuple[DestinationSummary, ...]]:
    given_up = case((transfers.c.state == TransferState.NEEDS_ATTENTION.value, 1), else_=0)
    query = (
        select(
            deliveries.c.study_instance_uid,
            deliveries.c.destination,
            deliveries.c.state,
            given_up.label("given_up"),
            func.count().label("instances"),
            func.sum(deliveries.c.bytes).label("bytes"),
        )
        .outerjoin(transfers, transfers.c.id == deliveries.c.transfer_id)
        .where(deliveries.c.study_instance_uid.in_(study_uids))
        .group_by(deliveries.c.study_instance_uid, deliveries.c.destination, deliveries.c.state, given_up)
    )
    if job_id is not None:
        query = query.where(deliveries.c.job_id == job_id)
    sums: dict[str, dict[str, dict[str, int]]] = {}
    for row in work.connection.execute(query):
        by_name = sums.setdefault(row.study_instance_uid, {})
        counts = by_name.setdefault(row.destination, dict.fromkeys(_COUNTS, 0))
        _add(counts, DeliveryState(row.state), bool(row.given_up), row.instances, int(row.bytes))
    return {
        uid: tuple(DestinationSummary(name, **counts) for name, counts in sorted(by_name.items()))
        for uid, by_name in sums.items()
    }


def _add(counts: dict[str, int], state: DeliveryState, given_up: bool, number: int, size: int) -> None:
    counts["bytes"] += size
    if state.is_delivered:
        counts["delivered"] += number
        counts["delivered_bytes"] += size
        if state is DeliveryState.WARNING:
            counts["warnings"] += number
    elif state is DeliveryState.REFUSED:
        counts["refused"] += number
    elif given_up:
        counts["gave_up"] += number
    elif state is DeliveryState.FAILED:
        counts["failed"] += number
    else:
        counts["pending"] += number
