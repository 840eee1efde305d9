"""Studies in figures, a fixed number of statements however many there are."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, case, func, or_, select

from dicomrelay.ledger import tallies
from dicomrelay.ledger.engine import Work, chunks
from dicomrelay.ledger.schema import OF_A_JOB, deliveries, instances, job_items, studies
from dicomrelay.ledger.values import DestinationSummary, InstanceState, StudySummary

_OF_SERIES = ("instances", "set_aside", "bytes", "archived", "framed", "frames")


def newest(
    work: Work,
    *,
    limit: int,
    study_instance_uid: str | None,
    beginning: str = "",
    after: tuple[int, str] | None = None,
) -> tuple[StudySummary, ...]:
    """See `Ledger.studies`."""
    at, uid = studies.c.last_received_at, studies.c.study_instance_uid
    query = select(uid).order_by(at.desc(), uid).limit(limit)
    if study_instance_uid is not None:
        query = query.where(uid == study_instance_uid)
    if beginning:
        query = query.where(uid.startswith(beginning, autoescape=True))
    if after is not None:
        query = query.where(or_(at < after[0], and_(at == after[0], uid > after[1])))
    return summarise(work, list(work.connection.execute(query).scalars()), job_id=None)


def summarise(work: Work, study_uids: Sequence[str], *, job_id: str | None) -> tuple[StudySummary, ...]:
    """The studies in the order given; with a job, only its instances and its deliveries are counted."""
    found: dict[str, StudySummary] = {}
    for part in chunks(study_uids):
        by_study = tallies.by_study(work, part, job_id=job_id)
        counts = _instances(work, part, job_id)
        times = work.connection.execute(
            select(
                studies.c.study_instance_uid, studies.c.first_received_at, studies.c.last_received_at
            ).where(studies.c.study_instance_uid.in_(part))
        )
        for uid, first, last in times:
            if uid in counts:
                found[uid] = StudySummary(
                    study_instance_uid=uid,
                    first_received_at_ms=first,
                    last_received_at_ms=last,
                    destinations=by_study.get(uid, ()),
                    **counts[uid],
                )
    return tuple(found[uid] for uid in study_uids if uid in found)


def totals(summaries: Sequence[StudySummary]) -> tuple[DestinationSummary, ...]:
    """Each destination over all the studies, by name."""
    sums: dict[str, dict[str, int]] = {}
    for study in summaries:
        for row in study.destinations:
            counts = sums.setdefault(row.destination, dict.fromkeys(tallies.COUNTS, 0))
            for name in tallies.COUNTS:
                counts[name] += getattr(row, name)
    return tuple(DestinationSummary(name, **counts) for name, counts in sorted(sums.items()))


def _instances(work: Work, study_uids: Sequence[str], job_id: str | None) -> dict[str, dict[str, int]]:
    """What there is of each study, added up from its series: in the order of an index, so that nothing is sorted."""
    kept = instances.c.state == InstanceState.KEPT.value
    query = (
        select(
            instances.c.study_instance_uid,
            func.sum(case((kept, 1), else_=0)).label("instances"),
            func.sum(case((kept, 0), else_=1)).label("set_aside"),
            func.sum(case((kept, instances.c.data_set_bytes), else_=0)).label("bytes"),
            func.sum(case((instances.c.archive_path != "", 1), else_=0)).label("archived"),
            func.count(instances.c.frames).label("framed"),
            func.coalesce(func.sum(instances.c.frames), 0).label("frames"),
        )
        .where(instances.c.study_instance_uid.in_(study_uids))
        .group_by(instances.c.study_instance_uid, instances.c.series_instance_uid)
    )
    if job_id is not None:
        submitted = select(job_items.c.instance_id).where(job_items.c.job_id == job_id)
        replayed = select(deliveries.c.instance_id).where(deliveries.c.job_id == job_id, OF_A_JOB)
        query = query.where(instances.c.id.in_(submitted.union(replayed)))
    found: dict[str, dict[str, int]] = {}
    for uid, *counts in work.connection.execute(query):
        study = found.setdefault(uid, dict.fromkeys(("series", *_OF_SERIES), 0))
        study["series"] += 1
        for name, count in zip(_OF_SERIES, counts, strict=True):
            study[name] += int(count)
    return found
