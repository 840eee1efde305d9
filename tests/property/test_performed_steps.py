"""Whatever is said of a performed procedure step: it begins in progress, ends once, and keeps what only its N-CREATE may say."""

from __future__ import annotations

from copy import deepcopy

from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from dicomrelay.dimse.identifier import decode_identifier, encode_identifier
from dicomrelay.scheduling.performed_facts import facts_of
from dicomrelay.scheduling.performed_reading import attributes_of
from dicomrelay.scheduling.performed_rules import StepRefused, changed, created, state_of
from dicomrelay.scheduling.performed_table import BY_TAG, NEVER
from dicomrelay.scheduling.performed_writing import prepared
from tests.support import performed as said

_KEPT = [tag for tag, row in BY_TAG.items() if row.change == NEVER]
_VALUES = {
    "PerformedProcedureStepStatus": st.sampled_from(["IN PROGRESS", "COMPLETED", "DISCONTINUED", "", "DONE"]),
    "PerformedProcedureStepEndDate": st.sampled_from(["20240131", "", "never"]),
    "PerformedProcedureStepEndTime": st.sampled_from(["103000", "", "25"]),
    "PerformedSeriesSequence": st.lists(
        st.lists(st.sampled_from(["1.1", "1.2", "1.3"]), max_size=3), max_size=2
    ),
    "PatientID": st.sampled_from(["P4711", "P4712"]),
    "Modality": st.sampled_from(["CT", "MR"]),
    "PerformedProcedureStepDescription": st.text(alphabet="aäß中", max_size=5),
}


@st.composite
def modifications(draw: st.DrawFn) -> Dataset:
    """Some attributes, as they come over the wire."""
    found = Dataset()
    found.SpecificCharacterSet = "ISO_IR 192"
    for keyword in draw(st.sets(st.sampled_from(sorted(_VALUES)))):
        value = draw(_VALUES[keyword])
        if keyword == "PerformedSeriesSequence":
            value = Items([said.series(uids, f"1.9.{number}") for number, uids in enumerate(value)])
        found.add_new(keyword, {"PerformedSeriesSequence": "SQ"}.get(keyword, _vr(keyword)), value)
    return decode_identifier(encode_identifier(found, said.EXPLICIT), said.EXPLICIT)


def _vr(keyword: str) -> str:
    return {
        "PerformedProcedureStepStatus": "CS",
        "PerformedProcedureStepEndDate": "DA",
        "PerformedProcedureStepEndTime": "TM",
        "Modality": "CS",
    }.get(keyword, "LO")


def _outcome(step: Dataset, message: Dataset, strict: bool) -> Dataset | StepRefused:
    try:
        return changed(step, message, strict=strict)
    except StepRefused as error:
        return error


@settings(max_examples=40, deadline=None)
@given(st.lists(modifications(), max_size=6), st.booleans())
def test_a_step_goes_one_way(messages: list[Dataset], strict: bool) -> None:
    """And is the same after each trip to the database."""
    step = created(said.created(), strict=strict)
    first = {tag: deepcopy(step[tag]) for tag in _KEPT if tag in step}
    for message in messages:
        was = state_of(step)
        before = deepcopy(step)
        after = _outcome(step, message, strict)
        if isinstance(after, StepRefused):
            assert step == before
            assert after.status in (0x0105, 0x0106, 0x0110, 0x0121)
            assert (after.error_id == 0xA710) == was.is_final
            continue
        assert not was.is_final
        assert {tag: after[tag] for tag in first} == first
        facts = facts_of(after)
        assert len({each.sop_instance_uid for each in facts.references}) == len(facts.references)
        if facts.state.is_final:
            assert len(facts.ended) == len("20240131 103000")
            assert facts.series or not strict
        step = attributes_of(prepared(after).attributes)
        assert facts_of(step) == facts
