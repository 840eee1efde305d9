"""Polls: when each is due, and up to when its source is known."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update

from dicomrelay.ledger.engine import AnyRow, Work
from dicomrelay.ledger.pulls_orders import order, remove
from dicomrelay.ledger.pulls_schema import pull_polls, pull_steps, pulls
from dicomrelay.ledger.values_pulls import NewPull, PollState, PullState


def polls(work: Work, names: Sequence[str]) -> tuple[PollState, ...]:
    """See `Pulls.polls`."""
    known = {
        row.name: row
        for row in work.connection.execute(select(pull_polls).where(pull_polls.c.name.in_(names)))
    }
    return tuple(_state(work, name, known.get(name)) for name in names)


def _state(work: Work, name: str, row: AnyRow | None) -> PollState:
    if row is None:
        return PollState(name, 0, None, is_open=False)
    return PollState(name, row.due_at - work.now, row.known_until, is_open=_is_open(work, row.pull_id))


def _is_open(work: Work, pull_id: str) -> bool:
    finished = work.connection.execute(select(pulls.c.finished_at).where(pulls.c.id == pull_id)).one_or_none()
    return finished is not None and finished.finished_at is None


def _brought_nothing(work: Work, pull_id: str) -> bool:
    """Whether a pull is complete and had nothing to fetch: of a poll each minute a row each time would say as much."""
    is_complete = work.connection.execute(
        select(pulls.c.id).where(pulls.c.id == pull_id, pulls.c.state == PullState.COMPLETE.value)
    ).one_or_none()
    fetching = select(pull_steps.c.id).where(pull_steps.c.pull_id == pull_id, pull_steps.c.number > 0)
    return is_complete is not None and work.connection.execute(fetching.limit(1)).one_or_none() is None


def order_poll(work: Work, new: NewPull, *, every_ms: int, force: bool) -> str | None:
    """See `Pulls.order_poll`."""
    work.exclusive("pulls")
    row = work.connection.execute(
        select(pull_polls).where(pull_polls.c.name == new.name).with_for_update(key_share=True)
    ).one_or_none()
    if row is not None and ((row.due_at > work.now and not force) or _is_open(work, row.pull_id)):
        return None
    if row is not None and _brought_nothing(work, row.pull_id):
        remove(work, row.pull_id)
    pull_id = order(work, new)
    assert pull_id is not None  # noqa: S101 - a poll has no `only_once`
    values = {"due_at": work.now + every_ms, "pull_id": pull_id}
    if row is None:
        work.connection.execute(pull_polls.insert().values(name=new.name, known_until=None, **values))
    else:
        work.connection.execute(update(pull_polls).where(pull_polls.c.name == new.name).values(**values))
    return pull_id
