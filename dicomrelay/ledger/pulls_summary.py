"""Pulls in figures: how each stands, how fast it goes, what is missing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Select, case, func, or_, select

from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.pulls_rows import OPEN_STEPS, PRIORITIES, policy_of
from dicomrelay.ledger.pulls_schema import OPEN, pull_missing, pull_steps, pulls
from dicomrelay.ledger.values_pulls import (
    Missing,
    PullKind,
    PullRow,
    PullState,
    StepKind,
    StepRow,
    StepState,
)


def newest(work: Work, *, limit: int, states: Sequence[PullState]) -> tuple[PullRow, ...]:
    """See `Pulls.newest`."""
    query = select(pulls).order_by(pulls.c.id.desc()).limit(limit)
    if states:
        query = query.where(pulls.c.state.in_([state.value for state in states]))
    return tuple(_rows(work, query))


def one(work: Work, pull_id: str) -> PullRow | None:
    """See `Pulls.one`."""
    return next(_rows(work, select(pulls).where(pulls.c.id == pull_id)), None)


def standing(work: Work) -> dict[str, int]:
    """See `Pulls.standing`."""
    wrong = [PullState.PARTIAL.value, PullState.FAILED.value]
    rows = work.connection.execute(
        select(pulls.c.state, func.count())
        .where(or_(OPEN, pulls.c.state.in_(wrong)))
        .group_by(pulls.c.state)
        .order_by(pulls.c.state)
    )
    return {state: int(count) for state, count in rows}


def ids_like(work: Work, beginning: str) -> list[str]:
    """See `Pulls.ids_like`."""
    query = select(pulls.c.id).where(pulls.c.id.startswith(beginning, autoescape=True))
    return list(work.connection.execute(query.order_by(pulls.c.id).limit(10)).scalars())


def open_policies(work: Work) -> dict[str, tuple[str, ...]]:
    """See `Pulls.open_windows`."""
    rows = work.connection.execute(select(pulls.c.id, pulls.c.policy).where(OPEN))
    found = {row.id: policy_of(row.policy).windows for row in rows}
    return {pull_id: windows for pull_id, windows in found.items() if windows}


def steps(work: Work, pull_id: str, *, limit: int) -> tuple[StepRow, ...]:
    """See `Pulls.steps`."""
    order = case(
        (pull_steps.c.state == StepState.RUNNING.value, 0),
        (pull_steps.c.state == StepState.GIVEN_UP.value, 1),
        (pull_steps.c.state == StepState.READY.value, 2),
        else_=3,
    )
    rows = work.connection.execute(
        select(pull_steps)
        .where(pull_steps.c.pull_id == pull_id)
        .order_by(order, pull_steps.c.number)
        .limit(limit)
    )
    return tuple(_step(work, row) for row in rows)


def missing(work: Work, pull_id: str, *, limit: int) -> tuple[tuple[str, Missing], ...]:
    """See `Pulls.missing`."""
    rows = work.connection.execute(
        select(
            pull_steps.c.study_instance_uid,
            pull_missing.c.series_instance_uid,
            pull_missing.c.sop_instance_uid,
        )
        .join(pull_steps, pull_steps.c.id == pull_missing.c.step_id)
        .where(pull_steps.c.pull_id == pull_id)
        .order_by(pull_steps.c.number, pull_missing.c.series_instance_uid, pull_missing.c.sop_instance_uid)
        .limit(limit)
    )
    return tuple((study, Missing(series, instance)) for study, series, instance in rows)


def _step(work: Work, row: AnyRow) -> StepRow:
    waits = row.due_at is not None and row.state == StepState.READY.value
    return StepRow(
        id=row.id,
        number=row.number,
        kind=StepKind(row.kind),
        state=StepState(row.state),
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        announced=row.announced,
        here=row.here,
        missing=row.missing,
        proof=row.proof,
        attempt=row.attempt,
        due_in_ms=max(0, row.due_at - work.now) if waits else None,
        reason=row.reason,
        advice=row.advice,
    )


def _rows(work: Work, query: Select[Any]) -> Iterator[PullRow]:
    found = work.connection.execute(query).all()
    figures = _figures(work, [row.id for row in found])
    for row in found:
        yield _row(work, row, figures[row.id])


class _Figures:
    """What the steps of one pull add up to."""

    def __init__(self) -> None:
        self.steps: dict[str, int] = {}
        self.announced = self.here = self.missing = self.uncounted = self.fetched = 0
        self.since: int | None = None
        self.due_at: int | None = None
        self.reason = self.advice = ""


def _figures(work: Work, ids: Sequence[str]) -> dict[str, _Figures]:
    figures: dict[str, _Figures] = defaultdict(_Figures)
    columns = pull_steps.c
    is_open = columns.state.in_(OPEN_STEPS)
    for part in chunks(ids):
        rows = work.connection.execute(
            select(
                columns.pull_id,
                columns.state,
                columns.kind,
                func.count().label("number"),
                func.sum(func.coalesce(columns.announced, 0)).label("announced"),
                func.sum(case((columns.announced.is_not(None), columns.here), else_=0)).label("here"),
                func.sum(columns.missing).label("missing"),
                func.sum(case((columns.announced.is_(None) & is_open, 1), else_=0)).label("uncounted"),
                func.sum(columns.here - columns.here_before).label("fetched"),
                func.min(columns.started_at).label("since"),
                func.min(columns.due_at).label("due_at"),
            )
            .where(columns.pull_id.in_(part))
            .group_by(columns.pull_id, columns.state, columns.kind)
        )
        for row in rows:
            _add(figures[row.pull_id], row)
        for row in _worst(work, part):
            figures[row.pull_id].reason, figures[row.pull_id].advice = row.reason, row.advice
    return figures


def _add(figures: _Figures, row: AnyRow) -> None:
    if row.state == StepState.READY.value and row.due_at is not None:
        figures.due_at = row.due_at if figures.due_at is None else min(figures.due_at, row.due_at)
    if row.kind == StepKind.ASK.value:
        return
    figures.steps[row.state] = figures.steps.get(row.state, 0) + int(row.number)
    figures.announced += int(row.announced)
    figures.here += int(row.here)
    figures.missing += int(row.missing) if row.state == StepState.GIVEN_UP.value else 0
    figures.uncounted += int(row.uncounted)
    figures.fetched += int(row.fetched)
    if row.since is not None:
        figures.since = row.since if figures.since is None else min(figures.since, row.since)


def _worst(work: Work, ids: Sequence[str]) -> Sequence[AnyRow]:
    """One step with a reason for each pull: the one that was given up last, or else that waits."""
    columns = pull_steps.c
    with_reason = (columns.reason != "") & columns.pull_id.in_(ids)
    numbered = (
        select(
            columns.pull_id,
            columns.reason,
            columns.advice,
            func.row_number()
            .over(
                partition_by=columns.pull_id,
                order_by=(
                    case((columns.state == StepState.GIVEN_UP.value, 0), else_=1),
                    case((columns.advice != "", 0), else_=1),
                    columns.number,
                ),
            )
            .label("place"),
        )
        .where(with_reason)
        .subquery()
    )
    return work.connection.execute(select(numbered).where(numbered.c.place == 1)).all()


def _row(work: Work, row: AnyRow, figures: _Figures) -> PullRow:
    state, policy = PullState(row.state), policy_of(row.policy)
    ended = work.now if row.finished_at is None else row.finished_at
    due_in = None if figures.due_at is None else max(0, figures.due_at - work.now)
    return PullRow(
        id=row.id,
        name=row.name,
        kind=PullKind(row.kind),
        state=state,
        source=row.source,
        level=policy.level,
        retrieval=policy.retrieval,
        priority=PRIORITIES[row.rank],
        asked_for=row.asked_for,
        of_study=row.of_study,
        truncated=row.truncated,
        age_ms=work.now - row.created_at,
        took_ms=None if row.finished_at is None else ended - row.created_at,
        steps=figures.steps,
        announced=figures.announced,
        here=figures.here,
        missing=figures.missing,
        uncounted=figures.uncounted,
        next_due_in_ms=None if state.is_over else due_in,
        reason=figures.reason,
        advice=figures.advice,
        eta_ms=None if state is not PullState.FETCHING else _eta_ms(work.now, figures),
    )


def _eta_ms(now: int, figures: _Figures) -> int | None:
    """How long what is left takes at the speed since the first step began; None when nothing says."""
    left = figures.announced - figures.here
    if figures.uncounted:
        # Those are taken to be as large as the others.
        counted = sum(figures.steps.values()) - figures.uncounted
        left += round(figures.uncounted * figures.announced / counted) if counted else 0
    if figures.since is None or figures.fetched <= 0 or left <= 0:
        return None
    return max(0, round((now - figures.since) * left / figures.fetched))
