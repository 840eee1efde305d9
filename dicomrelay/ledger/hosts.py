"""The hosts at a ledger, by what they say of themselves and by what lies in their spools (docs/design/hosts.md)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from dicomrelay.ledger.engine import Work
from dicomrelay.ledger.named_leases import HEARD_MS, SCHEDULER, of_spool, spool_of
from dicomrelay.ledger.schema import named_leases, stages
from dicomrelay.ledger.values import Stage


@dataclass(frozen=True, slots=True)
class HostFound:
    """One of them.

    Attributes
    ----------
    heard_ms_ago : int or None
        When its scheduler said last that it runs; None when it never did.
    only_there : int
        Instances that are to be archived, and are in its spool alone until then.
    """

    spool: str
    heard_ms_ago: int | None
    leads: bool
    only_there: int

    @property
    def is_heard(self) -> bool:
        """Whether it runs, as far as anybody knows."""
        return self.heard_ms_ago is not None and self.heard_ms_ago < HEARD_MS


def hosts(work: Work) -> list[HostFound]:
    """Every host that was heard of, or has something to archive, by name. An index of the work answers."""
    waiting = select(stages.c.host, func.count()).where(
        stages.c.stage == Stage.ARCHIVE.value, stages.c.due_at.is_not(None)
    )
    counted = work.connection.execute(waiting.group_by(stages.c.host)).all()
    only_there: dict[str, int] = {row[0]: row[1] for row in counted}
    rows = {row.name: row for row in work.connection.execute(select(named_leases))}
    leader = rows.get(SCHEDULER)
    heard = {spool: row for name, row in rows.items() if (spool := spool_of(name))}
    return [
        HostFound(
            spool,
            None if spool not in heard else max(0, work.now - (heard[spool].due_at - HEARD_MS)),
            leader is not None
            and leader.due_at > work.now
            and spool in heard
            and rows[of_spool(spool)].owner == leader.owner,
            only_there.get(spool, 0),
        )
        for spool in sorted({*heard, *only_there})
    ]
