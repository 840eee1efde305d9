"""Performed procedure steps in both databases: kept once, in order, under lease, and what a study learns from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from alembic import command
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from sqlalchemy import create_engine, inspect, text

from dicomrelay.cli.status_mpps import unheard_messages
from dicomrelay.cli.tracing.performed import performed_steps
from dicomrelay.dicom.performed_step import StepState
from dicomrelay.dicom.wildcards import Wildcards
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.completion import CompletionPolicy
from dicomrelay.ledger.engine import Database, database_url
from dicomrelay.ledger.migrate import _config
from dicomrelay.ledger.schema import METADATA
from dicomrelay.runtime import home
from dicomrelay.scheduling import performed_writing
from dicomrelay.scheduling.performed_expected import is_in_progress
from dicomrelay.scheduling.performed_rules import StepRefused
from dicomrelay.scheduling.performed_steps import PerformedSteps
from dicomrelay.scheduling.performed_values import (
    ClaimedForward,
    ForwardPeer,
    ForwardState,
    MessageKind,
    StepRow,
)
from dicomrelay.scheduling.worklist import Worklist
from dicomrelay.settings import Settings
from tests.support import performed as said
from tests.support.ledger import MINUTE_MS, arrival
from tests.support.worklist import item

UID = "1.2.9"
# Quiet for an hour: what is complete is so by evidence.
PATIENT = CompletionPolicy(
    quiet_ms=3_600_000, quiet_after_association_ms=3_600_000, batch_instances=200, batch_bytes=10**9
)


@pytest.fixture
def steps(ledger_url: str) -> Iterator[PerformedSteps]:
    """Forwards all to `ris`, and MR to `mr`."""
    opened = PerformedSteps(Database(ledger_url), [ForwardPeer("ris"), ForwardPeer("mr", (Wildcards("M*"),))])
    yield opened
    opened.dispose()


def status_of(call: object, *arguments: object) -> int:
    with pytest.raises(StepRefused) as caught:
        call(*arguments)  # type: ignore[operator]
    return int(caught.value.status)


def only(steps: PerformedSteps) -> StepRow:
    (row,) = steps.steps()
    return row


def claim(
    steps: PerformedSteps, *, lease_ms: int = MINUTE_MS, name: str = "ris"
) -> tuple[ClaimedForward, ...]:
    return steps.claim(name, owner="runner", lease_ms=lease_ms, limit=16)


def in_progress(text: str = "again") -> Dataset:
    return said.changed_by(Dataset(), {"PerformedProcedureStepDescription": text})


def test_a_step_is_kept_with_all_that_was_said(steps: PerformedSteps) -> None:
    """Characters of its character set, the bytes as they came, and no patient outside of the attributes."""
    created = said.message(said.created())
    steps.create(created)
    assert steps.change(said.message(in_progress())) is StepState.IN_PROGRESS
    assert steps.change(said.message(said.ended())) is StepState.COMPLETED
    found = steps.attributes(UID)
    assert found.PatientName == "Müller^Jürgen"
    assert found.PerformedProcedureStepDescription == "again"
    row = only(steps)
    assert (row.state, row.modality, row.messages, row.series, row.instances) == (
        StepState.COMPLETED,
        "CT",
        3,
        1,
        1,
    )
    (scheduled,) = row.scheduled
    assert (scheduled.study_instance_uid, scheduled.accession_number) == (said.STUDY, "A1")
    messages = steps.messages(UID)
    assert [each.kind for each in messages] == [MessageKind.CREATE, MessageKind.SET, MessageKind.SET]
    assert [each.state.is_final for each in messages] == [False, False, True]
    assert messages[0].data_set_bytes == len(created.data_set)
    assert "Müller" not in repr(row) + repr(messages)


def test_who_made_it_changes_and_reads_it(steps: PerformedSteps, ledger_url: str) -> None:
    """0124 for another AE title, also once it is final; the settings may let others."""
    steps.create(said.message(said.created()))
    theirs = replace(said.message(said.ended()), calling_ae_title="CT_2")
    assert status_of(steps.change, theirs) == 0x0124
    assert status_of(steps.attributes, UID, "CT_2") == 0x0124
    assert steps.attributes(UID, "CT_1") == steps.attributes(UID)
    assert only(steps).state is StepState.IN_PROGRESS
    open_ = PerformedSteps(Database(ledger_url), others_may=["set"])
    assert status_of(open_.attributes, UID, "CT_2") == 0x0124
    assert open_.change(theirs) is StepState.COMPLETED
    assert status_of(steps.change, theirs) == 0x0124
    open_.dispose()


def test_what_came_in_a_day_is_counted_by_who_sent_it(steps: PerformedSteps) -> None:
    first, second = said.message(said.created()), said.message(in_progress())
    steps.create(first)
    steps.change(second)
    other = replace(said.message(said.created(), "1.2.8"), calling_ae_title="MR_1")
    steps.create(other)
    day = 86_400_000
    assert steps.taken(day) == {
        "CT_1": len(first.data_set) + len(second.data_set),
        "MR_1": len(other.data_set),
    }
    assert steps.taken(-1000) == {}


def test_a_step_does_not_grow_without_end(steps: PerformedSteps, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each message may add attributes; what is refused leaves it as it was."""
    monkeypatch.setattr(performed_writing, "MAX_JSON_CHARACTERS", 20_000)
    steps.create(said.message(said.created()))
    for number in range(3):
        more = Dataset()
        more.private_block(0x0011, "ACME", create=True).add_new(number, "UT", "x" * 8000)
        if number < 2:
            steps.change(said.message(more))
        else:
            assert status_of(steps.change, said.message(more)) == 0x0213
    assert only(steps).messages == 3


def test_out_of_order_and_twice(steps: PerformedSteps) -> None:
    """0112 before there is one, 0111 for a second, 0110 after the end: and nothing of these is kept."""
    assert status_of(steps.change, said.message(said.ended())) == 0x0112
    assert status_of(steps.attributes, UID) == 0x0112
    assert steps.steps() == ()
    steps.create(said.message(said.created()))
    assert status_of(steps.create, said.message(said.created(PerformedStationAETitle="OTHER"))) == 0x0111
    assert only(steps).station_ae_title == "CT_1"
    assert status_of(steps.change, said.message(said.ended(PerformedProcedureStepEndDate=None))) == 0x0121
    assert only(steps).state is StepState.IN_PROGRESS
    steps.change(said.message(said.ended("DISCONTINUED")))
    assert status_of(steps.change, said.message(said.ended())) == 0x0110
    assert (only(steps).state, only(steps).messages) == (StepState.DISCONTINUED, 2)


def test_one_of_many_creates_and_one_of_many_ends_wins(steps: PerformedSteps) -> None:
    """Whoever is late gets the standard's status, not a fault of the database."""

    def outcome(call: object, attributes: Dataset) -> int:
        try:
            call(said.message(attributes))  # type: ignore[operator]
        except StepRefused as error:
            return int(error.status)
        return 0

    with ThreadPoolExecutor(4) as pool:
        created = [*pool.map(lambda _: outcome(steps.create, said.created()), range(4))]
        ends = [*pool.map(lambda _: outcome(steps.change, said.ended()), range(4))]
    assert sorted(created) == [0, 0x0111, 0x0111, 0x0111]
    assert sorted(ends) == [0, 0x0110, 0x0110, 0x0110]
    assert [each.number for each in steps.messages(UID)] == [1, 2]


def test_messages_go_in_order(steps: PerformedSteps) -> None:
    """The next is due when the one before has been taken; each with the bytes that came."""
    messages = [said.message(said.created()), said.message(in_progress()), said.message(said.ended())]
    steps.create(messages[0])
    for each in messages[1:]:
        steps.change(each)
    assert claim(steps, name="mr") == ()
    for number, message in enumerate(messages, 1):
        (claimed,) = claim(steps)
        assert (claimed.number, claimed.data_set) == (number, message.data_set)
        assert claimed.transfer_syntax_uid == message.transfer_syntax_uid
        assert claim(steps) == ()
        assert steps.sent(claimed, 0)
    assert claim(steps) == ()
    assert {each.state for each in only(steps).forwards} == {ForwardState.SENT}


def test_a_message_that_comes_while_one_is_open_waits_behind_it(steps: PerformedSteps) -> None:
    steps.create(said.message(said.created()))
    (first,) = claim(steps)
    steps.change(said.message(said.ended()))
    assert claim(steps) == ()
    assert steps.give_up(first, status=0x0106, reason="no")
    assert claim(steps) == ()
    assert [each.state for each in only(steps).forwards] == [
        ForwardState.NEEDS_ATTENTION,
        ForwardState.WAITING,
    ]
    assert steps.retry(UID) == 1
    (again,) = claim(steps)
    assert (again.number, again.attempts) == (1, 0)
    assert steps.sent(again, 0)
    (second,) = claim(steps)
    assert second.number == 2


def test_a_runner_whose_lease_is_over_writes_no_more(steps: PerformedSteps) -> None:
    """And the next one knows that the peer may have had it."""
    steps.create(said.message(said.created()))
    (late,) = claim(steps, lease_ms=-1)
    assert steps.begin(late, lease_ms=-1)
    (now,) = claim(steps)
    assert (late.was_uncertain, now.was_uncertain) == (False, True)
    assert not steps.sent(late, 0)
    assert not steps.give_up(late, status=None, reason="late")
    assert not steps.later(late, 0, reason="late")
    assert steps.later(now, 0, reason="refused", status=0x0213)
    (next_,) = claim(steps)
    assert (next_.attempts, next_.was_uncertain) == (1, True)
    steps.hand_back([next_])
    (again,) = claim(steps)
    assert again.attempts == 1
    assert steps.sent(again, 0)


def test_only_what_was_begun_may_have_been_heard(steps: PerformedSteps) -> None:
    """Who claims many and dies has said one of them, or none: no other is taken for heard."""
    for uid in (UID, "1.2.8"):
        steps.create(said.message(said.created(), uid))
    dead = claim(steps, lease_ms=-1)
    assert steps.begin(dead[0], lease_ms=-1)
    again = claim(steps)
    assert {each.sop_instance_uid: each.was_uncertain for each in again} == {
        dead[0].sop_instance_uid: True,
        dead[1].sop_instance_uid: False,
    }
    assert not steps.begin(dead[1], lease_ms=MINUTE_MS)
    assert steps.renew(dead, lease_ms=MINUTE_MS) == 0
    assert steps.renew(again, lease_ms=MINUTE_MS) == 2
    steps.hand_back(again)
    assert [each.was_uncertain for each in sorted(claim(steps), key=again_order(again))] == [
        each.was_uncertain for each in again
    ]


def again_order(first: tuple[ClaimedForward, ...]) -> Callable[[ClaimedForward], int]:
    uids = [each.sop_instance_uid for each in first]
    return lambda each: uids.index(each.sop_instance_uid)


def test_what_the_dead_held_is_due_at_once(steps: PerformedSteps) -> None:
    """And of nobody else."""
    for uid in (UID, "1.2.8"):
        steps.create(said.message(said.created(), uid))
    (dead,) = steps.claim("ris", owner="dead", lease_ms=MINUTE_MS, limit=1)
    (living,) = steps.claim("ris", owner="living", lease_ms=MINUTE_MS, limit=1)
    assert steps.owners("ris") == {"dead", "living"}
    assert steps.owners("mr") == frozenset()
    assert steps.end_leases("ris", []) == 0
    assert steps.end_leases("mr", ["dead"]) == 0
    assert steps.end_leases("ris", ["dead"]) == 1
    (again,) = claim(steps)
    assert again.sop_instance_uid == dead.sop_instance_uid
    assert not steps.sent(dead, 0)
    assert steps.sent(living, 0)


def test_who_is_dropped_hears_nothing_more(steps: PerformedSteps) -> None:
    """Of that step; one that is no more in the settings is not tried again."""
    steps.create(said.message(said.created(Modality="MR")))
    (claimed,) = claim(steps, name="mr")
    assert steps.drop(UID, "mr") == 1
    assert not steps.sent(claimed, 0)
    steps.change(said.message(said.ended()))
    assert [(each.destination, each.state) for each in only(steps).forwards] == [
        ("mr", ForwardState.DROPPED),
        ("ris", ForwardState.WAITING),
        ("ris", ForwardState.WAITING),
    ]
    assert steps.retry(UID, ["mr"]) == 0
    for _ in range(2):
        (each,) = claim(steps)
        steps.sent(each, 0)
    assert steps.prune(age_ms=-1000) == 1


def test_to_whom_depends_on_the_modality(steps: PerformedSteps) -> None:
    steps.create(said.message(said.created(Modality="MR")))
    assert {each.destination for each in only(steps).forwards} == {"ris", "mr"}
    assert steps.orphaned(["ris"], "gone from the settings") == 1
    stuck = {each.destination: each for each in only(steps).forwards}
    assert stuck["mr"].state is ForwardState.NEEDS_ATTENTION
    assert stuck["ris"].state is ForwardState.WAITING
    # What comes later goes where the N-CREATE went, whatever the settings say by then.
    steps.change(said.message(said.ended()))
    assert sum(each.number == 2 for each in only(steps).forwards) == 2


def test_what_failed_waits_until_its_time(steps: PerformedSteps) -> None:
    steps.create(said.message(said.created()))
    (claimed,) = claim(steps)
    assert steps.later(claimed, MINUTE_MS, reason="not there", was_sent=True)
    assert claim(steps) == ()
    (forward,) = only(steps).forwards
    assert (forward.attempts, forward.reason) == (1, "not there")
    assert forward.due_in_ms is not None
    assert 0 < forward.due_in_ms <= MINUTE_MS
    assert steps.retry() == 1
    (again,) = claim(steps)
    assert (again.attempts, again.was_uncertain) == (0, True)


@pytest.mark.parametrize("was_sent", [True, False])
def test_what_was_given_up_may_have_been_heard(steps: PerformedSteps, was_sent: bool) -> None:
    """Who tries it again knows; and only where it was begun."""
    steps.create(said.message(said.created()))
    (claimed,) = claim(steps)
    assert steps.begin(claimed, lease_ms=MINUTE_MS)
    assert steps.give_up(claimed, status=None, reason="lost", was_sent=was_sent)
    assert steps.retry(UID) == 1
    (again,) = claim(steps)
    assert again.was_uncertain is was_sent
    assert steps.give_up(again, status=0x0106, reason="no")
    assert steps.retry(UID) == 1
    assert claim(steps)[0].was_uncertain is was_sent


def test_what_is_over_goes_and_the_rest_stays(steps: PerformedSteps, ledger_url: str) -> None:
    """In progress stays, and what somebody has not heard of yet."""
    for uid in ("1.1", "1.2", "1.3"):
        steps.create(said.message(said.created(), uid))
    for uid in ("1.1", "1.2"):
        steps.change(said.message(said.ended(), uid))
    for _ in range(2):
        for claimed in claim(steps):
            if claimed.sop_instance_uid != "1.2":
                steps.sent(claimed, 0)
    assert steps.prune(age_ms=MINUTE_MS) == 0
    assert steps.prune(age_ms=-1000) == 1
    assert {row.sop_instance_uid for row in steps.steps()} == {"1.2", "1.3"}
    engine = create_engine(database_url(ledger_url))
    with engine.connect() as connection:
        for table in ("messages", "references", "forwards", "step_studies"):
            query = text(f"SELECT count(*) FROM performed_{table} WHERE sop_instance_uid = '1.1'")
            assert connection.execute(query).scalar_one() == 0
    engine.dispose()


def test_what_nobody_ends_goes_too(steps: PerformedSteps, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 30 days without a word, and when all have heard of it."""
    steps.create(said.message(said.created()))
    (claimed,) = claim(steps)
    steps.sent(claimed, 0)
    assert steps.prune(age_ms=-1000) == 0
    monkeypatch.setattr(performed_writing, "LEFT_AFTER_MS", -1000)
    assert steps.prune(age_ms=-1000) == 1


def _waiting(ledger: Ledger, *numbers: int) -> None:
    ledger.register([arrival(number, study_instance_uid=said.STUDY) for number in numbers])


def _completes(ledger: Ledger, steps: PerformedSteps) -> int:
    """What the scheduler does at a look; how many transfers were made."""
    for each in steps.expected():
        ledger.completion.expect(each.study_instance_uid, each.instances)
    return ledger.completion.complete(PATIENT, limit=100).transfers


def test_a_study_is_complete_when_all_that_was_made_is_there(ledger: Ledger, steps: PerformedSteps) -> None:
    """Not while the step goes on, not while one is missing; other instances of the study do not count for it."""
    steps.create(said.message(said.created()))
    _waiting(ledger, 1, 77)
    assert _completes(ledger, steps) == 0
    steps.change(said.message(said.ended(references=["1.2.3.1", "1.2.3.2"])))
    assert [(each.instances, each.missing) for each in steps.expected()] == [(3, 1)]
    assert _completes(ledger, steps) == 0
    assert steps.expected() == ()
    _waiting(ledger, 2)
    assert _completes(ledger, steps) == 1


def test_many_that_wait_keep_none_from_its_turn(ledger: Ledger, steps: PerformedSteps) -> None:
    """Those that are not complete stay the oldest; a look is at all, or at what has changed."""
    for number in range(1, 6):
        created = said.created()
        created.ScheduledStepAttributesSequence[0].StudyInstanceUID = f"1.9.{number}"
        ledger.register([arrival(number, study_instance_uid=f"1.9.{number}")])
        steps.create(said.message(created, f"1.8.{number}"))
        steps.change(said.message(said.ended(references=[f"1.7.{number}"]), f"1.8.{number}"))
    assert [each.study_instance_uid for each in steps.expected(limit=2)] == [
        f"1.9.{number}" for number in range(1, 6)
    ]
    assert len(steps.expected(limit=5)) == 5
    now = steps.now()
    assert steps.expected(since=now + 1000) == ()
    assert len(steps.expected(since=now - MINUTE_MS)) == 5


def test_while_a_step_goes_on_the_end_of_an_association_is_no_hint(
    ledger: Ledger, steps: PerformedSteps
) -> None:
    """The modality has said that it is at work: more may come over the next one. Quiet time goes on."""
    hinted = dataclasses.replace(PATIENT, quiet_after_association_ms=-1000, more_comes=is_in_progress())
    steps.create(said.message(said.created()))
    _waiting(ledger, 1)
    ledger.completion.association_ended(["a1"])
    assert ledger.completion.any_complete(dataclasses.replace(hinted, more_comes=None))
    assert not ledger.completion.any_complete(hinted)
    assert ledger.completion.complete(hinted, limit=10).transfers == 0
    assert ledger.completion.any_complete(dataclasses.replace(hinted, quiet_ms=-1000))
    steps.change(said.message(said.ended("DISCONTINUED", references=[])))
    assert ledger.completion.complete(hinted, limit=10).transfers == 1


def test_the_step_may_end_after_everything_is_there(ledger: Ledger, steps: PerformedSteps) -> None:
    _waiting(ledger, 1, 2)
    steps.create(said.message(said.created()))
    steps.change(said.message(said.ended("DISCONTINUED", references=["1.2.3.1"])))
    assert _completes(ledger, steps) == 1


def test_two_steps_of_a_study_are_waited_for(ledger: Ledger, steps: PerformedSteps) -> None:
    _waiting(ledger, 1)
    for uid in ("1.1", "1.2"):
        steps.create(said.message(said.created(), uid))
    steps.change(said.message(said.ended(references=["1.2.3.1"]), "1.1"))
    assert _completes(ledger, steps) == 0
    steps.change(said.message(said.ended(references=["1.2.3.2"]), "1.2"))
    assert _completes(ledger, steps) == 0
    _waiting(ledger, 2)
    assert _completes(ledger, steps) == 1


def test_a_step_for_two_studies_says_nothing_of_either(ledger: Ledger, steps: PerformedSteps) -> None:
    """Group case: nobody says which instance belongs to which."""
    created = said.created()
    other = said.created().ScheduledStepAttributesSequence[0]
    other.StudyInstanceUID = "1.2.2"
    created.ScheduledStepAttributesSequence = Items([created.ScheduledStepAttributesSequence[0], other])
    _waiting(ledger, 1)
    steps.create(said.message(created))
    steps.change(said.message(said.ended()))
    assert steps.expected() == ()
    assert {each.study_instance_uid for each in only(steps).scheduled} == {said.STUDY, "1.2.2"}
    assert len(steps.steps(study_instance_uid="1.2.2")) == 1


@pytest.mark.parametrize("state", ["COMPLETED", "DISCONTINUED"])
def test_the_worklist_follows(steps: PerformedSteps, ledger_url: str, state: str) -> None:
    """In the transaction of the message: what is refused changes nothing there either."""
    scheduled = {"StudyInstanceUID": said.STUDY, "AccessionNumber": "A1", "RequestedProcedureID": "RP1"}
    worklist = Worklist(Database(ledger_url))
    worklist.put([item(1, **scheduled, step_ScheduledProcedureStepID="SPS1"), item(2)])
    engine = create_engine(database_url(ledger_url))

    def statuses() -> list[str]:
        with engine.connect() as connection:
            found = connection.execute(text("SELECT status FROM worklist_items ORDER BY accession_number"))
            return [*found.scalars()]

    assert status_of(steps.create, said.message(said.created(Modality=None))) == 0x0120
    assert statuses() == ["SCHEDULED", "SCHEDULED"]
    steps.create(said.message(said.created()))
    assert statuses() == ["STARTED", "SCHEDULED"]
    assert (
        status_of(steps.change, said.message(said.ended(state, PerformedProcedureStepEndDate=None))) == 0x0121
    )
    assert statuses() == ["STARTED", "SCHEDULED"]
    steps.change(said.message(said.ended(state)))
    assert statuses() == [state, "SCHEDULED"]
    worklist.dispose()
    engine.dispose()


def test_it_is_found_by_state_and_study(steps: PerformedSteps) -> None:
    steps.create(said.message(said.created(), "1.1"))
    for asks, attributes in ((steps.create, said.created()), (steps.change, said.ended())):
        asks(replace(said.message(attributes, "1.2"), calling_ae_title="MR_1"))
    assert [row.sop_instance_uid for row in steps.steps(state=StepState.COMPLETED)] == ["1.2"]
    assert {row.sop_instance_uid for row in steps.steps(study_instance_uid=said.STUDY)} == {"1.1", "1.2"}
    assert steps.steps(study_instance_uid="9.9") == ()
    assert len(steps.steps(limit=1)) == 1
    assert steps.step("9.9") is None


def test_commands_ask_in_words_that_both_databases_know(
    ledger: Ledger, steps: PerformedSteps, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `trace` and `status` ask beside the module that has the tables."""
    settings = Settings()
    monkeypatch.setattr(home, "ledger_url", lambda _settings: ledger_url)
    assert performed_steps(settings, [said.STUDY]) == []
    steps.create(said.message(said.created()))
    steps.change(said.message(said.ended(references=["1.2.3.1", "1.2.3.2"])))
    _waiting(ledger, 1)
    (found,) = performed_steps(settings, [said.STUDY, "9.9"])
    assert (found.sop_instance_uid, found.state, found.instances, found.missing) == (UID, "COMPLETED", 2, 1)
    assert unheard_messages(settings) == 0
    (claimed,) = claim(steps)
    steps.give_up(claimed, status=0x0106, reason="no")
    assert unheard_messages(settings) == 1


def test_its_revision_comes_and_goes(empty_url: str) -> None:
    """Nothing of it is left behind, and nothing else goes with it."""
    engine = create_engine(database_url(empty_url))
    with engine.begin() as connection:
        command.upgrade(_config(connection), "0005")
        before = set(inspect(connection).get_table_names())
        command.upgrade(_config(connection), "0006")
        assert set(inspect(connection).get_table_names()) - before == {
            table.name for table in METADATA.tables.values() if table.name.startswith("performed_")
        }
        command.downgrade(_config(connection), "0005")
        assert set(inspect(connection).get_table_names()) == before
    engine.dispose()
