"""Steps under lease: what is due, claim, renew, hand back, finish.

Claims hold the lock on the row of the source, as those of transfers do: breaker and counts stay true.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sqlalchemy import delete, func, insert, or_, select, update

from dicomrelay.ledger.breaker import Admission, BreakerState
from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.facts import destination_info
from dicomrelay.ledger.places import breaker_of, live_leases, locked_destination, write_breaker
from dicomrelay.ledger.pulls_rows import policy_of, question_of, settle_pull, step_of
from dicomrelay.ledger.pulls_schema import OPEN, pull_missing, pull_steps, pulls
from dicomrelay.ledger.schema import RUNNING, destinations
from dicomrelay.ledger.texts import storable
from dicomrelay.ledger.values_pulls import (
    ClaimedStep,
    DueStep,
    Fetched,
    PullPolicy,
    StepKind,
    StepState,
)

MAX_MISSING: Final = 10_000
# As many as a pull may have, and more than a source takes.
_PLACES: Final = 64


def due(work: Work, *, limit: int, closed: Collection[str]) -> tuple[DueStep, ...]:
    """See `Pulls.due`."""
    sources = work.connection.execute(select(pulls.c.source).where(OPEN).distinct()).scalars().all()
    found: list[DueStep] = []
    for source in sorted(sources):
        found.extend(_due_of(work, source, limit - len(found), closed))
        if len(found) >= limit:
            break
    return tuple(found)


def _due_of(work: Work, source: str, limit: int, closed: Collection[str]) -> list[DueStep]:
    query = (
        select(pull_steps.c.id, pulls.c.policy)
        .join(pulls, pulls.c.id == pull_steps.c.pull_id)
        .join(destinations, destinations.c.name == pull_steps.c.source)
        .where(
            pull_steps.c.source == source,
            pull_steps.c.due_at <= work.now,
            destinations.c.held_at.is_(None),
            or_(
                destinations.c.breaker == BreakerState.CLOSED.value,
                destinations.c.probe_at.is_(None),
                destinations.c.probe_at <= work.now,
            ),
        )
        .order_by(pull_steps.c.rank, pull_steps.c.due_at, pull_steps.c.id)
        .limit(min(limit, _PLACES))
    )
    if closed:
        query = query.where(pull_steps.c.pull_id.not_in(sorted(closed)))
    rows = work.connection.execute(query).all()
    if not rows:
        return []
    places = policy_of(rows[0].policy).associations - _live(work, source)
    return [DueStep(row.id, source) for row in rows[: max(0, places)]]


def _live(work: Work, source: str) -> int:
    """How many steps of a source run now."""
    running = select(pull_steps.c.id).where(
        pull_steps.c.source == source, RUNNING, pull_steps.c.due_at > work.now
    )
    return work.connection.execute(select(func.count()).select_from(running.subquery())).scalar_one()


def claim(work: Work, step_id: str, *, owner: str, lease_ms: int) -> ClaimedStep | None:
    """See `Pulls.claim`."""
    named = step_of(work, step_id)
    if named is None:
        return None
    address = locked_destination(work, named.source)
    assert address is not None  # noqa: S101 - a foreign key
    step = step_of(work, step_id, lock=True)
    pull = work.connection.execute(select(pulls).where(pulls.c.id == named.pull_id)).one()
    if step is None or step.due_at is None or step.due_at > work.now or address.held_at is not None:
        return None
    policy = policy_of(pull.policy)
    admission = _admission(work, address, policy)
    if admission is Admission.NO:
        return None
    breaker = breaker_of(address)
    if admission is Admission.TRIAL:
        write_breaker(work, address.name, breaker.trial(work.now))
    work.connection.execute(
        update(pull_steps)
        .where(pull_steps.c.id == step_id)
        .values(
            state=StepState.RUNNING.value,
            due_at=work.now + lease_ms,
            fence=step.fence + 1,
            owner=owner,
            attempt=step.attempt + 1,
            started_at=work.now if step.started_at is None else step.started_at,
        )
    )
    keys, priors = question_of(pull.question)
    return ClaimedStep(
        id=step.id,
        fence=step.fence + 1,
        pull_id=step.pull_id,
        name=pull.name,
        kind=StepKind(step.kind),
        source=step.source,
        address=destination_info(address),
        study_instance_uid=step.study_instance_uid,
        series_instance_uid=step.series_instance_uid,
        announced=step.announced,
        attempt=step.attempt + 1,
        rounds=step.rounds,
        since_ms=pull.created_at,
        policy=policy,
        question=keys,
        priors=priors,
        in_trouble=breaker.in_trouble,
    )


def _admission(work: Work, address: AnyRow, policy: PullPolicy) -> Admission:
    live = _live(work, address.name)
    breaker = breaker_of(address)
    admission = breaker.admits(now=work.now, live=live_leases(work, address.name) + live)
    places = 1 if breaker.in_trouble else policy.associations
    return admission if live < places else Admission.NO


def renew(work: Work, step_id: str, fence: int, *, lease_ms: int, here: int | None) -> bool:
    """See `Pulls.renew`."""
    values: dict[str, object] = {"due_at": work.now + lease_ms}
    if here is not None:
        values["here"] = here
    return _write(work, step_id, fence, **values)


def counted(work: Work, step_id: str, fence: int, fetched: Fetched) -> bool:
    """See `Pulls.counted`."""
    step = step_of(work, step_id, lock=True)
    # What was here before the first attempt tells nothing of the speed.
    first = step is not None and step.attempt == 1
    before = {"here_before": fetched.here} if first else {}
    return _write(work, step_id, fence, announced=fetched.announced, here=fetched.here, **before)


def hand_back(
    work: Work,
    step_id: str,
    fence: int,
    *,
    retry_in_ms: int | None,
    reason: str,
    advice: str,
    counted: bool,
) -> bool:
    """See `Pulls.hand_back`."""
    is_ours = _write(
        work,
        step_id,
        fence,
        state=(StepState.GIVEN_UP if retry_in_ms is None else StepState.READY).value,
        owner="",
        due_at=None if retry_in_ms is None else work.now + retry_in_ms,
        finished_at=work.now if retry_in_ms is None else None,
        reason=storable(reason),
        advice=storable(advice),
        attempt=pull_steps.c.attempt - int(not counted),
    )
    if is_ours and retry_in_ms is None:
        settle_pull(work, _pull_of(work, step_id))
    return is_ours


def finish(
    work: Work,
    step_id: str,
    fence: int,
    fetched: Fetched,
    *,
    retry_in_ms: int | None,
    rounds: int,
    reason: str,
    advice: str,
) -> StepState | None:
    """See `Pulls.finish`."""
    is_done = fetched.proof is not None
    left = StepState.GIVEN_UP if retry_in_ms is None else StepState.READY
    state = StepState.DONE if is_done else left
    due_at = None if retry_in_ms is None or is_done else work.now + retry_in_ms
    is_ours = _write(
        work,
        step_id,
        fence,
        state=state.value,
        owner="",
        due_at=due_at,
        announced=fetched.announced,
        here=fetched.here,
        missing=_missing_of(fetched),
        proof=fetched.proof.value if fetched.proof else "",
        rounds=rounds,
        # What moved forward starts the schedule anew.
        **({"attempt": 0} if rounds == 0 and not is_done else {}),
        reason="" if is_done else storable(reason),
        advice="" if is_done else storable(advice),
        finished_at=work.now if due_at is None else None,
    )
    if not is_ours:
        return None
    _keep_missing(work, step_id, fetched)
    if due_at is None:
        settle_pull(work, _pull_of(work, step_id))
    return state


def _missing_of(fetched: Fetched) -> int:
    if fetched.announced is None:
        return len(fetched.missing)
    return max(0, fetched.announced - fetched.here)


def _keep_missing(work: Work, step_id: str, fetched: Fetched) -> None:
    work.connection.execute(delete(pull_missing).where(pull_missing.c.step_id == step_id))
    rows = [
        {
            "step_id": step_id,
            "sop_instance_uid": each.sop_instance_uid,
            "series_instance_uid": each.series_instance_uid,
        }
        for each in fetched.missing[:MAX_MISSING]
    ]
    for part in chunks(rows, 1000):
        work.connection.execute(insert(pull_missing), list(part))


def _pull_of(work: Work, step_id: str) -> str:
    step = step_of(work, step_id)
    assert step is not None  # noqa: S101 - it was written in this transaction
    return str(step.pull_id)


def _write(work: Work, step_id: str, fence: int, **values: object) -> bool:
    """Write it if the lease is still ours."""
    result = work.connection.execute(
        update(pull_steps)
        .where(
            pull_steps.c.id == step_id,
            pull_steps.c.fence == fence,
            pull_steps.c.state == StepState.RUNNING.value,
        )
        .values(**values)
    )
    return result.rowcount == 1


def is_ours(work: Work, step_id: str, fence: int) -> bool:
    """See `Pulls.is_ours`."""
    step = step_of(work, step_id)
    return step is not None and step.fence == fence and step.state == StepState.RUNNING.value
