"""Live leases by who holds them, and the end of those whose holder is known to be dead.

A lease that is ended is like one whose time is over: whoever claims next raises the fence.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, select, update

from dicomrelay.ledger.engine import Database, Work
from dicomrelay.ledger.pulls_schema import pull_steps
from dicomrelay.ledger.schema import RUNNING, stages, transfers, verifications
from dicomrelay.ledger.stages import stage_host
from dicomrelay.ledger.values import Stage
from dicomrelay.ledger.values_verification import VerificationState


@dataclass(frozen=True, slots=True)
class Ended:
    """What was taken from dead holders: ids of transfers, verifications and steps of pulls, and how many stages of instances."""

    transfers: tuple[str, ...] = ()
    verifications: tuple[str, ...] = ()
    pull_steps: tuple[str, ...] = ()
    stages: int = 0

    def __bool__(self) -> bool:
        return bool(self.transfers or self.verifications or self.pull_steps or self.stages)


class Leases:
    """One transaction for each kind of lease. Raises ServiceUnavailable as `Ledger` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def owners(self, *, host: str) -> frozenset[str]:
        """Who holds a lease that has not ended.

        Parameters
        ----------
        host : str
            Whose spool: leases on archiving from another one are left out.
        """
        with self._database.read() as work:
            return frozenset(
                owner
                for table, live in _live_of(work.now, host)
                for owner in work.connection.execute(select(table.c.owner).where(live).distinct()).scalars()
            ) - {""}

    def end(self, owners: Collection[str], *, host: str) -> Ended:
        """End the leases of these owners now; what is theirs is due. Fences and attempts stay as they are."""
        if not owners:
            return Ended()
        transfers_, verifications_, pull_steps_, *stages_ = [
            self._end(number, owners, host) for number in range(len(_live_of(0, host)))
        ]
        return Ended(transfers_, verifications_, pull_steps_, sum(map(len, stages_)))

    def _end(self, number: int, owners: Collection[str], host: str) -> tuple[str, ...]:
        def end(work: Work) -> tuple[str, ...]:
            table, live = _live_of(work.now, host)[number]
            return _end(work, table, live & table.c.owner.in_(sorted(owners)))

        return self._database.transact(end)


def _end(work: Work, table: Table, theirs: ColumnElement[bool]) -> tuple[str, ...]:
    key: Any = table.c.instance_id if table is stages else table.c.id
    # Locked in the order of ids, as everybody does.
    rows = select(key).where(theirs).order_by(key).with_for_update(key_share=True)
    ids = tuple(work.connection.execute(rows).scalars())
    if ids:
        work.connection.execute(update(table).where(theirs).values(due_at=work.now))
    return ids


_ASKING: Final = verifications.c.state == VerificationState.ASKING.value


def _live_of(now: int, host: str) -> list[tuple[Table, ColumnElement[bool]]]:
    """The tables with leases, and which of their rows are leased at that time: each by an index of its own."""
    staged = (stages.c.due_at > now) & (stages.c.claim != "")
    return [
        (transfers, RUNNING & (transfers.c.due_at > now)),
        (verifications, _ASKING & (verifications.c.due_at > now)),
        (pull_steps, RUNNING & (pull_steps.c.due_at > now)),
        *(
            (stages, (stages.c.stage == stage.value) & (stages.c.host == stage_host(stage, host)) & staged)
            for stage in (Stage.ARCHIVE, Stage.FRAMES)
        ),
    ]
