"""The requests for storage commitment that the archive has taken, and what became of them (docs/design/commitment-scp.md)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, Final

from sqlalchemy import Row, Update, delete, func, select, update

from archive.index.schema import commitments
from dicomrelay.ledger.engine import Database, Work

MAX_PENDING: Final = 10_000


class State(StrEnum):
    """How far a request is."""

    PENDING = "pending"  # its report is due, or was not answered yet
    ANSWERED = "answered"  # the peer has answered the report with Success
    FAILED = "failed"  # given up


class Taken(Enum):
    """What became of a request that came."""

    KEPT = "kept"
    AGAIN = "again"  # it was here before: its report goes out once more
    OTHER = "other"  # its Transaction UID was used for something else
    FULL = "full"  # as many are pending as may be


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """A request as the index has it; `requested_ms` and `age_ms` by the database's clock."""

    id: int
    peer_ae_title: str
    transaction_uid: str
    requested_ms: int
    age_ms: int
    attempts: int
    request: str
    result: str | None


class CommitmentIndex:
    """Keeps them. Every method raises ServiceUnavailable when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(
        self, peer_ae_title: str, transaction_uid: str, request: str, *, due_in_ms: int
    ) -> tuple[Taken, KeptRequest | None]:
        """Keep a request, durable when this returns; the row when it was kept or was here before.

        Parameters
        ----------
        request : str
            What was asked, always written the same way: two are the same when it is.
        due_in_ms : int
            For so long nobody else reports on it.
        """
        return self._database.transact(
            lambda work: _take(work, peer_ae_title, transaction_uid, request, due_in_ms)
        )

    def claim(self, *, limit: int, lease_ms: int) -> list[KeptRequest]:
        """Those whose time it is, the oldest first; for so long nobody else claims them."""
        return self._database.transact(lambda work: _claim(work, limit, lease_ms))

    def resolve(self, number: int, result: str) -> str:
        """Keep what is said of it, unless something was said before; what is kept."""

        def resolved(work: Work) -> str:
            one = commitments.c.id == number
            _execute(
                work, update(commitments).where(one, commitments.c.result.is_(None)).values(result=result)
            )
            kept = work.connection.execute(select(commitments.c.result).where(one)).scalar_one_or_none()
            return result if kept is None else str(kept)

        return self._database.transact(resolved)

    def later(self, number: int, *, due_in_ms: int, attempted: bool) -> None:
        """It is looked at again in so long; `attempted` counts an attempt to report."""

        def put_off(work: Work) -> None:
            values: dict[str, Any] = {"due_ms": work.now + due_in_ms}
            if attempted:
                values["attempts"] = commitments.c.attempts + 1
            pending = commitments.c.state == State.PENDING.value
            _execute(work, update(commitments).where(commitments.c.id == number, pending).values(**values))

        self._database.transact(put_off)

    def end(self, number: int, state: State) -> None:
        """The peer has answered its report, or it is given up."""
        values = {"state": state.value, "due_ms": None}
        self._database.transact(
            lambda work: _execute(
                work, update(commitments).where(commitments.c.id == number).values(**values)
            )
        )

    def prune(self, *, older_than_ms: int) -> int:
        """Forget what is over and was asked so long ago; how many."""

        def pruned(work: Work) -> int:
            old = commitments.c.requested_ms < work.now - older_than_ms
            over = commitments.c.state != State.PENDING.value
            return int(work.connection.execute(delete(commitments).where(over, old)).rowcount)

        return self._database.transact(pruned)

    def counts(self) -> dict[str, int]:
        """How many there are, by state."""
        with self._database.read() as work:
            rows = work.connection.execute(
                select(commitments.c.state, func.count()).group_by(commitments.c.state)
            )
            return {state: count for state, count in rows}  # noqa: C416 - rows are no pairs for mypy


def _take(
    work: Work, peer: str, transaction_uid: str, request: str, due_in_ms: int
) -> tuple[Taken, KeptRequest | None]:
    due_ms = work.now + due_in_ms
    same = (commitments.c.peer_ae_title == peer, commitments.c.transaction_uid == transaction_uid)
    there = work.connection.execute(select(commitments).where(*same)).first()
    if there is None:
        pending = select(func.count()).where(commitments.c.state == State.PENDING.value)
        if work.connection.execute(pending).scalar_one() >= MAX_PENDING:
            return Taken.FULL, None
        row: dict[str, object] = {
            "peer_ae_title": peer,
            "transaction_uid": transaction_uid,
            "requested_ms": work.now,
            "state": State.PENDING.value,
            "attempts": 0,
            "due_ms": due_ms,
            "request": request,
        }
        work.insert_missing(commitments, [row])
        there = work.connection.execute(select(commitments).where(*same)).one()
        if there.request == request:
            return Taken.KEPT, _kept(there, work.now)
    if there.request != request:
        return Taken.OTHER, None
    again = {"state": State.PENDING.value, "attempts": 0, "due_ms": due_ms}
    _execute(work, update(commitments).where(*same).values(**again))
    return Taken.AGAIN, _kept(there, work.now)


def _claim(work: Work, limit: int, lease_ms: int) -> list[KeptRequest]:
    due = (
        select(commitments)
        .where(commitments.c.state == State.PENDING.value, commitments.c.due_ms <= work.now)
        .order_by(commitments.c.due_ms, commitments.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)  # SQLite has one writer anyway
    )
    rows = work.connection.execute(due).all()
    if rows:
        ids = [row.id for row in rows]
        leased = {"due_ms": work.now + lease_ms}
        _execute(work, update(commitments).where(commitments.c.id.in_(ids)).values(**leased))
    return [_kept(row, work.now) for row in rows]


def _execute(work: Work, statement: Update) -> None:
    work.connection.execute(statement)


def _kept(row: Row[*tuple[Any, ...]], now_ms: int) -> KeptRequest:
    return KeptRequest(
        id=row.id,
        peer_ae_title=row.peer_ae_title,
        transaction_uid=row.transaction_uid,
        requested_ms=row.requested_ms,
        age_ms=max(0, now_ms - row.requested_ms),
        attempts=row.attempts,
        request=row.request,
        result=row.result,
    )
