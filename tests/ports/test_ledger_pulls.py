"""Pulls in the ledger, on both databases: orders, steps under lease, polls, what is here (docs/design/pulls.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, text

from dicomrelay.ledger import DestinationInfo, Ledger, Priority
from dicomrelay.ledger.breaker import BreakerPolicy
from dicomrelay.ledger.engine import database_url
from dicomrelay.ledger.values_pulls import (
    ClaimedStep,
    Fetched,
    Listed,
    Missing,
    NewPull,
    PriorsRule,
    Proof,
    PullKind,
    PullPolicy,
    PullRow,
    PullState,
    StepState,
)
from tests.support.ledger import MINUTE_MS, PACS, archive_all, arrival

OTHER = DestinationInfo("other", "OTHER", "10.0.0.8", 104)
_MARK = "ZZTOP4711"
_POLICY = BreakerPolicy(failures=1, initial_s=60)


def order(ledger: Ledger, source: DestinationInfo = PACS, **more: object) -> str:
    new = NewPull(PullKind.ASKED, source, (f"PatientID={_MARK}", "StudyDate=20260101-"), **more)  # type: ignore[arg-type]
    pull_id = ledger.pulls.order(new)
    assert pull_id is not None
    return pull_id


def claim_next(ledger: Ledger) -> ClaimedStep:
    due = ledger.pulls.due(limit=10)
    claimed = ledger.pulls.claim(due[0].id, owner="runner", lease_ms=MINUTE_MS)
    assert claimed is not None
    return claimed


def answer(ledger: Ledger, *listed: Listed, truncated: bool = False) -> PullState | None:
    claimed = claim_next(ledger)
    return ledger.pulls.answered(claimed.id, claimed.fence, listed, truncated=truncated)


def row(ledger: Ledger, pull_id: str) -> PullRow:
    found = ledger.pulls.one(pull_id)
    assert found is not None
    return found


def finish(ledger: Ledger, claimed: ClaimedStep, fetched: Fetched, **more: object) -> StepState | None:
    options = {"retry_in_ms": None, "rounds": 1, "reason": "not all came", **more}
    return ledger.pulls.finish(claimed.id, claimed.fence, fetched, **options)  # type: ignore[arg-type]


@pytest.fixture
def sql(ledger_url: str) -> Callable[[str], Sequence[object]]:
    def run(statement: str) -> Sequence[object]:
        engine = create_engine(database_url(ledger_url))
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            rows = [tuple(each) for each in result] if result.returns_rows else []
        engine.dispose()
        return rows

    return run


def test_a_pull_goes_from_its_question_to_complete(ledger: Ledger) -> None:
    """Ask, a step for each study, each with its proof; the figures add up on the way."""
    pull_id = order(ledger)
    asked = claim_next(ledger)
    assert asked.question == (f"PatientID={_MARK}", "StudyDate=20260101-")
    assert row(ledger, pull_id).state is PullState.ASKING
    listed = [Listed("1.2.1", announced=3), Listed("1.2.2", announced=2, is_here=True), Listed("1.2.3")]
    assert ledger.pulls.answered(asked.id, asked.fence, listed, truncated=False) is PullState.FETCHING

    first = claim_next(ledger)
    assert (first.study_instance_uid, first.announced, first.question) == ("1.2.1", 3, ())
    now = row(ledger, pull_id)
    assert dict(now.steps) == {"done": 1, "running": 1, "ready": 1}
    assert (now.announced, now.here, now.uncounted, now.eta_ms) == (5, 2, 1, None)
    assert finish(ledger, first, Fetched(3, 3, proof=Proof.UIDS)) is StepState.DONE
    second = claim_next(ledger)
    assert finish(ledger, second, Fetched(None, 4, proof=Proof.WORD)) is StepState.DONE

    done = row(ledger, pull_id)
    assert (done.state, dict(done.steps), done.missing) == (PullState.COMPLETE, {"done": 3}, 0)
    assert done.took_ms is not None
    assert ledger.pulls.due(limit=10) == ()


def test_a_pull_whose_question_finds_nothing_is_complete(ledger: Ledger) -> None:
    """There is nothing to wait for."""
    pull_id = order(ledger)
    assert answer(ledger) is PullState.COMPLETE
    assert not row(ledger, pull_id).steps


def test_what_a_question_says_of_a_patient_goes_with_its_answer(
    ledger: Ledger, sql: Callable[[str], Sequence[object]]
) -> None:
    """The names of the keys stay; their values are nowhere in the database."""
    pull_id = order(ledger, priors=PriorsRule("1.2.9", _MARK))
    assert _MARK in str(sql("SELECT * FROM pulls"))
    answer(ledger, Listed("1.2.1"))
    for table in ("pulls", "pull_steps", "pull_polls", "events"):
        assert _MARK not in str(sql(f"SELECT * FROM {table}"))
    assert row(ledger, pull_id).asked_for == "PatientID, StudyDate"


def test_what_is_given_up_makes_it_partial_with_a_list_and_retry_takes_it_up(ledger: Ledger) -> None:
    """Retry begins anew with the attempts, and the list is that of the last one."""
    pull_id = order(ledger)
    answer(ledger, Listed("1.2.1", announced=3))
    claimed = claim_next(ledger)
    lost = (Missing("1.2.1.1", "1.2.3.8"), Missing("1.2.1.1", "1.2.3.9"))
    assert finish(ledger, claimed, Fetched(3, 1, lost), rounds=5) is StepState.GIVEN_UP

    now = row(ledger, pull_id)
    assert (now.state, now.missing, now.here, now.reason) == (PullState.PARTIAL, 2, 1, "not all came")
    assert ledger.pulls.missing(pull_id, limit=10) == tuple(("1.2.1", each) for each in lost)
    assert ledger.pulls.retry(pull_id) == 1
    assert row(ledger, pull_id).state is PullState.FETCHING
    again = claim_next(ledger)
    assert (again.attempt, again.rounds) == (1, 0)
    assert finish(ledger, again, Fetched(3, 3, proof=Proof.UIDS)) is StepState.DONE
    assert row(ledger, pull_id).state is PullState.COMPLETE
    assert ledger.pulls.missing(pull_id, limit=10) == ()


def test_a_list_that_was_cut_makes_it_partial(ledger: Ledger) -> None:
    """Although all that was listed is here."""
    pull_id = order(ledger)
    answer(ledger, Listed("1.2.1", announced=1), truncated=True)
    finish(ledger, claim_next(ledger), Fetched(1, 1, proof=Proof.UIDS))
    now = row(ledger, pull_id)
    assert (now.state, now.truncated, now.missing) == (PullState.PARTIAL, True, 0)
    assert ledger.pulls.cancel(pull_id) is PullState.CANCELLED


def test_a_question_that_is_given_up_fails_it_and_keeps_the_question(ledger: Ledger) -> None:
    """Retry asks it."""
    pull_id = order(ledger)
    claimed = claim_next(ledger)
    assert ledger.pulls.hand_back(claimed.id, claimed.fence, retry_in_ms=None, reason="it refuses")
    assert row(ledger, pull_id).state is PullState.FAILED
    assert ledger.pulls.retry(pull_id) == 1
    assert claim_next(ledger).question


def test_a_step_that_waits_is_due_when_its_time_has_come(ledger: Ledger) -> None:
    """An attempt that is not counted leaves the number as it was."""
    pull_id = order(ledger)
    claimed = claim_next(ledger)
    ledger.pulls.hand_back(claimed.id, claimed.fence, retry_in_ms=MINUTE_MS, reason="away", counted=False)
    assert ledger.pulls.due(limit=10) == ()
    assert ledger.pulls.claim(claimed.id, owner="r", lease_ms=MINUTE_MS) is None
    assert (row(ledger, pull_id).next_due_in_ms or 0) > 0
    assert ledger.pulls.retry(pull_id) == 1
    assert claim_next(ledger).attempt == 1


def test_what_brought_something_starts_its_attempts_anew(ledger: Ledger) -> None:
    """Rounds count what brought nothing."""
    order(ledger)
    answer(ledger, Listed("1.2.1", announced=3))
    claimed = claim_next(ledger)
    assert finish(ledger, claimed, Fetched(3, 1), retry_in_ms=0, rounds=0) is StepState.READY
    again = claim_next(ledger)
    assert (again.attempt, again.rounds) == (1, 0)
    assert finish(ledger, again, Fetched(3, 1), retry_in_ms=0, rounds=1) is StepState.READY
    third = claim_next(ledger)
    assert (third.attempt, third.rounds) == (2, 1)


def test_as_many_steps_of_a_source_run_as_the_pull_allows(ledger: Ledger) -> None:
    """And those of another source do not count."""
    order(ledger, policy=PullPolicy(associations=2))
    answer(ledger, *(Listed(f"1.2.{number}") for number in range(5)))
    order(ledger, OTHER)
    due = ledger.pulls.due(limit=10)
    assert [each.source for each in due] == ["other", "pacs", "pacs"]
    for step in due:
        assert ledger.pulls.claim(step.id, owner="r", lease_ms=MINUTE_MS)
    assert ledger.pulls.due(limit=10) == ()


def test_two_runners_never_have_the_same_place(ledger: Ledger) -> None:
    """Of eight that want the one place, one has it."""
    order(ledger)
    answer(ledger, *(Listed(f"1.2.{number}") for number in range(8)))
    steps = [step.id for step in ledger.pulls.steps(ledger.pulls.newest(limit=1)[0].id, limit=20)]
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda id_: ledger.pulls.claim(id_, owner="r", lease_ms=MINUTE_MS), steps))
    assert sum(each is not None for each in claimed) == 1


def test_the_urgent_goes_first(ledger: Ledger) -> None:
    """A large pull does not hold up the priors of a patient who is here."""
    order(ledger, priority=Priority.BULK)
    answer(ledger, *(Listed(f"1.2.{number}") for number in range(5)))
    urgent = order(ledger, priority=Priority.URGENT)
    assert claim_next(ledger).pull_id == urgent


def test_a_breaker_that_forwarding_opened_keeps_pulls_away_and_lets_one_try(
    ledger: Ledger, sql: Callable[[str], Sequence[object]]
) -> None:
    """One thing is known of a peer, whoever learned it."""
    order(ledger)
    ledger.flow.failed("pacs", policy=_POLICY, jitter=0, error="no connection")
    assert ledger.pulls.due(limit=10) == ()
    sql("UPDATE destinations SET probe_at = 1")
    assert claim_next(ledger).in_trouble
    assert sql("SELECT breaker FROM destinations WHERE name = 'pacs'") == [("half_open",)]
    assert ledger.flow.reached("pacs")


def test_a_source_that_is_held_is_not_asked(ledger: Ledger) -> None:
    """Until it is released."""
    order(ledger)
    (due,) = ledger.pulls.due(limit=10)
    ledger.flow.hold("pacs")
    assert ledger.pulls.due(limit=10) == ()
    assert ledger.pulls.claim(due.id, owner="r", lease_ms=MINUTE_MS) is None
    ledger.flow.release("pacs")
    assert claim_next(ledger).id == due.id


def test_a_pull_outside_of_its_windows_is_left_out(ledger: Ledger) -> None:
    """The ledger knows the windows, the caller the time."""
    pull_id = order(ledger, policy=PullPolicy(windows=("22:00-06:00",)))
    order(ledger, OTHER)
    assert ledger.pulls.open_windows() == {pull_id: ("22:00-06:00",)}
    assert [each.source for each in ledger.pulls.due(limit=10, closed=[pull_id])] == ["other"]


def test_cancel_takes_the_lease_from_who_runs(ledger: Ledger) -> None:
    """What it says afterwards is not written, and the question is gone."""
    pull_id = order(ledger)
    answer(ledger, Listed("1.2.1", announced=3), Listed("1.2.2"))
    claimed = claim_next(ledger)
    assert ledger.pulls.is_ours(claimed.id, claimed.fence)
    assert ledger.pulls.cancel(pull_id) is PullState.CANCELLED
    assert not ledger.pulls.is_ours(claimed.id, claimed.fence)
    assert not ledger.pulls.renew(claimed.id, claimed.fence, lease_ms=MINUTE_MS, here=1)
    assert finish(ledger, claimed, Fetched(3, 3, proof=Proof.UIDS)) is None
    assert dict(row(ledger, pull_id).steps) == {"cancelled": 2}
    assert ledger.pulls.due(limit=10) == ()
    assert ledger.pulls.retry(pull_id) == 0
    assert ledger.pulls.cancel("nobody") is None


def test_a_lease_that_ended_is_taken_over_with_a_higher_fence(
    ledger: Ledger, sql: Callable[[str], Sequence[object]]
) -> None:
    """The old runner writes nothing any more; its place is free."""
    order(ledger)
    old = claim_next(ledger)
    sql("UPDATE pull_steps SET due_at = 1 WHERE state = 'running'")
    new = claim_next(ledger)
    assert (new.id, new.fence, new.attempt) == (old.id, old.fence + 1, 2)
    assert ledger.pulls.answered(old.id, old.fence, [Listed("1.2.1")], truncated=False) is None
    assert ledger.pulls.answered(new.id, new.fence, [], truncated=False) is PullState.COMPLETE


def test_the_lease_of_a_dead_runner_is_ended(ledger: Ledger) -> None:
    """As those of transfers."""
    order(ledger)
    claimed = claim_next(ledger)
    assert ledger.leases.owners(host="gateway-1") == {"runner"}
    assert ledger.leases.end({"runner"}, host="gateway-1").pull_steps == (claimed.id,)
    assert [each.id for each in ledger.pulls.due(limit=10)] == [claimed.id]


def test_renewing_tells_how_far_it_is_and_how_long_it_will_take(
    ledger: Ledger, sql: Callable[[str], Sequence[object]]
) -> None:
    """What was here before the first attempt says nothing of the speed."""
    pull_id = order(ledger)
    answer(ledger, Listed("1.2.1", announced=100))
    claimed = claim_next(ledger)
    assert ledger.pulls.counted(claimed.id, claimed.fence, Fetched(100, 20))
    assert row(ledger, pull_id).eta_ms is None
    assert ledger.pulls.renew(claimed.id, claimed.fence, lease_ms=MINUTE_MS, here=60)
    sql("UPDATE pull_steps SET started_at = started_at - 40000 WHERE started_at IS NOT NULL")
    now = row(ledger, pull_id)
    # 40 in 40 seconds, and 40 are left.
    assert (now.announced, now.here) == (100, 60)
    assert 40_000 <= (now.eta_ms or 0) < 50_000


def test_what_nobody_has_counted_is_taken_to_be_as_large_as_the_rest(
    ledger: Ledger, sql: Callable[[str], Sequence[object]]
) -> None:
    """An estimate is better than none: not every source counts."""
    pull_id = order(ledger)
    answer(ledger, Listed("1.2.1", announced=10), Listed("1.2.2"), Listed("1.2.3"))
    finish(ledger, claim_next(ledger), Fetched(10, 10, proof=Proof.UIDS))
    sql("UPDATE pull_steps SET started_at = started_at - 40000 WHERE number = 1")
    assert 80_000 <= (row(ledger, pull_id).eta_ms or 0) < 90_000


def test_priors_are_ordered_once(ledger: Ledger) -> None:
    """However many instances of the study ask for them, from however many threads."""
    new = NewPull(
        PullKind.PRIORS, OTHER, ("PatientID=4711",), priors=PriorsRule("1.2.9", "4711"), only_once="p 1.2.9"
    )
    with ThreadPoolExecutor(4) as pool:
        ids = [each for each in pool.map(ledger.pulls.order, [new] * 8) if each]
    assert len(ids) == 1
    assert row(ledger, ids[0]).of_study == "1.2.9"
    # The source became known with it.
    assert ledger.destination("other") == OTHER


def test_polls_do_not_pile_up_and_know_what_was_listed(ledger: Ledger) -> None:
    """The next is made when the last is over and its time has come; only a whole list moves the time."""
    new = NewPull(PullKind.POLL, PACS, ("StudyDate=20260101-",), name="night")
    (at_first,) = ledger.pulls.polls(["night"])
    assert (at_first.due_in_ms, at_first.known_until_ms, at_first.is_open) == (0, None, False)
    assert ledger.pulls.order_poll(new, every_ms=0)
    assert ledger.pulls.order_poll(new, every_ms=0) is None
    answer(ledger, Listed("1.2.1", announced=1, is_here=True), truncated=True)
    assert ledger.pulls.polls(["night"])[0].known_until_ms is None

    second = ledger.pulls.order_poll(new, every_ms=3_600_000)
    assert second
    answer(ledger, Listed("1.2.1", announced=1, is_here=True))
    (state,) = ledger.pulls.polls(["night"])
    assert state.known_until_ms is not None
    assert (state.is_open, state.due_in_ms > 3_000_000) == (False, True)
    # What was here all along is no row of a poll.
    assert not row(ledger, second).steps
    assert ledger.pulls.order_poll(new, every_ms=0) is None
    assert ledger.pulls.order_poll(new, every_ms=0, force=True)
    # And a poll that brought nothing leaves nothing behind.
    assert ledger.pulls.one(second) is None


def test_what_is_here_is_in_the_spool_or_came_since(
    ledger: Ledger, sql: Callable[[str], Sequence[object]]
) -> None:
    """What went on and is nowhere any more is fetched again, but for what came since the pull began."""
    ledger.register([arrival(1), arrival(2, destinations=()), arrival(3)])
    uids = [f"1.2.3.{number}" for number in range(1, 5)]
    assert ledger.pulls.here(uids, since_ms=2**60) == set(uids[:3])
    assert ledger.pulls.count_here(["1.2.1", "1.2.2"]) == {"1.2.1": 3}
    sql("UPDATE instances SET released_at = 5, registered_at = 4 WHERE sop_instance_uid = '1.2.3.1'")
    assert ledger.pulls.here(uids, since_ms=2**60) == set(uids[1:3])
    assert ledger.pulls.here(uids, since_ms=5) == set(uids[:3])
    assert ledger.pulls.count_here(["1.2.1"]) == {"1.2.1": 2}
    assert ledger.pulls.count_here(["1.2.1"], archived_only=False) == {"1.2.1": 3}
    assert ledger.pulls.count_here(["1.2.1"], series_instance_uid="1.2.1.9") == {}
    archive_all(ledger)
    assert ledger.pulls.count_here(["1.2.1"]) == {"1.2.1": 3}


def test_retention_takes_what_is_complete_and_leaves_what_somebody_has_to_see(ledger: Ledger) -> None:
    """A partial pull stays until it is retried or cancelled."""
    complete = order(ledger)
    answer(ledger, Listed("1.2.1", announced=1, is_here=True))
    partial = order(ledger)
    answer(ledger, Listed("1.2.2", announced=1))
    finish(ledger, claim_next(ledger), Fetched(1, 0, (Missing("1.2.2.1", "1.2.3.9"),)))
    still_open = order(ledger)

    assert ledger.retention.prune_pulls(age_ms=MINUTE_MS, limit=10).pulls == 0
    assert ledger.retention.prune_pulls(age_ms=-MINUTE_MS, limit=10).pulls == 1
    assert ledger.pulls.one(complete) is None
    assert {each.id for each in ledger.pulls.newest(limit=9)} == {partial, still_open}
    ledger.pulls.cancel(partial)
    assert ledger.retention.prune_pulls(age_ms=-MINUTE_MS, limit=10).pulls == 1
    assert ledger.pulls.ids_like(still_open[:20])[-1] == still_open
