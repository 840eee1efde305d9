"""What waits for workers, by the queue that wakes them: the work itself, whatever became of the wake-ups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select

from dicomrelay.ledger.engine import Work
from dicomrelay.ledger.schema import DUE, instances, stages, studies, transfers
from dicomrelay.ledger.values import Priority, Stage

# Counting more costs time and tells a person nothing more.
MOST: Final = 100_000
_LATEST: Final = 500


@dataclass(frozen=True, slots=True)
class WorkWaiting:
    """Of one queue.

    Attributes
    ----------
    queue : str
        "group", "forward.urgent", … as `runtime.queue_names.Queue`.
    units : str
        What `count` counts: studies, transfers, instances.
    count : int
        100,000 at most, of instances.
    oldest_ms : int, optional
        For how long the oldest of it has been there; None when nothing is.
    """

    queue: str
    units: str
    count: int
    oldest_ms: int | None


def work_waiting(work: Work) -> tuple[WorkWaiting, ...]:
    """See `Rates.waiting`."""

    def of(queue: str, units: str, count: int, oldest: int | None) -> WorkWaiting:
        return WorkWaiting(queue, units, count, None if oldest is None else max(0, work.now - oldest))

    waiting_studies = work.connection.execute(
        select(func.count(), func.min(studies.c.ungrouped_at)).where(studies.c.ungrouped_at.is_not(None))
    ).one()
    by_priority = {
        name: (count, oldest)
        for name, count, oldest in work.connection.execute(
            select(transfers.c.priority, func.count(), func.min(transfers.c.created_at))
            .where(DUE)
            .group_by(transfers.c.priority)
        )
    }
    found = [of("group", "studies", *waiting_studies)]
    found += [
        of(f"forward.{each.value}", "transfers", *by_priority.get(each.value, (0, None))) for each in Priority
    ]
    for stage in Stage:
        mine = select(stages.c.due_at).where(stages.c.stage == stage.value, DUE)
        some = mine.limit(MOST).subquery()
        count = work.connection.execute(select(func.count()).select_from(some)).scalar_one()
        found.append(of(stage.value, "instances", count, _oldest(work, stage)))
    return tuple(found)


def _oldest(work: Work, stage: Stage) -> int | None:
    """Since when there is work for a stage."""
    mine = stages.c.stage == stage.value, DUE
    # When the first of it could have been done; what is leased or to be tried again has its time ahead.
    first: int | None = work.connection.execute(select(func.min(stages.c.due_at)).where(*mine)).scalar_one()
    # So of those whose time is latest, in the order of the index: when they were registered.
    latest = (
        select(stages.c.instance_id)
        .where(*mine)
        .order_by(stages.c.host.desc(), stages.c.due_at.desc())
        .limit(_LATEST)
        .subquery()
    )
    registered: int | None = work.connection.execute(
        select(func.min(instances.c.registered_at)).where(instances.c.id.in_(select(latest.c.instance_id)))
    ).scalar_one()
    return min((each for each in (first, registered) if each is not None), default=None)
