"""What every change of repair does beside its own: it locks its instances, and tells what was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import select

from dicomrelay.ledger import events, evidence_chain
from dicomrelay.ledger.engine import Work, chunks
from dicomrelay.ledger.events import Event, EventKind
from dicomrelay.ledger.evidence_chain import Fact, FactKind
from dicomrelay.ledger.schema import instances


def locked(work: Work, instance_ids: Sequence[str]) -> list[str]:
    """Those of the instances that are there, under lock, in the order of their ids."""
    return [
        key
        for part in chunks(sorted(set(instance_ids)))
        for key in work.connection.execute(
            select(instances.c.id)
            .where(instances.c.id.in_(part))
            .order_by(instances.c.id)
            .with_for_update(key_share=True)
        ).scalars()
    ]


def studies_of(work: Work, instance_ids: Sequence[str]) -> dict[str, str]:
    """The study of each of the instances that are there."""
    found: dict[str, str] = {}
    for part in chunks(sorted(set(instance_ids))):
        rows = work.connection.execute(
            select(instances.c.id, instances.c.study_instance_uid).where(instances.c.id.in_(part))
        )
        found.update((row.id, row.study_instance_uid) for row in rows)
    return found


def tell(work: Work, instance_ids: Sequence[str], words: str) -> None:
    """An event and a row of evidence for each instance."""
    of = sorted(studies_of(work, instance_ids).items())
    detail = {"words": words}
    events.record(
        work,
        [
            Event(EventKind.REPAIRED, study_instance_uid=uid, instance_id=key, detail=detail)
            for key, uid in of
        ],
    )
    evidence_chain.append(
        work, [Fact(FactKind.REPAIRED, uid, instance_id=key, detail=detail) for key, uid in of]
    )


def tell_rebuilt(work: Work, instance_ids: Sequence[str], words: str) -> None:
    """An event and a row of evidence for each study: that of each instance is the one of its registration."""
    counts = Counter(studies_of(work, instance_ids).values())
    for uid, count in sorted(counts.items()):
        detail: dict[str, str | int | None] = {"words": words, "instances": count}
        events.record(work, [Event(EventKind.REBUILT, study_instance_uid=uid, detail=detail)])
        evidence_chain.append(work, [Fact(FactKind.REBUILT, uid, detail=detail)])


def tell_studies(work: Work, study_instance_uids: Sequence[str], words: str) -> None:
    """An event and a row of evidence for each study."""
    uids = sorted(set(study_instance_uids))
    detail = {"words": words}
    events.record(work, [Event(EventKind.REPAIRED, study_instance_uid=uid, detail=detail) for uid in uids])
    evidence_chain.append(work, [Fact(FactKind.REPAIRED, uid, detail=detail) for uid in uids])
