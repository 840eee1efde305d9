"""What is an item of the worklist, and what is said of one that is none (PS3.4 Table K.6-1)."""

from __future__ import annotations

import json

import pytest
from pydicom import config
from pydicom.dataset import Dataset

from dicomrelay.scheduling.worklist_attributes import OTHER_ATTRIBUTES, STEP_ATTRIBUTES, Need, json_tag
from dicomrelay.scheduling.worklist_item import MOST_ELEMENTS, InvalidItem, items_of
from dicomrelay.scheduling.worklist_status import PerformedState, StepStatus, status_by
from tests.support.worklist import item, step

_SECRET = "SECRET^PATIENT"


def faults(data_set: Dataset) -> list[str]:
    with pytest.raises(InvalidItem) as caught:
        items_of(data_set)
    assert _SECRET not in str(caught.value)
    return [str(each) for each in caught.value.faults]


def test_an_item_has_all_that_the_standard_wants() -> None:
    """Type 2 attributes that were not given are there, and empty."""
    found = item().data_set
    (in_step,) = found["00400100"]["Value"]
    assert {json_tag(each.keyword) for each in OTHER_ATTRIBUTES} <= found.keys()
    assert {json_tag(each.keyword) for each in STEP_ATTRIBUTES} <= in_step.keys()
    assert found[json_tag("PatientWeight")] == {"vr": "DS"}
    assert "00080005" not in found


@pytest.mark.parametrize("keyword", [each.keyword for each in OTHER_ATTRIBUTES if each.need is Need.VALUE])
@pytest.mark.parametrize("value", [None, ""])
def test_what_is_of_type_1_is_missed(keyword: str, value: str | None) -> None:
    """By its name; empty is as good as not there."""
    assert faults(step(**{keyword: value})) == [f"{keyword}: missing"]


@pytest.mark.parametrize("keyword", [each.keyword for each in STEP_ATTRIBUTES if each.need is Need.VALUE])
def test_what_the_step_lacks_is_missed(keyword: str) -> None:
    """With the way to it."""
    data_set = step(**{f"step_{keyword}": None})
    assert faults(data_set) == [f"ScheduledProcedureStepSequence[0].{keyword}: missing"]


def test_all_faults_are_told_at_once() -> None:
    """Not one after the other."""
    data_set = step(PatientID=None, step_Modality=None, PatientName=_SECRET)
    data_set.PatientBirthDate = None
    with config.disable_value_validation():
        data_set.PatientBirthDate = "1970"
        data_set.StudyInstanceUID = "1.2.x"
    assert faults(data_set) == [
        "PatientBirthDate: no date: YYYYMMDD",
        "StudyInstanceUID: no UID",
        "PatientID: missing",
        "ScheduledProcedureStepSequence[0].Modality: missing",
    ]


def test_words_or_codes() -> None:
    """Type 1C: one of the two is enough."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "CTH", "99X", "CT HEAD"
    assert items_of(step(RequestedProcedureDescription=None, RequestedProcedureCodeSequence=[code]))
    (told,) = faults(step(RequestedProcedureDescription=None))
    assert told.startswith("RequestedProcedureDescription: missing, and RequestedProcedureCodeSequence too")


def test_without_steps_it_is_none() -> None:
    """The sequence is missing, or empty."""
    data_set = step()
    data_set.ScheduledProcedureStepSequence = []
    assert "ScheduledProcedureStepSequence: missing" in faults(data_set)
    assert "ScheduledProcedureStepSequence: missing" in faults(Dataset())


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("step_ScheduledProcedureStepStartDate", "20261123-20261124", "no date"),
        ("step_ScheduledProcedureStepStartDate", "20260231", "no date"),
        ("step_ScheduledProcedureStepStartTime", "2500", "no time"),
        ("step_Modality", "ct", "no code"),
        ("step_ScheduledStationAETitle", "A" * 17, "more than 16 characters"),
        ("step_ScheduledStationAETitle", "CT\u00c4", "not ASCII"),
        ("AccessionNumber", "A" * 17, "more than 16 characters"),
        ("PatientID", "1\\2", "more than one value"),
        ("PatientID", "1\n2", "control characters"),
        ("PatientName", "A" * 65, "no person name"),
        ("PatientName", "A=B=C=D", "no person name"),
    ],
)
def test_values_have_the_form_of_their_vr(keyword: str, value: str, words: str) -> None:
    """PS3.5 Section 6.2."""
    data_set = step()
    holder = data_set.ScheduledProcedureStepSequence[0] if keyword.startswith("step_") else data_set
    name = keyword.removeprefix("step_")
    with config.disable_value_validation():
        setattr(holder, name, value.split("\\") if "\\" in value else value)
    (told,) = faults(data_set)
    assert words in told
    assert name in told


def test_each_step_is_an_item() -> None:
    """PS3.4 Section K.6.1.2.2 wants one in each answer."""
    data_set, other = step(), step(step_ScheduledProcedureStepID="S2")
    data_set.ScheduledProcedureStepSequence = [
        *data_set.ScheduledProcedureStepSequence,
        *other.ScheduledProcedureStepSequence,
    ]
    found = items_of(data_set)
    assert [each.of_step("ScheduledProcedureStepID") for each in found] == ["S1", "S2"]
    assert {each.text("PatientID") for each in found} == {"P1"}
    assert len(data_set.ScheduledProcedureStepSequence) == 2


def test_its_status_is_no_part_of_it() -> None:
    """SCHEDULED says nothing: it would take back what became of an item that comes again."""
    assert item(step_ScheduledProcedureStepStatus="ARRIVED").status is StepStatus.ARRIVED
    assert item(step_ScheduledProcedureStepStatus="SCHEDULED").status is None
    assert item(step_ScheduledProcedureStepStatus="FOO").status is None
    assert "00400020" not in item(step_ScheduledProcedureStepStatus="ARRIVED").encoded


def test_text_is_unicode() -> None:
    """Whatever set it came in."""
    found = item(PatientName="Yamada^Tarou=山田^太郎")
    assert found.text("PatientName") == "Yamada^Tarou=山田^太郎"
    assert json.loads(found.encoded) == found.data_set


def test_bounds() -> None:
    """Counted before anything is made of it."""
    many = step()
    many.ReferencedStudySequence = [Dataset() for _ in range(3)]
    for each in many.ReferencedStudySequence:
        for number in range(MOST_ELEMENTS // 3 + 1):
            each.add_new((0x0011, number + 0x1000), "LO", "x")
    assert faults(many) == [f": more than {MOST_ELEMENTS} elements".removeprefix(": ")]
    deep = inner = Dataset()
    for _ in range(10):
        inner.ReferencedStudySequence = [Dataset()]
        inner = inner.ReferencedStudySequence[0]
    data_set = step()
    data_set.ReferencedStudySequence = [deep]
    assert "sequences in one another" in faults(data_set)[0]
    for _ in range(400):
        inner.ReferencedStudySequence = [Dataset()]
        inner = inner.ReferencedStudySequence[0]
    assert "sequences in one another" in faults(data_set)[0]
    data_set = step()
    data_set.add_new(0x7FE00010, "OB", b"12")
    assert faults(data_set) == ["PixelData: no place for pixel data or waveforms"]


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ([], None),
        (["IN PROGRESS"], "STARTED"),
        (["COMPLETED", "IN PROGRESS"], "STARTED"),
        (["DISCONTINUED", "COMPLETED"], "COMPLETED"),
        (["DISCONTINUED"], "DISCONTINUED"),
    ],
)
def test_performed_steps_make_the_status(states: list[str], status: str | None) -> None:
    """All of them together."""
    assert status_by([PerformedState(each) for each in states]) == (StepStatus(status) if status else None)
