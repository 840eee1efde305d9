"""Pulls over real sockets from an archive on pynetdicom: what came is compared with what was announced."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from dicomrelay.ledger.breaker import BreakerState
from dicomrelay.ledger.values_pulls import Proof, PullKind, PullRow, PullState, StepKind, StepState
from dicomrelay.routing.pulls import PriorsWanted, order_priors
from dicomrelay.runtime import home
from dicomrelay.runtime.queue import Task, build_celery
from dicomrelay.scheduling.worklist import Worklist
from dicomrelay.scheduling.worklist_change import OrderKey
from dicomrelay.scheduling.worklist_status import StepStatus
from dicomrelay.spool import Spool
from tests.support.pull_house import SETTLE_S, PullHouse, pull_house
from tests.support.pull_source import FIND, GET, MOVE, PullSource, pull_source
from tests.support.queries import ROOT
from tests.support.worklist import item
from workers import tasks
from workers.forwarding import Forwarding
from workers.pull import pull, pull_from
from workers.pull_sweep import PullSweeper
from workers.sweep import Sweeper

# Of patient P1: a study of a CT series of three and an MR series of two, and one of a single MR image.
P1 = [f"{ROOT}.1.1.1", f"{ROOT}.1.1.2", f"{ROOT}.1.1.3", f"{ROOT}.1.2.1", f"{ROOT}.1.2.2", f"{ROOT}.2.1.1"]


_ENTRIES = """
[[pulls]]
name = "night"
source = "old"
every_s = 3600
first_days = 60
overlap_days = 20
[[pulls]]
name = "priors"
source = "old"
priority = "urgent"
priors = { newest = 1 }
[[pulls]]
name = "expected"
source = "old"
priority = "urgent"
priors = { newest = 9, worklist_days = 1 }
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PullSource, PullHouse]]:
    folder = tmp_path_factory.mktemp("pulls")
    with (
        pull_source(folder / "in") as source,
        pull_house(folder / "home", f"127.0.0.1:{source.port}", peers=_ENTRIES) as house,
    ):
        yield source, house


@pytest.fixture
def source(running: tuple[PullSource, PullHouse]) -> PullSource:
    running[0].reset()
    return running[0]


@pytest.fixture
def house(running: tuple[PullSource, PullHouse], source: PullSource) -> Iterator[PullHouse]:
    made = running[1]
    made.empty()
    source.knows["DICOMRELAY"] = made.gateway_port
    rooms = made.rooms
    yield made
    made.rooms = rooms


def proofs(house: PullHouse, row: PullRow) -> list[str]:
    return [
        step.proof
        for step in house.rooms.ledger.pulls.steps(row.id, limit=100)
        if step.kind is StepKind.FETCH
    ]


@pytest.mark.parametrize("get", [False, True])
def test_a_patient_is_fetched_study_by_study_and_each_instance_is_compared(
    house: PullHouse, source: PullSource, capfd: pytest.CaptureFixture[str], *, get: bool
) -> None:
    """A second pull finds all of it here and retrieves nothing; no log names the patient."""
    row = house.run("PatientID=P1", get=get)
    assert (row.state, dict(row.steps), row.announced, row.here) == (PullState.COMPLETE, {"done": 2}, 6, 6)
    assert proofs(house, row) == ["uids", "uids"]
    assert house.uids() == P1
    assert source.retrieved == ["STUDY", "STUDY"]

    again = house.run("PatientID=P1", get=get)
    assert (again.state, again.here) == (PullState.COMPLETE, 6)
    assert source.retrieved == ["STUDY", "STUDY"]
    said = "".join(capfd.readouterr())
    assert "pull fetched" in said
    assert "P1" not in said.replace(str(house.rooms.settings.home), "")
    assert "LLER" not in said


@pytest.mark.parametrize("get", [False, True])
def test_an_attempt_that_died_costs_what_was_under_way(
    house: PullHouse, source: PullSource, *, get: bool
) -> None:
    """The next asks for the instances that are missing, and no others."""
    source.aborts_after = 2
    row = house.run(f"StudyInstanceUID={ROOT}.1", get=get, attempts=9)
    source.aborts_after = -1
    house.work(now=True)
    row = house.row(row.id)
    assert (row.state, row.here) == (PullState.COMPLETE, 5)
    assert source.retrieved[0] == "STUDY"
    assert "STUDY" not in source.retrieved[1:]
    assert "IMAGE 1" in source.retrieved
    assert house.uids() == P1[:5]


def test_what_never_comes_is_listed_and_fetched_when_it_is_there(
    house: PullHouse, source: PullSource
) -> None:
    """The source says Success; that proves nothing."""
    source.withholds = {P1[1], P1[4]}
    row = house.run(f"StudyInstanceUID={ROOT}.1")
    house.work(now=True)
    row = house.row(row.id)
    assert (row.state, row.here, row.missing) == (PullState.PARTIAL, 3, 2)
    assert row.reason == "the source says that it sent all, and not all came"
    missing = house.rooms.ledger.pulls.missing(row.id, limit=10)
    assert [each.sop_instance_uid for _, each in missing] == [P1[1], P1[4]]

    source.withholds.clear()
    assert house.rooms.ledger.pulls.retry(row.id) == 1
    house.work()
    assert house.row(row.id).state is PullState.COMPLETE
    assert house.uids() == P1[:5]


def test_a_source_that_does_not_know_us_is_said_so_with_what_to_do(
    house: PullHouse, source: PullSource
) -> None:
    """A801 is no matter of time."""
    source.knows.clear()
    row = house.run(f"StudyInstanceUID={ROOT}.1")
    assert row.state is PullState.FETCHING
    assert "the move destination is unknown" in row.reason
    assert "DICOMRELAY" in row.advice
    assert str(house.gateway_port) in row.advice
    assert (row.next_due_in_ms or 0) > 30_000


def test_a_source_that_falls_silent_is_not_waited_for(house: PullHouse, source: PullSource) -> None:
    """Nothing came and nothing was said for its response time: it is told to stop, and asked again later."""
    impatient = house.rooms.settings.destinations[0].model_copy(update={"response_timeout_s": 0.3})
    settings = house.rooms.settings.model_copy(update={"destinations": [impatient]})
    house.rooms = replace(house.rooms, settings=settings)
    source.stalls_s = 10.0
    pull_id = house.order(f"StudyInstanceUID={ROOT}.1")
    house.work(steps=2)
    row = house.row(pull_id)
    assert (row.state, row.reason) == (PullState.FETCHING, "nothing came for 0 s, and no response")
    source.stalls_s = 0.0
    house.work(now=True)
    assert house.row(pull_id).state is PullState.COMPLETE


def test_a_gateway_that_lets_the_source_not_in_is_named(tmp_path: Path, source: PullSource) -> None:
    """Every sub-operation fails at our own door."""
    peers = '[[peers]]\nae_title = "SOMEBODY"\n'
    with pull_house(tmp_path / "closed", f"127.0.0.1:{source.port}", peers=peers) as house:
        source.knows["DICOMRELAY"] = house.gateway_port
        row = house.run(f"StudyInstanceUID={ROOT}.2")
        assert "[[peers]]" in row.advice
        assert row.here == 0


@pytest.mark.parametrize(("counts", "proof"), [(True, Proof.COUNTS), (False, Proof.WORD)])
def test_a_source_that_lists_no_instances_is_taken_by_number_or_word(
    house: PullHouse, source: PullSource, proof: Proof, *, counts: bool
) -> None:
    """And it is written which of them it was."""
    source.lists_images, source.counts = False, counts
    row = house.run(f"StudyInstanceUID={ROOT}.1")
    assert row.state is PullState.COMPLETE
    assert proofs(house, row) == [proof.value]


def test_a_number_that_is_not_reached_is_no_proof(house: PullHouse, source: PullSource) -> None:
    """How many are missing is known, which ones is not."""
    source.lists_images, source.withholds = False, {P1[0]}
    row = house.run(f"StudyInstanceUID={ROOT}.1")
    house.work(now=True)
    row = house.row(row.id)
    assert (row.state, row.here, row.missing) == (PullState.PARTIAL, 4, 1)
    assert house.rooms.ledger.pulls.missing(row.id, limit=9) == ()


def test_a_source_without_c_find_is_pulled_from_by_uid(tmp_path: Path) -> None:
    """Its word is all that there is; what only a C-FIND can find is given up, with what to do."""
    with (
        pull_source(tmp_path / "in", services=(GET,)) as source,
        pull_house(tmp_path / "home", f"127.0.0.1:{source.port}") as house,
    ):
        row = house.run(f"StudyInstanceUID={ROOT}.2", get=True)
        assert (row.state, proofs(house, row)) == (PullState.COMPLETE, ["word"])
        row = house.run("PatientID=P1", get=True, attempts=1)
        assert (row.state, row.reason) == (PullState.FAILED, "the source answers no C-FIND")


def test_a_retrieval_that_the_source_does_not_serve_is_given_up(tmp_path: Path) -> None:
    """It answers, and the answer will be the same."""
    with (
        pull_source(tmp_path / "in", services=(FIND, MOVE)) as source,
        pull_house(tmp_path / "home", f"127.0.0.1:{source.port}") as house,
    ):
        row = house.run(f"StudyInstanceUID={ROOT}.2", get=True, attempts=1)
        assert (row.state, row.reason) == (PullState.PARTIAL, "the source does no C-GET")
        assert 'retrieve = "move"' in row.advice


def test_a_question_that_is_refused_is_asked_again_and_given_up(house: PullHouse, source: PullSource) -> None:
    """With its status; nothing that the source says of its own is kept."""
    source.find_status = 0xC001
    row = house.run("PatientID=P1")
    house.work(now=True)
    row = house.row(row.id)
    assert row.state is PullState.FAILED
    assert "0xC001" in row.reason
    source.find_status = 0
    house.rooms.ledger.pulls.retry(row.id)
    house.work()
    assert house.row(row.id).state is PullState.COMPLETE


def test_a_study_that_is_asked_for_and_not_there_is_missing(house: PullHouse) -> None:
    """Who names a study wants to know."""
    row = house.run("StudyInstanceUID=1.2.3.4\\" + f"{ROOT}.2")
    house.work(now=True)
    row = house.row(row.id)
    assert (row.state, dict(row.steps)) == (PullState.PARTIAL, {"done": 1, "given_up": 1})
    assert row.reason == "the source has nothing of it, or shows us nothing"


def test_a_series_alone_is_fetched_alone(house: PullHouse, source: PullSource) -> None:
    """At level SERIES."""
    row = house.run(f"StudyInstanceUID={ROOT}.1", f"SeriesInstanceUID={ROOT}.1.2", level="SERIES")
    assert (row.state, row.announced) == (PullState.COMPLETE, 2)
    assert source.retrieved == ["SERIES"]
    assert house.uids() == P1[3:5]


def test_more_than_the_limit_makes_it_partial(house: PullHouse) -> None:
    """What was listed is fetched."""
    row = house.run("StudyDate=20250101-", limit=2)
    assert (row.state, dict(row.steps), row.truncated) == (PullState.PARTIAL, {"done": 2}, True)


def test_a_source_that_matches_nothing_sends_us_no_other_patient(
    house: PullHouse, source: PullSource
) -> None:
    """Each answer is held against what was asked for."""
    source.matches = False
    row = house.run("PatientID=P2")
    assert (row.state, dict(row.steps)) == (PullState.COMPLETE, {"done": 1})
    assert {uid.removeprefix(f"{ROOT}.").split(".")[0] for uid in house.uids()} == {"3"}


def test_a_source_that_is_away_opens_the_breaker_and_costs_no_attempts(
    tmp_path: Path, source: PullSource
) -> None:
    """Forwarding to it knows that too; when it is back, the pull goes on by itself."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        port = taken.getsockname()[1]
        with pull_house(tmp_path / "home", f"127.0.0.1:{port}", more="breaker_failures = 2") as house:
            pull_id = house.order("PatientID=P1")
            house.work(steps=2, now=True)
            (flow,) = house.rooms.ledger.flow.destinations("old")
            assert flow.breaker == BreakerState.OPEN
            assert house.rooms.ledger.pulls.due(limit=1) == ()
            row = house.row(pull_id)
            assert (row.state, "refused" in row.reason) == (PullState.ASKING, True)
            (step,) = house.rooms.ledger.pulls.steps(pull_id, limit=5)
            # The first failure was an attempt, the one that opened the breaker is none.
            assert (step.state, step.attempt) == (StepState.READY, 1)

            moved = house.rooms.settings.destinations[0].model_copy(update={"port": source.port})
            settings = house.rooms.settings.model_copy(update={"destinations": [moved]})
            house.rooms = replace(house.rooms, settings=settings)
            source.knows["DICOMRELAY"] = house.gateway_port
            house.sql("UPDATE destinations SET probe_at = 1")
            house.work()
            assert house.row(pull_id).state is PullState.COMPLETE
            assert house.rooms.ledger.flow.destinations("old")[0].breaker == BreakerState.CLOSED


def test_no_study_is_begun_while_our_disk_is_nearly_full(house: PullHouse, source: PullSource) -> None:
    """And no attempt is counted."""
    house.rooms = replace(house.rooms, spool=Spool(house.rooms.spool.root, min_free_bytes=1 << 60))
    pull_id = house.order(f"StudyInstanceUID={ROOT}.2")
    house.work()
    (step,) = (
        each for each in house.rooms.ledger.pulls.steps(pull_id, limit=5) if each.kind is StepKind.FETCH
    )
    assert (step.state, step.attempt) == (StepState.READY, 0)
    assert step.due_in_ms
    assert not source.retrieved


def test_a_process_that_ends_hands_its_step_back(house: PullHouse) -> None:
    """Due at once, and no attempt counted."""
    pull_id = house.order(f"StudyInstanceUID={ROOT}.2")
    house.work(steps=1)
    house.rooms.stopping.set()
    (due,) = house.rooms.ledger.pulls.due(limit=1)
    pull(house.rooms, due.id, settle_s=SETTLE_S)
    house.rooms.stopping.clear()
    (again,) = house.rooms.ledger.pulls.due(limit=1)
    assert again == due
    house.work()
    assert house.row(pull_id).state is PullState.COMPLETE


def test_a_task_goes_on_with_what_is_due_for_the_source_and_says_the_rest(house: PullHouse) -> None:
    """One task is bounded; what is left is another's."""
    pull_id = house.order("PatientID=P1")
    (due,) = house.rooms.ledger.pulls.due(limit=1)
    assert pull_from(house.rooms, due.id, for_s=0) == 1
    (said,) = (ids for task, ids in house.noted.said if task is Task.PULL)
    assert pull_from(house.rooms, said[0], for_s=60) == 2
    assert house.row(pull_id).state is PullState.COMPLETE


def test_a_message_reaches_the_task_of_its_name(house: PullHouse) -> None:
    """Celery knows it, and it does the step."""
    pull_id = house.order("PatientID=nobody")
    (due,) = house.rooms.ledger.pulls.due(limit=1)
    app = build_celery(house.rooms.settings)
    tasks.register(app, lambda: house.rooms, lambda: Forwarding(house.rooms, 1))
    assert {task.value for task in Task} <= set(app.tasks)
    app.tasks[Task.PULL.value](due.id)
    assert house.row(pull_id).state is PullState.COMPLETE


def test_the_sweeper_says_what_is_due_and_not_again_at_once(house: PullHouse) -> None:
    """A wake-up that was lost is said again after a while, and at once when its runner died."""
    now = [0.0]
    sweeper = Sweeper(house.rooms, clock=lambda: now[0])
    house.order("PatientID=P1")
    (due,) = house.rooms.ledger.pulls.due(limit=1)
    house.sql("UPDATE pull_steps SET rank = -1")  # before the poll that the sweeper makes

    def said() -> int:
        sweeper.sweep()
        count = house.noted.said.count((Task.PULL, (due.id,)))
        house.noted.said.clear()
        return count

    assert (said(), said()) == (1, 0)
    now[0] += 31
    assert said() == 1
    claimed = house.rooms.ledger.pulls.claim(due.id, owner=house.rooms.owner, lease_ms=30_000)
    assert claimed is not None
    host, boot, namespace, _, start = claimed_owner(house).split("/")
    house.sql(f"UPDATE pull_steps SET owner = '{host}/{boot}/{namespace}/4194301/{start}'")
    assert said() == 1


def claimed_owner(house: PullHouse) -> str:
    return str(house.sql("SELECT owner FROM pull_steps WHERE state = 'running'")[0][0])


def test_a_poll_fetches_what_is_new_since_the_last(house: PullHouse, source: PullSource) -> None:
    """By date, with what the entry asks for; a study that is whole here is not looked at again."""
    sweeper = PullSweeper(house.rooms, today=lambda: date(2026, 3, 5))
    assert sweeper.look() == 1
    house.work()
    (first,) = house.rooms.ledger.pulls.newest(limit=9)
    # From 2026-01-04 on: the studies of February 15 and March 1.
    assert (first.state, dict(first.steps), first.name) == (PullState.COMPLETE, {"done": 2}, "night")
    assert sweeper.look() == 0
    house.sql("UPDATE pull_polls SET due_at = 1, known_until = 1772500000000")  # 2026-03-03
    assert PullSweeper(house.rooms, today=lambda: date(2026, 3, 5)).look() == 1
    house.work()
    second = house.rooms.ledger.pulls.newest(limit=1)[0]
    assert (second.id != first.id, second.state, dict(second.steps)) == (True, PullState.COMPLETE, {})
    assert len(source.retrieved) == 2


def test_priors_of_a_study_are_fetched_by_rule(house: PullHouse) -> None:
    """Of the same patient with the same modality, the newest; never the study itself."""
    wanted = PriorsWanted(f"{ROOT}.99", "P1", modality="CT")
    orders, settings = house.rooms.ledger.pulls, house.rooms.settings
    pull_id = order_priors(orders, settings, "priors", wanted, date(2026, 3, 5))
    assert pull_id is not None
    assert order_priors(orders, settings, "priors", wanted, date(2026, 3, 5)) is None
    house.work()
    row = house.row(pull_id)
    assert (row.state, row.of_study, dict(row.steps)) == (PullState.COMPLETE, f"{ROOT}.99", {"done": 1})
    assert house.uids() == P1[:5]


def test_priors_of_who_is_expected_are_here_before(house: PullHouse) -> None:
    """For each study of the worklist that starts soon and has not begun, once, whichever process looks."""
    with closing_worklist(house) as worklist:
        begun = item(3, PatientID="P2", StudyInstanceUID="1.2.3.3")
        worklist.put(
            [item(1), item(2, PatientID="P2", step_ScheduledProcedureStepStartDate="20261201"), begun]
        )
        worklist.set_status(OrderKey(study_instance_uid="1.2.3.3"), StepStatus.STARTED)
    now = [0.0]

    def look(sweeper: PullSweeper) -> list[PullRow]:
        sweeper.look()
        now[0] += 31
        return [row for row in house.rooms.ledger.pulls.newest(limit=9) if row.kind is PullKind.PRIORS]

    sweeper = PullSweeper(house.rooms, clock=lambda: now[0], today=lambda: date(2026, 11, 22))
    assert [row.of_study for row in look(sweeper)] == ["1.2.3.1"]
    assert len(look(sweeper)) == 1
    again = PullSweeper(house.rooms, clock=lambda: now[0], today=lambda: date(2026, 11, 22))
    assert len(look(again)) == 1
    later = PullSweeper(house.rooms, clock=lambda: now[0], today=lambda: date(2026, 11, 30))
    assert [row.of_study for row in look(later)] == ["1.2.3.2", "1.2.3.1"]
    house.work()
    # The CT study of P1 and not the MR; of P2 the CT.
    assert {row.here for row in look(later)} == {5, 2}


@contextmanager
def closing_worklist(house: PullHouse) -> Iterator[Worklist]:
    worklist = Worklist.open(home.ledger_url(house.rooms.settings))
    yield worklist
    worklist.dispose()
