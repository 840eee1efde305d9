"""Leases that have a name: who leads, and which hosts are there (docs/design/hosts.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, select, update

from dicomrelay.ledger.engine import Database, Work
from dicomrelay.ledger.schema import named_leases

SCHEDULER: Final = "scheduler"
# A scheduler that said nothing for so long does not run, or cannot reach the ledger.
HEARD_MS: Final = 30_000
# Who is cut off, or stands still, in the midst of its question keeps the row no longer than this from who asks next.
_IDLE_MS: Final = 5_000
_SPOOL: Final = "spool/"
_COLUMNS: Final = named_leases.c


def of_spool(name: str) -> str:
    """The name of the lease by which a spool's scheduler says that it runs."""
    return f"{_SPOOL}{name}"


def spool_of(name: str) -> str:
    """Whose that lease is; "" when it is none of a spool's."""
    return name.removeprefix(_SPOOL) if name.startswith(_SPOOL) else ""


@dataclass(frozen=True, slots=True)
class NamedLease:
    """One of them.

    Attributes
    ----------
    left_ms : int
        How long it is held yet; less than 0 when it is over, and nobody has taken it.
    held_ms : int
        For how long this owner has had it.
    """

    name: str
    owner: str
    fence: int
    left_ms: int
    held_ms: int

    @property
    def spool(self) -> str:
        """Whose scheduler it is; "" when it is none of a spool's."""
        return spool_of(self.name)


def _alive(_owner: str) -> bool:
    """Nobody is known to be dead."""
    return False


class NamedLeases:
    """One transaction a call. Raises ServiceUnavailable as `Ledger` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(
        self, name: str, *, owner: str, lease_ms: int, is_gone: Callable[[str], bool] = _alive
    ) -> int | None:
        """Take it or hold it longer, for `lease_ms` from now by the database's clock.

        Parameters
        ----------
        is_gone : callable
            Whether an owner is known to be dead: then nobody waits for the end of its lease.

        Returns
        -------
        int or None
            The fence: raised whenever the owner is another. None while somebody else has it.
        """

        def take(work: Work) -> int | None:
            work.end_when_idle(_IDLE_MS)
            free = {"name": name, "owner": "", "fence": 0, "due_at": 0, "taken_at": work.now}
            work.insert_missing(named_leases, [free])
            row = work.connection.execute(
                select(named_leases).where(_COLUMNS.name == name).with_for_update()
            ).one()
            is_mine = row.owner == owner
            if not is_mine and row.due_at > work.now and not is_gone(row.owner):
                return None
            fence = int(row.fence) + (not is_mine)
            changed = {} if is_mine else {"owner": owner, "fence": fence, "taken_at": work.now}
            work.connection.execute(
                update(named_leases)
                .where(_COLUMNS.name == name)
                .values(due_at=work.now + lease_ms, **changed)
            )
            return fence

        return self._database.transact(take)

    def give_up(self, name: str, *, owner: str) -> bool:
        """Let it go at once; False when somebody else has it."""

        def give_up(work: Work) -> bool:
            mine = (_COLUMNS.name == name) & (_COLUMNS.owner == owner)
            return bool(work.connection.execute(update(named_leases).where(mine).values(due_at=0)).rowcount)

        return self._database.transact(give_up)

    def forget(self, name: str) -> bool:
        """Remove one that is over; False when there is none, or it is held."""

        def forget(work: Work) -> bool:
            over = (_COLUMNS.name == name) & (_COLUMNS.due_at <= work.now)
            return bool(work.connection.execute(delete(named_leases).where(over)).rowcount)

        return self._database.transact(forget)

    def all(self) -> list[NamedLease]:
        """Every one, by name."""
        with self._database.read() as work:
            rows = work.connection.execute(select(named_leases).order_by(_COLUMNS.name)).all()
            return [
                NamedLease(row.name, row.owner, row.fence, row.due_at - work.now, work.now - row.taken_at)
                for row in rows
            ]
