"""What is over, and how long it is kept: pruned in batches, and never a row of what is open (docs/design/retention.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import case, delete, exists, func, select, update

from dicomrelay.ledger import decisions, evidence_chain, orders, pulls_orders
from dicomrelay.ledger.engine import Database, Work, chunks
from dicomrelay.ledger.schema import (
    OF_A_JOB,
    OVER,
    UNGROUPED,
    deliveries,
    events,
    instances,
    job_items,
    jobs,
    standing_orders,
    studies,
    transfers,
    verifications,
)
from dicomrelay.ledger.values_operations import OrderKind


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows of each kind went in one call."""

    transfers: int = 0
    deliveries: int = 0
    jobs: int = 0
    orders: int = 0
    events: int = 0
    evidence: int = 0
    pulls: int = 0
    decisions: int = 0

    @property
    def any(self) -> bool:
        """Whether there may be more."""
        # Deliveries go with their transfers.
        return any(
            (
                self.transfers,
                self.jobs,
                self.orders,
                self.events,
                self.evidence,
                self.pulls,
                self.decisions,
            )
        )


class Retention:
    """One transaction a call, over at most `limit` rows, transfers, jobs or studies; call again while some go.

    Ages are in milliseconds, by the database's clock. Raises ServiceUnavailable as `Ledger` does.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def prune_transfers(self, *, age_ms: int, limit: int) -> Pruned:
        """Transfers that ended so long ago, with their deliveries, where every instance has left the spool."""
        return self._database.transact(lambda work: _transfers(work, work.now - age_ms, limit))

    def prune_jobs(self, *, age_ms: int, limit: int) -> Pruned:
        """Jobs so old of which no delivery and no transfer is left."""
        return self._database.transact(lambda work: Pruned(jobs=_jobs(work, work.now - age_ms, limit)))

    def prune_pulls(self, *, age_ms: int, limit: int) -> Pruned:
        """Pulls that ended so long ago."""
        return self._database.transact(
            lambda work: Pruned(pulls=pulls_orders.prune(work, before=work.now - age_ms, limit=limit))
        )

    def prune_orders(self, *, age_ms: int, limit: int) -> Pruned:
        """What was said so long ago of studies of which no transfer is left; a hold stays until somebody releases it."""
        with self._database.write() as work:
            orders.alone(work)
            return Pruned(orders=_orders(work, work.now - age_ms, limit))

    def prune_events(self, *, age_ms: int, limit: int) -> Pruned:
        """Events so old."""
        with self._database.write() as work:
            old = (
                select(events.c.id).where(events.c.at < work.now - age_ms).order_by(events.c.at).limit(limit)
            )
            ids = list(work.connection.execute(old).scalars())
            for part in chunks(ids):
                work.connection.execute(delete(events).where(events.c.id.in_(part)))
            return Pruned(events=len(ids))

    def prune_evidence(self, *, age_ms: int, limit: int) -> Pruned:
        """Chains of studies of which the last row is so old and nothing is open; a whole chain or nothing of it."""
        return self._database.transact(
            lambda work: Pruned(evidence=evidence_chain.prune(work, before_ms=work.now - age_ms, limit=limit))
        )

    def prune_decisions(self, *, age_ms: int, limit: int) -> Pruned:
        """What rules decided so long ago, but of studies that rules have yet to be asked of."""
        return self._database.transact(
            lambda work: Pruned(decisions=decisions.prune(work, before_ms=work.now - age_ms, limit=limit))
        )


def _transfers(work: Work, before_ms: int, limit: int) -> Pruned:
    still_needed = (
        exists()
        .where(deliveries.c.transfer_id == transfers.c.id, deliveries.c.instance_id == instances.c.id)
        .where(instances.c.released_at.is_(None))
    )
    being_verified = exists().where(
        verifications.c.transfer_id == transfers.c.id, verifications.c.due_at.is_not(None)
    )
    old = (
        select(transfers.c.id)
        .where(OVER, transfers.c.finished_at < before_ms, ~still_needed, ~being_verified)
        .order_by(transfers.c.finished_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = list(work.connection.execute(old).scalars())
    gone = 0
    for part in chunks(ids):
        gone += _forget(work, part)
    return Pruned(transfers=len(ids), deliveries=gone)


def _forget(work: Work, transfer_ids: Sequence[str]) -> int:
    mine = deliveries.c.transfer_id.in_(transfer_ids)
    touched = list(
        work.connection.execute(
            select(instances.c.id)
            .where(instances.c.id.in_(select(deliveries.c.instance_id).where(mine)))
            .order_by(instances.c.id)
            .with_for_update(key_share=True)
        ).scalars()
    )
    work.connection.execute(delete(verifications).where(verifications.c.transfer_id.in_(transfer_ids)))
    gone = work.connection.execute(delete(deliveries).where(mine)).rowcount
    work.connection.execute(delete(transfers).where(transfers.c.id.in_(transfer_ids)))
    left = (
        select(func.count())
        .where(deliveries.c.instance_id == instances.c.id, deliveries.c.state != "cancelled")
        .scalar_subquery()
    )
    for part in chunks(touched):
        work.connection.execute(update(instances).where(instances.c.id.in_(part)).values(all_deliveries=left))
    return gone


def _orders(work: Work, before_ms: int, limit: int) -> int:
    columns = standing_orders.c
    old = (
        select(columns.subject)
        .where(
            exists().where(studies.c.study_instance_uid == columns.subject),
            ~exists().where(transfers.c.study_instance_uid == columns.subject),
            ~exists().where(deliveries.c.study_instance_uid == columns.subject, UNGROUPED),
        )
        .group_by(columns.subject)
        .having(
            func.max(columns.at) < before_ms,
            func.sum(case((columns.kind == OrderKind.HOLD.value, 1), else_=0)) == 0,
        )
        .limit(limit)
    )
    subjects = list(work.connection.execute(old).scalars())
    for part in chunks(subjects):
        work.connection.execute(delete(standing_orders).where(columns.subject.in_(part)))
    return len(subjects)


def _jobs(work: Work, before_ms: int, limit: int) -> int:
    old = (
        select(jobs.c.id)
        .where(
            jobs.c.created_at < before_ms,
            # What was announced and never came is not over either, until its bytes are registered.
            jobs.c.registered >= jobs.c.expected,
            # The words of the partial indexes: without them each old job reads all deliveries that there are.
            ~exists().where(deliveries.c.job_id == jobs.c.id, OF_A_JOB),
            ~exists().where(transfers.c.job_id == jobs.c.id, OF_A_JOB),
        )
        .order_by(jobs.c.created_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = list(work.connection.execute(old).scalars())
    for part in chunks(ids):
        work.connection.execute(delete(job_items).where(job_items.c.job_id.in_(part)))
        work.connection.execute(delete(standing_orders).where(standing_orders.c.subject.in_(part)))
        work.connection.execute(delete(jobs).where(jobs.c.id.in_(part)))
    return len(ids)
