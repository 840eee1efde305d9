"""Pulls come to be, get their list, are tried again and cancelled."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, insert, select, update

from dicomrelay.ledger import destinations
from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.ids import new_id
from dicomrelay.ledger.pulls_rows import (
    add_steps,
    locked_pull,
    locked_steps,
    policy_text,
    question_text,
    rank_of,
    set_pull,
    settle_pull,
    step_of,
)
from dicomrelay.ledger.pulls_schema import pull_missing, pull_polls, pull_steps, pulls
from dicomrelay.ledger.values_pulls import (
    Listed,
    NewPull,
    Proof,
    PullKind,
    PullState,
    StepKind,
    StepState,
)


def order(work: Work, new: NewPull) -> str | None:
    """See `Pulls.order`."""
    work.exclusive("pulls")
    if new.only_once and _is_there(work, new.only_once):
        return None
    if destinations.find(work, new.source.name) is None:
        destinations.sync(work, [new.source])
    pull_id, rank = new_id(), rank_of(new.priority)
    work.connection.execute(
        insert(pulls).values(
            id=pull_id,
            name=new.name,
            kind=new.kind.value,
            source=new.source.name,
            state=PullState.ASKING.value,
            rank=rank,
            policy=policy_text(new.policy),
            question=question_text(new.question, new.priors),
            asked_for=", ".join(key.partition("=")[0] for key in new.question if "=" in key),
            of_study=new.priors.study_instance_uid if new.priors else "",
            only_once=new.only_once,
            truncated=False,
            created_at=work.now,
        )
    )
    step = {
        "pull_id": pull_id,
        "number": 0,
        "kind": StepKind.ASK.value,
        "source": new.source.name,
        "rank": rank,
    }
    add_steps(work, [step])
    return pull_id


def _is_there(work: Work, only_once: str) -> bool:
    query = select(pulls.c.id).where(pulls.c.only_once == only_once, pulls.c.only_once != "")
    return work.connection.execute(query.limit(1)).one_or_none() is not None


def answered(
    work: Work, step_id: str, fence: int, listed: Sequence[Listed], *, truncated: bool
) -> PullState | None:
    """See `Pulls.answered`."""
    step = step_of(work, step_id, lock=True)
    if step is None or step.fence != fence or step.state != StepState.RUNNING.value:
        return None
    work.connection.execute(
        update(pull_steps)
        .where(pull_steps.c.id == step_id)
        .values(state=StepState.DONE.value, due_at=None, owner="", finished_at=work.now, reason="", advice="")
    )
    pull = locked_pull(work, step.pull_id)
    assert pull is not None  # noqa: S101 - a foreign key
    # A poll names the same studies again and again: what is here already is no row each time.
    wanted = [each for each in listed if not (each.is_here and pull.kind == PullKind.POLL.value)]
    rows = [_fetch(work, step, number, each) for number, each in enumerate(wanted, 1)]
    for part in chunks(rows, 500):
        add_steps(work, list(part))
    set_pull(work, step.pull_id, question="", asked_at=work.now, truncated=truncated)
    if not truncated and pull.kind == PullKind.POLL.value:
        # The next one need not look further back than to the beginning of this one.
        work.connection.execute(
            update(pull_polls).where(pull_polls.c.pull_id == pull.id).values(known_until=pull.created_at)
        )
    return settle_pull(work, step.pull_id)


def _fetch(work: Work, step: AnyRow, number: int, listed: Listed) -> dict[str, object]:
    row: dict[str, object] = {
        "pull_id": step.pull_id,
        "number": number,
        "source": step.source,
        "rank": step.rank,
        "study_instance_uid": listed.study_instance_uid,
        "series_instance_uid": listed.series_instance_uid,
        "announced": listed.announced,
    }
    if listed.is_here:
        row |= {
            "state": StepState.DONE.value,
            "due_at": None,
            "here": listed.announced or 0,
            "here_before": listed.announced or 0,
            "proof": Proof.COUNTS.value,
            "finished_at": work.now,
        }
    return row


def cancel(work: Work, pull_id: str) -> PullState | None:
    """See `Pulls.cancel`."""
    steps = locked_steps(work, pull_id)
    pull = locked_pull(work, pull_id)
    if pull is None:
        return None
    state = PullState(pull.state)
    if state in (PullState.COMPLETE, PullState.CANCELLED):
        return state
    work.connection.execute(
        update(pull_steps)
        .where(pull_steps.c.pull_id == pull_id, pull_steps.c.state != StepState.DONE.value)
        .values(
            state=StepState.CANCELLED.value,
            due_at=None,
            fence=pull_steps.c.fence + 1,
            owner="",
            finished_at=work.now,
        )
    )
    if all(step.state == StepState.DONE.value for step in steps):  # its list was cut, and that is all
        set_pull(work, pull_id, state=PullState.CANCELLED.value, finished_at=work.now, question="")
        return PullState.CANCELLED
    set_pull(work, pull_id, question="")
    return settle_pull(work, pull_id)


def retry(work: Work, pull_id: str) -> int | None:
    """See `Pulls.retry`."""
    steps = locked_steps(work, pull_id)
    if locked_pull(work, pull_id) is None:
        return None
    again = [
        step.id
        for step in steps
        if step.state == StepState.GIVEN_UP.value
        or (step.state == StepState.READY.value and step.due_at is not None and step.due_at > work.now)
    ]
    for part in chunks(again):
        work.connection.execute(delete(pull_missing).where(pull_missing.c.step_id.in_(part)))
        work.connection.execute(
            update(pull_steps)
            .where(pull_steps.c.id.in_(part))
            .values(
                state=StepState.READY.value,
                due_at=work.now,
                attempt=0,
                rounds=0,
                finished_at=None,
                advice="",
            )
        )
    if again:
        settle_pull(work, pull_id)
    return len(again)


def prune(work: Work, *, before: int, limit: int) -> int:
    """See `Retention.prune_pulls`."""
    old = (
        select(pulls.c.id)
        .where(
            pulls.c.finished_at < before,
            pulls.c.state.in_((PullState.COMPLETE.value, PullState.CANCELLED.value)),
        )
        .order_by(pulls.c.finished_at)
        .limit(limit)
    )
    ids = list(work.connection.execute(old).scalars())
    for pull_id in ids:
        remove(work, pull_id)
    return len(ids)


def remove(work: Work, pull_id: str) -> None:
    """A pull that is over, and all of it."""
    of_it = select(pull_steps.c.id).where(pull_steps.c.pull_id == pull_id)
    work.connection.execute(delete(pull_missing).where(pull_missing.c.step_id.in_(of_it)))
    work.connection.execute(delete(pull_steps).where(pull_steps.c.pull_id == pull_id))
    work.connection.execute(delete(pulls).where(pulls.c.id == pull_id))
