"""How many deliveries an instance has and how many of them are open: what decides whether its spool item may go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from sqlalchemy import select, update

from dicomrelay.ledger.engine import Work, chunks
from dicomrelay.ledger.schema import instances


def lock(work: Work, instance_ids: Iterable[str]) -> None:
    """In the order of ids: transfers of one study to two destinations meet on the same rows."""
    for part in chunks(sorted(set(instance_ids))):
        work.connection.execute(
            select(instances.c.id)
            .where(instances.c.id.in_(part))
            .order_by(instances.c.id)
            .with_for_update(key_share=True)
        )


def change(work: Work, instance_ids: Sequence[str], *, open_by: int, all_by: int = 0) -> None:
    """Add to the counts of instances, as often as each is named."""
    by_times: dict[int, list[str]] = {}
    for instance_id, times in sorted(Counter(instance_ids).items()):
        by_times.setdefault(times, []).append(instance_id)
    for times, ids in by_times.items():
        values = {"open_deliveries": instances.c.open_deliveries + times * open_by}
        if all_by:
            values["all_deliveries"] = instances.c.all_deliveries + times * all_by
        for part in chunks(ids):
            work.connection.execute(update(instances).where(instances.c.id.in_(part)).values(values))


def close(work: Work, instance_ids: Sequence[str]) -> None:
    """Deliveries that are over: their instances need the spool item for one less."""
    lock(work, instance_ids)
    change(work, sorted(set(instance_ids)), open_by=-1)
