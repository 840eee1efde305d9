"""What a person has still to decide about: what must stay though every destination has it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import select, union

from dicomrelay.ledger.engine import Work, chunks
from dicomrelay.ledger.schema import deliveries, instances, standing_orders
from dicomrelay.ledger.values import InstanceState
from dicomrelay.ledger.values_operations import OrderKind


def in_conflict(work: Work, sop_instance_uids: Sequence[str]) -> set[str]:
    """Of these SOP Instance UIDs those under which other bytes came, which are set aside until somebody decides."""
    uid = instances.c.sop_instance_uid
    is_aside = instances.c.state == InstanceState.SET_ASIDE.value
    return {
        found
        for part in chunks(sop_instance_uids)
        for found in work.connection.execute(select(uid).where(uid.in_(part), is_aside)).scalars()
    }


def held(work: Work, sop_instance_uids: Sequence[str]) -> set[str]:
    """Of these SOP Instance UIDs those whose study, or a job that was to send them, has a standing hold for any destination."""
    is_hold = standing_orders.c.kind == OrderKind.HOLD.value
    if work.connection.execute(select(standing_orders.c.subject).where(is_hold).limit(1)).first() is None:
        return set()
    uid = instances.c.sop_instance_uid
    by_subject: dict[str, set[str]] = defaultdict(set)
    for part in chunks(sop_instance_uids):
        of_study = select(uid, instances.c.study_instance_uid.label("subject")).where(uid.in_(part))
        of_jobs = (
            select(uid, deliveries.c.job_id.label("subject"))
            .join(deliveries, deliveries.c.instance_id == instances.c.id)
            .where(uid.in_(part), deliveries.c.job_id != "")
        )
        for row in work.connection.execute(union(of_study, of_jobs)):
            by_subject[row.subject].add(row.sop_instance_uid)
    found: set[str] = set()
    for part in chunks(sorted(by_subject)):
        query = select(standing_orders.c.subject).where(standing_orders.c.subject.in_(part), is_hold)
        found.update(*(by_subject[subject] for subject in work.connection.execute(query).scalars()))
    return found
