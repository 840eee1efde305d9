"""Jobs: what was submitted together, and how far it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import func, insert, select, update
from sqlalchemy.sql.expression import bindparam

from dicomrelay.errors import LedgerError
from dicomrelay.ledger import summary, waits
from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.schema import (
    OF_A_JOB,
    UNDECIDED,
    deliveries,
    instances,
    job_items,
    jobs,
    stages,
    studies,
    transfers,
)
from dicomrelay.ledger.values import (
    DeliveryState,
    InstanceState,
    JobInstance,
    JobProgress,
    Stage,
    StageState,
    TransferState,
    Verdict,
)
from dicomrelay.ledger.waiting import active, waiting

# A job that the ledger was not told of: its arrivals came first, or the ledger was rebuilt from the spool.
RECOVERED = "recovered"


def create(work: Work, job_id: str, *, kind: str, expected: int) -> None:
    """See `Ledger.create_job`."""
    upsert = work.insert(jobs).values(
        id=job_id, kind=kind, expected=expected, registered=0, created_at=work.now
    )
    work.connection.execute(
        upsert.on_conflict_do_update(index_elements=[jobs.c.id], set_={"kind": kind, "expected": expected})
    )
    _hurry_complete(work, [job_id])


def add_items(work: Work, items: Sequence[tuple[str, str, str, Verdict]]) -> None:
    """Note what each spool item (job, spool id, instance, verdict) turned out to be; the first verdict counts.

    Called by `register` only, which is alone: what is missing now is missing still when it is inserted.
    """
    new = {
        spool_id: (job_id, instance_id, verdict) for job_id, spool_id, instance_id, verdict in reversed(items)
    }
    for part in chunks(sorted(new)):
        known = select(job_items.c.spool_id).where(job_items.c.spool_id.in_(part))
        for spool_id in work.connection.execute(known).scalars():
            del new[spool_id]
    if not new:
        return
    counts = Counter(job_id for job_id, *_ in new.values())
    work.insert_missing(
        jobs,
        [
            {"id": job_id, "kind": RECOVERED, "expected": 0, "registered": 0, "created_at": work.now}
            for job_id in sorted(counts)
        ],
    )
    work.connection.execute(
        insert(job_items),
        [
            {"job_id": job_id, "spool_id": spool_id, "instance_id": instance_id, "verdict": verdict.value}
            for spool_id, (job_id, instance_id, verdict) in new.items()
        ],
    )
    work.connection.execute(
        update(jobs)
        .where(jobs.c.id == bindparam("key"))
        .values(registered=jobs.c.registered + bindparam("more")),
        [{"key": job_id, "more": count} for job_id, count in sorted(counts.items())],
    )
    _hurry_complete(work, sorted(counts))


def create_empty(work: Work, job_id: str, *, kind: str, detail: str) -> None:
    """A job that instances of ours are added to, unless it is there; `detail` is what it was made from."""
    row = {
        "id": job_id,
        "kind": kind,
        "expected": 0,
        "registered": 0,
        "created_at": work.now,
        "detail": detail,
    }
    work.insert_missing(jobs, [row])


def add_queued(work: Work, job_id: str, count: int) -> None:
    """Note instances of a job that were here already; `complete` says when these are all."""
    work.connection.execute(
        update(jobs).where(jobs.c.id == job_id).values(registered=jobs.c.registered + count)
    )


def complete(work: Work, job_id: str) -> None:
    """Nothing is to be added to a job: let it be grouped at once."""
    work.connection.execute(update(jobs).where(jobs.c.id == job_id).values(expected=jobs.c.registered))
    _hurry_complete(work, [job_id])


def _hurry_complete(work: Work, job_ids: Sequence[str]) -> None:
    """Let the studies of jobs that are registered to the last item be grouped at once: nothing is to come."""
    for part in chunks(job_ids):
        complete = list(
            work.connection.execute(
                select(jobs.c.id).where(
                    jobs.c.id.in_(part), jobs.c.expected > 0, jobs.c.registered >= jobs.c.expected
                )
            ).scalars()
        )
        if complete:
            waiting = select(deliveries.c.study_instance_uid).where(
                deliveries.c.job_id.in_(complete), OF_A_JOB, deliveries.c.transfer_id.is_(None)
            )
            uids = sorted({*work.connection.execute(waiting).scalars(), *_undecided(work, complete)})
            waits.locked(work, uids)
            for mine in chunks(uids):
                work.connection.execute(
                    update(studies).where(studies.c.study_instance_uid.in_(mine)).values(ungrouped_at=0)
                )


def _undecided(work: Work, job_ids: Sequence[str]) -> list[str]:
    """Studies of jobs of which rules of series or studies are to be asked yet."""
    query = (
        select(studies.c.study_instance_uid)
        .join(instances, instances.c.study_instance_uid == studies.c.study_instance_uid)
        .join(job_items, job_items.c.instance_id == instances.c.id)
        .where(UNDECIDED, job_items.c.job_id.in_(job_ids))
        .distinct()
    )
    return list(work.connection.execute(query).scalars())


def progress(work: Work, job_id: str, *, with_instances: bool) -> JobProgress:
    """See `Ledger.job_progress`."""
    job = work.connection.execute(select(jobs).where(jobs.c.id == job_id)).one_or_none()
    if job is None:
        raise LedgerError(f"There is no job {job_id}")
    verdicts = {
        Verdict(row.verdict): row.items
        for row in work.connection.execute(
            select(job_items.c.verdict, func.count().label("items"))
            .where(job_items.c.job_id == job_id)
            .group_by(job_items.c.verdict)
        )
    }
    summaries = summary.summarise(work, _studies(work, job_id), job_id=job_id)
    return JobProgress(
        job_id=job_id,
        kind=job.kind,
        created_at_ms=job.created_at,
        expected=job.expected,
        # What a replay queued was here already, and is no item that was submitted.
        registered=sum(verdicts.values()) or job.registered,
        verdicts=verdicts,
        destinations=summary.totals(summaries),
        archived=sum(row.archived for row in summaries),
        studies=summaries,
        instances=_instances(work, job_id) if with_instances else (),
        active=active(work, job_id),
        waiting=waiting(work, job_id=job_id),
        undecided=len(_undecided(work, [job_id])),
    )


def _studies(work: Work, job_id: str) -> list[str]:
    submitted = (
        select(instances.c.study_instance_uid)
        .join(job_items, job_items.c.instance_id == instances.c.id)
        .where(job_items.c.job_id == job_id)
    )
    delivered = select(deliveries.c.study_instance_uid).where(deliveries.c.job_id == job_id, OF_A_JOB)
    return sorted(work.connection.execute(submitted.union(delivered)).scalars())


def _instances(work: Work, job_id: str) -> tuple[JobInstance, ...]:
    rows = work.connection.execute(
        select(
            job_items.c.spool_id,
            job_items.c.verdict,
            instances.c.sop_instance_uid,
            instances.c.study_instance_uid,
            instances.c.data_set_bytes,
            instances.c.state.label("instance_state"),
            stages.c.reason.label("archive_reason"),
            deliveries.c.destination,
            deliveries.c.state,
            deliveries.c.status,
            deliveries.c.reason,
            deliveries.c.attempts,
            deliveries.c.duration_ms,
            transfers.c.state.label("transfer_state"),
            transfers.c.reason.label("transfer_reason"),
        )
        .join(instances, instances.c.id == job_items.c.instance_id)
        .outerjoin(
            deliveries,
            (deliveries.c.instance_id == job_items.c.instance_id)
            & (deliveries.c.job_id == job_items.c.job_id),
        )
        .outerjoin(transfers, transfers.c.id == deliveries.c.transfer_id)
        .outerjoin(
            stages,
            (stages.c.instance_id == job_items.c.instance_id)
            & (stages.c.stage == Stage.ARCHIVE.value)
            & (stages.c.state == StageState.NEEDS_ATTENTION.value),
        )
        .where(job_items.c.job_id == job_id)
        .order_by(job_items.c.spool_id, deliveries.c.destination)
    )
    return tuple(_instance(row) for row in rows)


def _instance(row: AnyRow) -> JobInstance:
    state = DeliveryState(row.state) if row.state else None
    reason = row.reason or ""
    if state in (DeliveryState.PENDING, DeliveryState.FAILED):
        # It has no answer of its own, or an older one: what stopped the whole transfer is why.
        reason = row.transfer_reason or reason
    return JobInstance(
        spool_id=row.spool_id,
        sop_instance_uid=row.sop_instance_uid,
        study_instance_uid=row.study_instance_uid,
        destination=row.destination or "",
        state=state,
        gave_up=row.transfer_state == TransferState.NEEDS_ATTENTION.value
        and state is not None
        and not state.is_final,
        held=row.transfer_state == TransferState.HELD.value and state is not None and not state.is_final,
        verdict=Verdict(row.verdict),
        status=row.status,
        reason=reason,
        bytes=row.data_set_bytes,
        attempts=row.attempts or 0,
        duration_ms=row.duration_ms or 0,
        set_aside=row.instance_state == InstanceState.SET_ASIDE.value,
        archive_problem=row.archive_reason or "",
    )
