"""The worklist on both databases: put, asked, linked to performed steps, pruned."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import text

from dicomrelay.dimse.query_keys import build_identifier, parse_key
from dicomrelay.ledger.engine import Database
from dicomrelay.scheduling.worklist import Entry, Put, Worklist
from dicomrelay.scheduling.worklist_building import path_of, study_of
from dicomrelay.scheduling.worklist_change import OrderKey, Record
from dicomrelay.scheduling.worklist_item import Fault, Item
from dicomrelay.scheduling.worklist_links import StepReference
from dicomrelay.scheduling.worklist_query import Question, read_question
from dicomrelay.scheduling.worklist_status import PerformedState, StepStatus
from dicomrelay.scheduling.worklist_taking import Taken, take
from tests.support.worklist import item

IN_PROGRESS, COMPLETED, DISCONTINUED = PerformedState
_OVER = (StepStatus.COMPLETED, StepStatus.DISCONTINUED, StepStatus.DEPARTED)


@pytest.fixture
def database(ledger_url: str) -> Iterator[Database]:
    opened = Database(ledger_url)
    yield opened
    opened.dispose()


@pytest.fixture
def worklist(database: Database) -> Worklist:
    return Worklist(database)


def asked(*keys: str) -> Question:
    named = [each.partition("=") for each in keys]
    identifier: Dataset = build_identifier(
        [parse_key(f"{path_of(name)}{dash}{value}") for name, dash, value in named]
    )
    return read_question(identifier)


def entries(worklist: Worklist, *keys: str) -> list[Entry]:
    return [entry for entry, _ in worklist.find(asked(*keys))]


def patients(worklist: Worklist, *keys: str) -> list[str]:
    return [entry.data_set["00100020"]["Value"][0] for entry in entries(worklist, *keys)]


def status(worklist: Worklist, number: int = 1) -> StepStatus:
    (entry,) = entries(worklist, f"StudyInstanceUID=1.2.3.{number}")
    return entry.status


def of_order(patient: str, placer: str = "PL1", filler: str = "FI1", **more: object) -> Item:
    """Of an order without a study of its own, as HL7 gives it."""
    accession = str(more.get("AccessionNumber", "A1"))
    given: dict[str, object] = {
        "AccessionNumber": accession,
        "PatientID": patient,
        "PlacerOrderNumberImagingServiceRequest": placer,
        "FillerOrderNumberImagingServiceRequest": filler,
        "StudyInstanceUID": study_of(patient, accession),
    }
    return item(1, **{**given, **more})


def corrected(patient: str, **more: object) -> Item:
    return replace(of_order(patient, **more), is_correction=True)  # type: ignore[arg-type]


def test_an_order_that_corrects_the_patient_takes_the_wrong_one_away(worklist: Worklist) -> None:
    """By its numbers, procedure and step; the study that was made of patient and order is another one then."""
    worklist.put([of_order("WRONG"), of_order("OTHER", placer="PL2", filler="FI2", AccessionNumber="A2")])
    assert worklist.put([corrected("RIGHT")]) == [Put.CHANGED]
    assert sorted(patients(worklist)) == ["OTHER", "RIGHT"]
    assert worklist.put([corrected("RIGHT")]) == [Put.UNCHANGED]
    # It came with the placer's number alone.
    worklist.put([of_order("EARLY", placer="PL3", filler="", AccessionNumber="A3")])
    assert worklist.put([corrected("LATE", placer="PL3", filler="FI3", AccessionNumber="A3")]) == [
        Put.CHANGED
    ]
    assert sorted(patients(worklist)) == ["LATE", "OTHER", "RIGHT"]


@pytest.mark.parametrize(
    "other",
    [
        of_order("RIGHT"),  # a new order: another system may count alike
        corrected("RIGHT", placer="PL9"),
        corrected("RIGHT", placer="", filler=""),
        corrected("RIGHT", StudyInstanceUID="1.2.3.9"),
        corrected("RIGHT", step_ScheduledProcedureStepID="S9"),
        corrected("RIGHT", RequestedProcedureID="R9"),
    ],
)
def test_what_may_be_another_order_takes_nothing_away(worklist: Worklist, other: Item) -> None:
    """In doubt both stay."""
    worklist.put([of_order("WRONG")])
    assert worklist.put([other]) == [Put.ADDED]
    assert sorted(patients(worklist)) == ["RIGHT", "WRONG"]


def test_an_order_is_named_by_either_of_its_numbers(worklist: Worklist) -> None:
    """The filler's is not known to who places it; one that is another's is no match."""
    worklist.put([of_order("P1", filler="")])
    both = OrderKey(placer_order_number="PL1", filler_order_number="FI1")
    assert worklist.set_status(both, StepStatus.DISCONTINUED) == 1
    worklist.put([of_order("P2", filler="FI9")])
    assert worklist.set_status(both, StepStatus.DISCONTINUED) == 1
    assert worklist.set_status(OrderKey(filler_order_number="FI9"), StepStatus.ARRIVED) == 1
    assert worklist.set_status(OrderKey(placer_order_number="PL1"), StepStatus.ARRIVED) == 2
    assert (
        worklist.set_status(OrderKey(placer_order_number="PL7", filler_order_number="FI9"), StepStatus.READY)
        == 0
    )


def test_after_a_hundred_refusals_nothing_more_is_looked_at(worklist: Worklist) -> None:
    """Where somebody else waits for an answer."""
    worklist.put([item(1)])
    absent = Record("x", key=OrderKey(accession_number="NONE"), status=StepStatus.ARRIVED)
    there = Record("y", key=OrderKey(accession_number="A1"), status=StepStatus.ARRIVED)
    for most, count, done in ((3, 4, 0), (None, 5, 1)):
        taken = Taken()
        take(worklist, [absent] * 5 + [there], taken, most_refused=most)
        assert (len(taken.refused), taken.done) == (count, done)


def test_an_item_that_comes_again_replaces_the_old(worklist: Worklist) -> None:
    """By study, procedure and step; and the same one changes nothing."""
    assert worklist.put([item(1), item(2)]) == [Put.ADDED, Put.ADDED]
    assert worklist.put([item(1), item(2, PatientName="DOE^JANE")]) == [Put.UNCHANGED, Put.CHANGED]
    assert patients(worklist) == ["P1", "P2"]
    assert patients(worklist, "PatientName=DOE^JANE") == ["P2"]
    assert worklist.put([item(1, step_ScheduledProcedureStepID="S9")]) == [Put.ADDED]
    assert len(entries(worklist)) == 3


def test_what_is_put_is_what_is_found(worklist: Worklist) -> None:
    """To the last attribute, and with its status."""
    given = item(1, PatientName="Yamada^Tarou=山田^太郎", PatientComments="50 % \\ _ ' \" \u2028")
    worklist.put([given])
    (entry,) = entries(worklist)
    found = json.loads(json.dumps(entry.data_set))
    (step,) = found["00400100"]["Value"]
    assert step.pop("00400020") == {"vr": "CS", "Value": ["SCHEDULED"]}
    assert found == given.data_set


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ([], ["P1", "P2", "P3"]),
        (["PatientID=P2"], ["P2"]),
        (["PatientID=P?"], ["P1", "P2", "P3"]),
        (["AccessionNumber=A3"], ["P3"]),
        (["Modality=MR"], ["P2"]),
        (["ScheduledStationAETitle=CT_1"], ["P1", "P3"]),
        (["ScheduledStationAETitle=CTX1"], []),
        (["ScheduledStationAETitle=CT%"], []),
        (["ScheduledStationAETitle=SPARE"], ["P3"]),
        (["ScheduledProcedureStepStartDate=20261124-"], ["P3"]),
        (["ScheduledProcedureStepStartDate=-20261123"], ["P1", "P2"]),
        (["StudyInstanceUID=1.2.3.1\\1.2.3.3"], ["P1", "P3"]),
        (["PatientName=doe^john 2"], ["P2"]),
        (["ScheduledProcedureStepStatus=SCHEDULED"], ["P1", "P2", "P3"]),
        (["ScheduledProcedureStepStatus=STARTED"], []),
    ],
)
def test_the_database_leaves_out_nothing_that_matches(
    worklist: Worklist, keys: list[str], found: list[str]
) -> None:
    """And letter case and the patterns of SQL are not those of DICOM."""
    worklist.put(
        [
            item(1),
            item(2, step_Modality="MR", step_ScheduledStationAETitle="ct_1"),
            item(3, step_ScheduledProcedureStepStartDate="20261124", step_ScheduledStationAETitle=["CT_1", "SPARE"]),
        ]
    )  # fmt: skip
    assert patients(worklist, *keys) == found


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicomrelay.scheduling.worklist._PAGE", 10)


@pytest.mark.usefixtures("small_pages")
def test_pages_hold_each_item_once_in_the_order_of_their_start(worklist: Worklist) -> None:
    """More than two pages."""
    worklist.put(
        [item(number, step_ScheduledProcedureStepStartTime=f"{number % 7:02}00") for number in range(25)]
    )
    found = entries(worklist)
    assert len({entry.id for entry in found}) == len(found) == 25
    times = [entry.data_set["00400100"]["Value"][0]["00400003"]["Value"][0] for entry in found]
    assert times == sorted(times)


@pytest.mark.usefixtures("small_pages")
def test_a_question_that_is_over_reads_no_further(worklist: Worklist) -> None:
    """Asked before each page."""
    worklist.put([item(number) for number in range(25)])
    turns = iter([False, True])
    assert len(list(worklist.find(is_stopped=lambda: next(turns)))) == 10


def test_what_is_over_is_hidden_unless_the_status_is_asked_for(worklist: Worklist) -> None:
    """COMPLETED, DISCONTINUED and DEPARTED by default."""
    worklist.put([item(1), item(2)])
    assert worklist.set_status(OrderKey(accession_number="A1"), StepStatus.COMPLETED) == 1
    shown = [entry.data_set["00100020"]["Value"] for entry, _ in worklist.find(hidden=_OVER)]
    assert shown == [["P2"]]
    question = asked("ScheduledProcedureStepStatus=COMPLETED")
    assert [entry.status for entry, _ in worklist.find(question, hidden=_OVER)] == [StepStatus.COMPLETED]


def test_items_are_named_by_all_that_is_given(worklist: Worklist) -> None:
    """And removed."""
    worklist.put([item(1), item(2), item(3, FillerOrderNumberImagingServiceRequest="F3")])
    assert worklist.remove(OrderKey(accession_number="A1", step_id="S2")) == 0
    assert worklist.remove(OrderKey(accession_number="A1", step_id="S1")) == 1
    assert worklist.remove(OrderKey(filler_order_number="F3")) == 1
    (entry,) = entries(worklist)
    assert worklist.remove(OrderKey(id=entry.id)) == 1
    assert entries(worklist) == []


# ---- performed steps


def test_a_performed_step_moves_its_item(worklist: Worklist) -> None:
    """STARTED, then as it ends; said again it changes nothing."""
    worklist.put([item(1), item(2)])
    for state, expected in ((IN_PROGRESS, "STARTED"), (IN_PROGRESS, "STARTED"), (COMPLETED, "COMPLETED")):
        (linked,) = worklist.link_performed("9.1", [StepReference("1.2.3.1", "A1", "R1", "S1")], state)
        assert status(worklist) == expected
    assert [entry.id for entry in entries(worklist, "PatientID=P1")] == [linked]
    assert status(worklist, 2) == "SCHEDULED"


def test_several_performed_steps_of_one_item_count_together(worklist: Worklist) -> None:
    """One that was discontinued, and another that did it."""
    worklist.put([item(1)])
    reference = [StepReference("1.2.3.1")]
    expected = (
        ("9.1", IN_PROGRESS, "STARTED"),
        ("9.1", DISCONTINUED, "DISCONTINUED"),
        ("9.2", IN_PROGRESS, "STARTED"),
        ("9.2", COMPLETED, "COMPLETED"),
    )
    for uid, state, found in expected:
        worklist.link_performed(uid, reference, state)
        assert status(worklist) == found


def test_an_item_that_comes_after_its_performed_step_finds_it(worklist: Worklist) -> None:
    """And one that is imported again keeps its state."""
    assert worklist.link_performed("9.1", [StepReference("1.2.3.1", "A1")], COMPLETED) == ()
    worklist.put([item(1)])
    assert status(worklist) == "COMPLETED"
    worklist.put([item(1, PatientName="DOE^JANE")])
    assert status(worklist) == "COMPLETED"


@pytest.mark.parametrize(
    ("reference", "linked"),
    [
        (StepReference("1.2.3.1"), 2),
        (StepReference("1.2.3.1", step_id="S1"), 1),
        (StepReference("1.2.3.1", requested_procedure_id="R1"), 2),
        (StepReference("1.2.3.1", accession_number="A9"), 0),
        # A modality that makes its own study: by accession number and step together.
        (StepReference("9.9", "A1", "", "S1"), 1),
        (StepReference("9.9", "A1"), 0),
        (StepReference("9.9", "", "", "S1"), 0),
    ],
)
def test_which_items_a_reference_names(worklist: Worklist, reference: StepReference, linked: int) -> None:
    """By the study, and what else is given."""
    worklist.put([item(1), item(1, step_ScheduledProcedureStepID="S9"), item(2)])
    found = worklist.link_performed("9.1", [reference], IN_PROGRESS)
    assert len(found) == linked
    assert len(entries(worklist, "ScheduledProcedureStepStatus=STARTED")) == linked


def test_a_step_that_was_not_scheduled_is_nobodys(worklist: Worklist) -> None:
    """No reference, no item."""
    worklist.put([item(1)])
    assert worklist.link_performed("9.1", [], IN_PROGRESS) == ()
    assert status(worklist) == "SCHEDULED"


def test_links_and_items_at_once(worklist: Worklist) -> None:
    """Whoever comes first: in the end every item is as its performed step says."""
    with ThreadPoolExecutor(4) as pool:
        for number in range(12):
            pool.submit(worklist.put, [item(number)])
            pool.submit(worklist.link_performed, f"9.{number}", [StepReference(f"1.2.3.{number}")], COMPLETED)
    assert {entry.status for entry in entries(worklist)} == {StepStatus.COMPLETED}
    assert len(entries(worklist)) == 12


# ---- records, and what is over


def test_records_are_taken_in_their_order(worklist: Worklist) -> None:
    """New, cancelled, and one that cancels what is not there."""
    cancel = Record("order 2", key=OrderKey(accession_number="A1"), status=StepStatus.DISCONTINUED)
    absent = Record("order 3", key=OrderKey(accession_number="A7"), status=StepStatus.DISCONTINUED)
    wrong = Record("order 4", faults=(Fault("PatientID", "missing"),))
    taken = Taken()
    take(worklist, [Record("order 1", (item(1), item(2))), cancel, absent, wrong], taken)
    assert (taken.put[Put.ADDED], taken.set, taken.done) == (2, 1, 3)
    assert [where for where, _ in taken.refused] == ["order 3", "order 4"]
    assert (status(worklist), status(worklist, 2)) == ("DISCONTINUED", "SCHEDULED")


def test_what_is_long_over_goes(worklist: Worklist, database: Database) -> None:
    """What ended, and what was to start, so long ago; the rest stays, with what performed steps said of it."""
    day = 86_400_000
    worklist.put([item(1), item(2), item(3), item(4, step_ScheduledProcedureStepStartDate="20010101")])
    with database.write() as work:  # 20261123 has its time still to come, or behind it
        work.connection.execute(
            text("UPDATE worklist_items SET start_date = '99991231' WHERE start_date > '2002'")
        )
    worklist.set_status(OrderKey(accession_number="A1"), StepStatus.COMPLETED)
    worklist.link_performed("9.2", [StepReference("1.2.3.2")], IN_PROGRESS)
    worklist.link_performed("9.7", [StepReference("1.2.3.7")], IN_PROGRESS)
    with database.write() as work:
        work.connection.execute(
            text("UPDATE worklist_items SET ended_at = ended_at - :age"), {"age": 40 * day}
        )
        work.connection.execute(
            text("UPDATE worklist_performed SET changed_at = changed_at - :age"), {"age": 40 * day}
        )
    assert worklist.prune(age_ms=30 * day, limit=1) == 2
    while worklist.prune(age_ms=30 * day, limit=10):
        pass
    assert sorted(patients(worklist)) == ["P2", "P3"]
    with database.read() as work:
        left = (
            work.connection.execute(text("SELECT sop_instance_uid FROM worklist_performed")).scalars().all()
        )
    assert left == ["9.2"]
