"""What of the instances that a source names needs no fetching, by the ledger's word."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, func, or_, select

from dicomrelay.ledger.engine import Work, chunks
from dicomrelay.ledger.schema import KEPT, instances


def here(work: Work, sop_instance_uids: Sequence[str], *, since_ms: int) -> set[str]:
    """See `Pulls.here`."""
    held = or_(
        and_(KEPT, instances.c.released_at.is_(None)),
        instances.c.registered_at >= since_ms,
        # It was still in the spool then, and has gone on since.
        instances.c.released_at >= since_ms,
    )
    found: set[str] = set()
    for part in chunks(sop_instance_uids):
        rows = work.connection.execute(
            select(instances.c.sop_instance_uid).where(instances.c.sop_instance_uid.in_(part), held)
        )
        found.update(rows.scalars())
    return found


def count_here(
    work: Work, study_instance_uids: Sequence[str], *, series_instance_uid: str, archived_only: bool
) -> dict[str, int]:
    """See `Pulls.count_here`."""
    counts: dict[str, int] = {}
    held = or_(instances.c.released_at.is_(None), instances.c.archive_path != "") if archived_only else KEPT
    for part in chunks(study_instance_uids):
        query = (
            select(instances.c.study_instance_uid, func.count())
            .where(instances.c.study_instance_uid.in_(part), KEPT, held)
            .group_by(instances.c.study_instance_uid)
        )
        if series_instance_uid:
            query = query.where(instances.c.series_instance_uid == series_instance_uid)
        counts.update((uid, int(count)) for uid, count in work.connection.execute(query))
    return counts
