"""Messages on their way to other systems: in order for each step and peer, under lease (docs/design/mpps.md)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from sqlalchemy import ColumnElement, and_, insert, select, update

from dicomrelay.ledger.engine import Work
from dicomrelay.ledger.texts import storable
from dicomrelay.scheduling.performed_schema import performed_forwards as forwards
from dicomrelay.scheduling.performed_schema import performed_messages as messages
from dicomrelay.scheduling.performed_schema import performed_steps as steps
from dicomrelay.scheduling.performed_values import ClaimedForward, ForwardState, MessageKind

# What a peer has still to hear.
OPEN: Final = (ForwardState.WAITING.value, ForwardState.NEEDS_ATTENTION.value)


def add(work: Work, sop_instance_uid: str, number: int, destinations: Iterable[str]) -> None:
    """Forward a message of a step that this transaction has locked; due at once where nothing is before it."""
    rows = [
        {
            "sop_instance_uid": sop_instance_uid,
            "number": number,
            "destination": name,
            "state": ForwardState.WAITING.value,
            "due_at": None if _has_open(work, sop_instance_uid, name) else work.now,
            "fence": 0,
            "owner": "",
            "attempts": 0,
            "is_uncertain": False,
            "status": None,
            "reason": "",
            "created_at": work.now,
            "ended_at": None,
        }
        for name in destinations
    ]
    if rows:
        work.connection.execute(insert(forwards), rows)


def destinations_of(work: Work, sop_instance_uid: str) -> list[str]:
    """Who is told of a step: those of its N-CREATE for whom nothing of it was dropped."""
    dropped = select(forwards.c.destination).where(
        forwards.c.sop_instance_uid == sop_instance_uid, forwards.c.state == ForwardState.DROPPED.value
    )
    return list(
        work.connection.execute(
            select(forwards.c.destination)
            .where(
                forwards.c.sop_instance_uid == sop_instance_uid,
                forwards.c.number == 1,
                forwards.c.destination.not_in(dropped),
            )
            .order_by(forwards.c.destination)
        ).scalars()
    )


def claim(
    work: Work, destination: str, *, owner: str, lease_ms: int, limit: int
) -> tuple[ClaimedForward, ...]:
    """Take what is due for a peer, the longest waiting first."""
    rows = work.connection.execute(
        select(forwards)
        .where(forwards.c.destination == destination, forwards.c.due_at <= work.now)
        .order_by(forwards.c.due_at, forwards.c.sop_instance_uid)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    found = []
    for row in rows:
        work.connection.execute(
            update(forwards)
            .where(*_key(row.sop_instance_uid, row.number, destination))
            .values(due_at=work.now + lease_ms, fence=row.fence + 1, owner=storable(owner))
        )
        message = work.connection.execute(
            select(messages.c.kind, messages.c.transfer_syntax_uid, messages.c.data_set).where(
                messages.c.sop_instance_uid == row.sop_instance_uid, messages.c.number == row.number
            )
        ).one()
        found.append(
            ClaimedForward(
                row.sop_instance_uid,
                row.number,
                destination,
                MessageKind(message.kind),
                message.transfer_syntax_uid,
                message.data_set,
                row.fence + 1,
                row.attempts,
                row.is_uncertain,
            )
        )
    return tuple(found)


def begin(work: Work, claimed: ClaimedForward, *, lease_ms: int) -> bool:
    """It is about to be said: who claims it after us must know that the peer may have had it. False when it is no more ours."""
    changed = work.connection.execute(
        update(forwards).where(_mine(claimed)).values(due_at=work.now + lease_ms, is_uncertain=True)
    )
    return changed.rowcount == 1


def renew(work: Work, claimed: Sequence[ClaimedForward], *, lease_ms: int) -> int:
    """Say that these are still looked after; how many are ours."""
    return sum(
        work.connection.execute(
            update(forwards).where(_mine(each)).values(due_at=work.now + lease_ms)
        ).rowcount
        for each in claimed
    )


def owners(work: Work, destination: str) -> frozenset[str]:
    """Who holds messages for a peer."""
    leased = forwards.c.destination == destination, forwards.c.due_at > work.now, forwards.c.owner != ""
    return frozenset(work.connection.execute(select(forwards.c.owner).where(*leased).distinct()).scalars())


def end_leases(work: Work, destination: str, gone: Collection[str]) -> int:
    """What these hold for a peer is due now; how many messages that are."""
    leased = forwards.c.destination == destination, forwards.c.due_at > work.now
    changed = work.connection.execute(
        update(forwards)
        .where(*leased, forwards.c.owner.in_(sorted(gone)))
        .values(due_at=work.now, owner="", fence=forwards.c.fence + 1)
    )
    return int(changed.rowcount)


def sent(work: Work, claimed: ClaimedForward, status: int, reason: str) -> bool:
    """The peer has it: the next one of the step is due. False when another runner has it."""
    _lock_step(work, claimed.sop_instance_uid)
    if not _end(work, claimed, ForwardState.SENT, status, reason):
        return False
    _next_is_due(work, claimed.sop_instance_uid, claimed.destination)
    return True


def later(
    work: Work, claimed: ClaimedForward, due_in_ms: int, *, status: int | None, reason: str, was_sent: bool
) -> bool:
    """It did not go through, this time.

    Parameters
    ----------
    was_sent : bool
        Whether the peer may have had it.
    """
    changed = work.connection.execute(
        update(forwards)
        .where(_mine(claimed))
        .values(
            due_at=work.now + due_in_ms,
            owner="",
            attempts=forwards.c.attempts + 1,
            is_uncertain=was_sent or claimed.was_uncertain,
            status=status,
            reason=storable(reason),
        )
    )
    return changed.rowcount == 1


def hand_back(work: Work, claimed: Sequence[ClaimedForward]) -> None:
    """These were not begun: due now, and nothing is counted."""
    for each in claimed:
        work.connection.execute(update(forwards).where(_mine(each)).values(due_at=work.now, owner=""))


def give_up(work: Work, claimed: ClaimedForward, status: int | None, reason: str, *, was_sent: bool) -> bool:
    """It needs attention; what is behind it waits.

    Parameters
    ----------
    was_sent : bool
        Whether the peer may have had it: who tries it again must know.
    """
    is_uncertain = was_sent or claimed.was_uncertain
    return _end(work, claimed, ForwardState.NEEDS_ATTENTION, status, reason, is_uncertain=is_uncertain)


def retry(work: Work, sop_instance_uid: str = "", known: Collection[str] | None = None) -> int:
    """Try again now what needs attention, and what waits for its next attempt, of one step or of all; how many that are.

    Parameters
    ----------
    known : collection of str, optional
        For these peers only; None for all.
    """
    of_it = [forwards.c.sop_instance_uid == sop_instance_uid] if sop_instance_uid else []
    of_it += [] if known is None else [forwards.c.destination.in_(sorted(known))]
    ended = work.connection.execute(
        update(forwards)
        .where(forwards.c.state == ForwardState.NEEDS_ATTENTION.value, *of_it)
        .values(state=ForwardState.WAITING.value, due_at=work.now, attempts=0, ended_at=None)
    )
    # Not those under lease: somebody is sending them.
    waiting = work.connection.execute(
        update(forwards)
        .where(forwards.c.due_at > work.now, forwards.c.owner == "", *of_it)
        .values(due_at=work.now, attempts=0)
    )
    return int(ended.rowcount + waiting.rowcount)


def drop(work: Work, sop_instance_uid: str, destination: str) -> int:
    """A peer is told nothing more of a step: what it has not heard is for nobody; how many messages that are."""
    _lock_step(work, sop_instance_uid)
    changed = work.connection.execute(
        update(forwards)
        .where(
            forwards.c.sop_instance_uid == sop_instance_uid,
            forwards.c.destination == destination,
            forwards.c.state.in_(OPEN),
        )
        .values(
            state=ForwardState.DROPPED.value,
            due_at=None,
            owner="",
            fence=forwards.c.fence + 1,
            ended_at=work.now,
        )
    )
    return int(changed.rowcount)


def orphaned(work: Work, known: Collection[str], reason: str) -> int:
    """What is for nobody whom the settings know needs attention; how many that are."""
    changed = work.connection.execute(
        update(forwards)
        .where(forwards.c.due_at.is_not(None), forwards.c.destination.not_in(sorted(known)))
        .values(
            state=ForwardState.NEEDS_ATTENTION.value,
            due_at=None,
            owner="",
            fence=forwards.c.fence + 1,
            reason=reason,
            ended_at=work.now,
        )
    )
    return int(changed.rowcount)


# ---- inside


def _key(sop_instance_uid: str, number: int, destination: str) -> tuple[ColumnElement[bool], ...]:
    return (
        forwards.c.sop_instance_uid == sop_instance_uid,
        forwards.c.number == number,
        forwards.c.destination == destination,
    )


def _mine(claimed: ClaimedForward) -> ColumnElement[bool]:
    """The row, as long as nobody has claimed it since."""
    key = _key(claimed.sop_instance_uid, claimed.number, claimed.destination)
    waiting = forwards.c.state == ForwardState.WAITING.value
    return and_(*key, waiting, forwards.c.fence == claimed.fence)


def _end(
    work: Work,
    claimed: ClaimedForward,
    state: ForwardState,
    status: int | None,
    reason: str,
    *,
    is_uncertain: bool = False,
) -> bool:
    changed = work.connection.execute(
        update(forwards)
        .where(_mine(claimed))
        .values(
            state=state.value,
            due_at=None,
            owner="",
            attempts=forwards.c.attempts + 1,
            is_uncertain=is_uncertain,
            status=status,
            reason=storable(reason),
            ended_at=work.now,
        )
    )
    return changed.rowcount == 1


def _lock_step(work: Work, sop_instance_uid: str) -> None:
    """Who adds a message to the step looks at what is open: one after the other."""
    work.connection.execute(
        select(steps.c.sop_instance_uid)
        .where(steps.c.sop_instance_uid == sop_instance_uid)
        .with_for_update(key_share=True)
    )


def _has_open(work: Work, sop_instance_uid: str, destination: str) -> bool:
    return (
        work.connection.execute(
            select(forwards.c.number)
            .where(
                forwards.c.sop_instance_uid == sop_instance_uid,
                forwards.c.destination == destination,
                forwards.c.state.in_(OPEN),
            )
            .limit(1)
        ).first()
        is not None
    )


def _next_is_due(work: Work, sop_instance_uid: str, destination: str) -> None:
    number = work.connection.execute(
        select(forwards.c.number)
        .where(
            forwards.c.sop_instance_uid == sop_instance_uid,
            forwards.c.destination == destination,
            forwards.c.state == ForwardState.WAITING.value,
        )
        .order_by(forwards.c.number)
        .limit(1)
    ).scalar()
    if number is not None:
        work.connection.execute(
            update(forwards).where(*_key(sop_instance_uid, number, destination)).values(due_at=work.now)
        )
