"""What a performed procedure step may say, and when (PS3.4 Section F.7.2, Table F.7.2-1)."""

from __future__ import annotations

from copy import deepcopy

import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from dicomrelay.dicom.performed_step import StepState
from dicomrelay.scheduling.performed_facts import facts_of
from dicomrelay.scheduling.performed_rules import StepRefused, changed, created, state_of
from dicomrelay.scheduling.performed_table import MAY_BE_EMPTY, NEVER, OPTIONAL, REQUIRED, TABLE, Row
from tests.support import performed as said

CREATE_1 = [row for row in TABLE if row.create == REQUIRED]
CREATE_2 = [row for row in TABLE if row.create == MAY_BE_EMPTY]
FINAL_1 = [row for row in TABLE if row.final == REQUIRED and row.change != NEVER]


def _named(row: Row) -> str:
    return row.keyword


def refused(call: object, *arguments: object, **options: object) -> StepRefused:
    """The refusal of a call that must be refused."""
    with pytest.raises(StepRefused) as caught:
        call(*arguments, **options)  # type: ignore[operator]
    return caught.value


def step(**changes: object) -> Dataset:
    return created(said.created(**changes))


def test_a_whole_one_is_taken_as_it_came() -> None:
    """But for its character set: text is Unicode inside."""
    given = said.created()
    before = deepcopy(given)
    found = created(given)
    assert given == before
    assert "SpecificCharacterSet" not in found
    assert found.PatientName == "Müller^Jürgen"
    assert {element.tag for element in found} == {
        element.tag for element in given if element.keyword != "SpecificCharacterSet"
    }


@pytest.mark.parametrize("row", CREATE_1 + CREATE_2, ids=_named)
def test_what_the_table_wants_must_be_there(row: Row) -> None:
    """0120, and the attribute is named."""
    error = refused(created, said.created(**{row.keyword: None}))
    assert (error.status, error.tags) == (0x0120, (row.tag,))
    assert row.keyword in str(error)


@pytest.mark.parametrize("row", CREATE_1, ids=_named)
def test_type_1_must_have_a_value(row: Row) -> None:
    """0121; spaces are none."""
    for empty in ([], [Dataset()]) if row.items else ("", "  "):
        given = said.created()
        given[row.keyword].value = Items(empty) if row.items else empty
        error = refused(created, given)
        assert error.status == (0x0121 if not empty or not row.items else 0x0120)


@pytest.mark.parametrize("row", CREATE_2, ids=_named)
def test_type_2_may_be_missing_where_the_settings_say_so(row: Row) -> None:
    assert row.keyword not in created(said.created(**{row.keyword: None}), strict=False)


@pytest.mark.parametrize("row", CREATE_1, ids=_named)
def test_type_1_may_never(row: Row) -> None:
    assert refused(created, said.created(**{row.keyword: None}), strict=False).status == 0x0120


@pytest.mark.parametrize(
    "state", ["COMPLETED", "DISCONTINUED", "in progress", "SCHEDULED", "IN PROGRESS\\IN PROGRESS"]
)
def test_a_step_begins_in_progress(state: str) -> None:
    error = refused(created, said.created(PerformedProcedureStepStatus=state))
    assert (error.status, error.tags) == (0x0106, (0x00400252,))


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PerformedProcedureStepStartDate", "31.1.2024"),
        ("PerformedProcedureStepStartDate", "20240230"),
        ("PerformedProcedureStepStartTime", "25:00"),
    ],
)
def test_what_we_find_it_by_has_its_form(keyword: str, value: str) -> None:
    given = said.created()
    given[keyword] = DataElement(keyword, given[keyword].VR, value, validation_mode=0)
    error = refused(created, given)
    assert error.status == 0x0106
    assert value not in str(error)


def test_the_items_of_a_sequence_are_held_to_the_table_too() -> None:
    """And the place is named."""
    given = said.created(
        PerformedSeriesSequence=Items([said.series([]), said.series([], SeriesInstanceUID=None)])
    )
    error = refused(created, given)
    assert (error.status, str(error)) == (0x0120, "PerformedSeriesSequence[2].SeriesInstanceUID is missing")
    given = said.created()
    given.ScheduledStepAttributesSequence[0].StudyInstanceUID = ""
    assert refused(created, given).status == 0x0121
    bad = said.series(["1.2.3"])
    bad.ReferencedImageSequence[0]["ReferencedSOPInstanceUID"] = DataElement(
        0x00081155, "UI", "1.2..3", validation_mode=0
    )
    error = refused(created, said.created(PerformedSeriesSequence=Items([bad])))
    assert error.status == 0x0106
    assert "ReferencedImageSequence[1].ReferencedSOPInstanceUID" in str(error)


def test_an_attribute_has_its_vr() -> None:
    given = said.created()
    given[0x00100010] = DataElement(0x00100010, "SQ", [Dataset()])
    error = refused(created, given)
    assert (error.status, error.tags) == (0x0106, (0x00100010,))


def test_private_attributes_are_kept_and_those_of_the_command_refused() -> None:
    given = said.created()
    given.private_block(0x0011, "ACME", create=True).add_new(1, "LO", "x")
    assert created(given)[0x00111001].value == "x"
    given[0x00000100] = DataElement(0x00000100, "US", 1)
    assert refused(created, given).status == 0x0106


def test_it_is_changed_and_ended() -> None:
    before = step()
    kept = deepcopy(before)
    middle = changed(before, said.changed_by(Dataset(), {"PerformedProcedureStepDescription": "Head, again"}))
    assert before == kept
    assert (state_of(middle), middle.PerformedProcedureStepDescription) == (
        StepState.IN_PROGRESS,
        "Head, again",
    )
    after = changed(middle, said.ended(references=["1.2.3.1", "1.2.3.2"]))
    assert state_of(after) is StepState.COMPLETED
    assert after.PatientID == "P4711"
    facts = facts_of(after)
    assert [each.sop_instance_uid for each in facts.references] == ["1.2.3.1", "1.2.3.2"]
    assert (facts.started, facts.ended) == ("20240131 101500", "20240131 103000")
    assert facts.study_instance_uids == (said.STUDY,)


def test_a_sequence_is_replaced_as_a_whole() -> None:
    """PS3.4 Section F.7.2.2.2: all its items come again."""
    first = changed(step(), Dataset())
    first = changed(
        first, said.changed_by(Dataset(), {"PerformedSeriesSequence": Items([said.series(["1.1"])])})
    )
    second = changed(
        first, said.changed_by(Dataset(), {"PerformedSeriesSequence": Items([said.series(["1.2"], "1.9")])})
    )
    assert [each.sop_instance_uid for each in facts_of(second).references] == ["1.2"]


@pytest.mark.parametrize("state", ["COMPLETED", "DISCONTINUED"])
def test_a_final_step_is_never_changed(state: str) -> None:
    """0110, Error ID A710 and the words of Table F.7.2-2."""
    final = changed(step(), said.ended(state))
    for more in (
        said.ended(state),
        Dataset(),
        said.changed_by(Dataset(), {"PerformedProcedureStepStatus": "IN PROGRESS"}),
    ):
        error = refused(changed, final, more)
        assert (error.status, error.error_id) == (0x0110, 0xA710)
        assert str(error) == "Performed Procedure Step Object may no longer be updated"


@pytest.mark.parametrize("row", FINAL_1, ids=_named)
@pytest.mark.parametrize("state", ["COMPLETED", "DISCONTINUED"])
def test_a_final_step_is_whole(row: Row, state: str) -> None:
    if row.keyword == "PerformedProcedureStepStatus":
        return
    error = refused(changed, step(), said.ended(state, **{row.keyword: None}))
    assert (error.status, error.tags) == (0x0121, (row.tag,))


def test_a_series_that_was_never_begun_is_no_fault_where_the_settings_say_so() -> None:
    """Of a step that was broken off before it made anything; never of one that is completed."""
    nothing = {"PerformedSeriesSequence": None}
    assert state_of(changed(step(), said.ended("DISCONTINUED", **nothing), strict=False)).is_final
    assert refused(changed, step(), said.ended("COMPLETED", **nothing), strict=False).status == 0x0121


@pytest.mark.parametrize("row", [row for row in TABLE if row.change == NEVER], ids=_named)
def test_what_only_n_create_says_cannot_be_changed(row: Row) -> None:
    """0105; to say it again is no change."""
    is_sequence = row.keyword.endswith("Sequence")
    more: dict[str, object] = {}
    if row.create == OPTIONAL:
        more = {
            row.keyword: Items([said.changed_by(Dataset(), {"PatientID": "1"})]) if is_sequence else "SAID"
        }
    before = step(**more)
    same = Dataset()
    same[row.tag] = deepcopy(before[row.tag])
    assert changed(before, same) == before
    other = Dataset()
    other[row.tag] = deepcopy(before[row.tag])
    if is_sequence:
        other[row.tag].value = Items([said.reference("1.9.9")])
    elif row.keyword.endswith("Date"):
        other[row.tag].value = "19990101"
    elif row.keyword.endswith("Time"):
        other[row.tag].value = "000001"
    else:
        other[row.tag].value = "OTHER"
    error = refused(changed, before, other)
    assert (error.status, error.tags) == (0x0105, (row.tag,))


@pytest.mark.parametrize("row", [row for row in TABLE if row.create == OPTIONAL], ids=_named)
def test_what_n_create_left_out_is_not_said_later_where_the_table_forbids_it(row: Row) -> None:
    """Type 3 in N-CREATE, and not allowed in N-SET; without a value it says nothing. A final step does not need it."""
    given, empty = Dataset(), Dataset()
    is_sequence = row.keyword.endswith("Sequence")
    setattr(empty, row.keyword, Items([]) if is_sequence else "")
    setattr(given, row.keyword, Items([code()]) if is_sequence else "SAID")
    after = changed(step(), empty)
    if row.change == NEVER:
        assert row.keyword not in after
        assert refused(changed, after, given).status == 0x0105
    else:
        assert row.keyword in changed(after, given)
    assert state_of(changed(after, said.ended())).is_final


def code(**changes: object) -> Dataset:
    """A coded entry."""
    found = said.changed_by(
        Dataset(), {"CodeValue": "CTH", "CodingSchemeDesignator": "99X", "CodeMeaning": "CT HEAD"}
    )
    return said.changed_by(found, changes)


@pytest.mark.parametrize(
    "keyword",
    [row.keyword for row in TABLE if row.is_code] + ["ScheduledProtocolCodeSequence"],
)
@pytest.mark.parametrize(
    ("entry", "status"),
    [
        (code(), 0),
        (code(CodeValue=None, LongCodeValue="A LONG ONE"), 0),
        (code(CodeValue=None), 0x0120),
        (code(CodeValue=""), 0x0121),
        (code(CodeMeaning=None), 0x0120),
        (code(CodeMeaning=""), 0x0121),
        (Dataset(), 0x0120),
    ],
)
def test_a_coded_entry_has_a_code_and_its_meaning(keyword: str, entry: Dataset, status: int) -> None:
    """Tables F.7.2-1b and F.7.2-1d; where the settings are lenient it may be anything."""
    given = said.created()
    holder = given.ScheduledStepAttributesSequence[0] if keyword.startswith("Scheduled") else given
    setattr(holder, keyword, Items([entry]))
    if not status:
        created(given)
        return
    error = refused(created, given)
    assert error.status == status
    assert f"{keyword}[1].Code" in str(error)
    assert keyword in created(given, strict=False) or holder is not given


def test_n_set_is_never_answered_0120() -> None:
    """PS3.7 Section 10.1.3.1.9 has none: what is missing at the end is a value that is missing."""
    lean = created(said.created(PerformedProcedureStepEndDate=None), strict=False)
    for strict in (True, False):
        error = refused(changed, lean, said.ended(PerformedProcedureStepEndDate=None), strict=strict)
        assert (error.status, error.tags) == (0x0121, (0x00400250,))
    item = said.series(["1.1"], ProtocolName=None)
    error = refused(changed, step(), said.changed_by(Dataset(), {"PerformedSeriesSequence": Items([item])}))
    assert error.status == 0x0121


def test_no_refusal_quotes_a_value() -> None:
    """They go to a log."""
    given = said.created(PatientName="Secret^Name", PerformedProcedureStepStatus="SECRET")
    assert "SECRET" not in str(refused(created, given)).upper().replace("ISSECRET", "")
    other = said.changed_by(Dataset(), {"PatientName": "Secret^Name"})
    assert "secret" not in str(refused(changed, step(), other)).lower()
