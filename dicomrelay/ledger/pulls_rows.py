"""Rows of pulls and their steps: locked, written, and read as values."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import func, insert, select, update

from dicomrelay.ledger.engine import AnyRow, Work
from dicomrelay.ledger.ids import new_id
from dicomrelay.ledger.pulls_schema import pull_steps, pulls
from dicomrelay.ledger.schema import DUE
from dicomrelay.ledger.values import Priority
from dicomrelay.ledger.values_pulls import (
    PriorsRule,
    PullPolicy,
    PullState,
    Retrieval,
    StepKind,
    StepState,
)

PRIORITIES: Final = tuple(Priority)
OPEN_STEPS: Final = (StepState.READY.value, StepState.RUNNING.value)


def rank_of(priority: Priority) -> int:
    """0 goes first."""
    return PRIORITIES.index(priority)


def policy_text(policy: PullPolicy) -> str:
    """A policy as it is kept."""
    return json.dumps(asdict(policy))


def policy_of(text: str) -> PullPolicy:
    """A policy that was kept."""
    kept: dict[str, Any] = json.loads(text)
    return PullPolicy(
        **{**kept, "retrieval": Retrieval(kept["retrieval"]), "windows": tuple(kept["windows"])}
    )


def question_text(keys: tuple[str, ...], priors: PriorsRule | None) -> str:
    """A question as it is kept until it is answered."""
    return json.dumps({"keys": keys, "priors": asdict(priors) if priors else None})


def question_of(text: str) -> tuple[tuple[str, ...], PriorsRule | None]:
    """The keys that were kept, and which of the answers are relevant."""
    if not text:
        return (), None
    kept: dict[str, Any] = json.loads(text)
    return tuple(kept["keys"]), PriorsRule(**kept["priors"]) if kept["priors"] else None


def locked_pull(work: Work, pull_id: str) -> AnyRow | None:
    """Its row, locked: after its steps."""
    return work.connection.execute(
        select(pulls).where(pulls.c.id == pull_id).with_for_update(key_share=True)
    ).one_or_none()


def step_of(work: Work, step_id: str, *, lock: bool = False) -> AnyRow | None:
    """A step; locked before its pull, and after the row of its source."""
    query = select(pull_steps).where(pull_steps.c.id == step_id)
    if lock:
        query = query.with_for_update(key_share=True)
    return work.connection.execute(query).one_or_none()


def locked_steps(work: Work, pull_id: str) -> list[AnyRow]:
    """All steps of a pull, locked in the order of their ids."""
    query = select(pull_steps).where(pull_steps.c.pull_id == pull_id).order_by(pull_steps.c.id)
    return list(work.connection.execute(query.with_for_update(key_share=True)))


def set_pull(work: Work, pull_id: str, **values: object) -> None:
    """Write on a pull that is locked."""
    work.connection.execute(update(pulls).where(pulls.c.id == pull_id).values(**values))


def add_steps(work: Work, rows: list[dict[str, object]]) -> None:
    """New steps, with what all of them have at first."""
    fresh: dict[str, object] = {
        "kind": StepKind.FETCH.value,
        "state": StepState.READY.value,
        "due_at": work.now,
        "fence": 0,
        "owner": "",
        "attempt": 0,
        "rounds": 0,
        "announced": None,
        "here": 0,
        "here_before": 0,
        "missing": 0,
        "proof": "",
        "reason": "",
        "advice": "",
        "study_instance_uid": "",
        "series_instance_uid": "",
        "started_at": None,
        "finished_at": None,
    }
    if rows:
        work.connection.execute(insert(pull_steps), [fresh | {"id": new_id()} | row for row in rows])


def settle_pull(work: Work, pull_id: str) -> PullState:
    """What a pull is now, by its steps; it is locked, and its steps are written."""
    pull = locked_pull(work, pull_id)
    assert pull is not None  # noqa: S101 - a foreign key
    if pull.state == PullState.FETCHING.value and _is_open(work, pull_id):
        return PullState.FETCHING  # of a hundred thousand steps not all are counted with each that is done
    counts: dict[str, int] = {}
    kinds: dict[str, str] = {}
    rows = work.connection.execute(
        select(pull_steps.c.kind, pull_steps.c.state, func.count())
        .where(pull_steps.c.pull_id == pull_id)
        .group_by(pull_steps.c.kind, pull_steps.c.state)
    )
    for kind, state, count in rows:
        counts[state] = counts.get(state, 0) + count
        if kind == StepKind.ASK.value:
            kinds[kind] = state
    state = _state(counts, kinds[StepKind.ASK.value], truncated=pull.truncated)
    was_over, is_over = pull.finished_at is not None, state.is_over
    finished_at = (pull.finished_at if was_over else work.now) if is_over else None
    set_pull(work, pull_id, state=state.value, finished_at=finished_at)
    return state


def _is_open(work: Work, pull_id: str) -> bool:
    """Whether a step is to be done still."""
    query = select(pull_steps.c.id).where(pull_steps.c.pull_id == pull_id, DUE)
    return work.connection.execute(query.limit(1)).one_or_none() is not None


def _state(counts: dict[str, int], asking: str, *, truncated: bool) -> PullState:
    if StepState.CANCELLED.value in counts:
        return PullState.CANCELLED
    if asking in OPEN_STEPS:
        return PullState.ASKING
    if asking == StepState.GIVEN_UP.value:
        return PullState.FAILED
    if any(counts.get(state) for state in OPEN_STEPS):
        return PullState.FETCHING
    is_partial = truncated or counts.get(StepState.GIVEN_UP.value, 0)
    return PullState.PARTIAL if is_partial else PullState.COMPLETE
