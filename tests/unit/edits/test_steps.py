"""Remove, copy, map, set; and the trace that a coercion leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydicom.dataset import Dataset

from dicomrelay.edits.values import Otherwise, PrivatePolicy, Profile, ValueMap
from dicomrelay.errors import NotEditable
from tests.support.data_sets import BIG_ENDIAN, EXPLICIT, IMPLICIT
from tests.support.edits import basic, decoded, edited, encoded, person

PATIENT_ID, ACCESSION, INSTITUTION, STATION, REQUESTED = (
    0x00100020,
    0x00080050,
    0x00080080,
    0x00081010,
    0x00321060,
)
PRIVATE = 0x00191001
# Epoch milliseconds of 2023-11-14 22:13:20.123 UTC.
ARRIVED = 1_700_000_000_123


def plain(**steps: object) -> Profile:
    """A profile that does not de-identify."""
    return Profile("site", "aaaaaaaaaaaa", **steps)  # type: ignore[arg-type]


def changed(before: Dataset, profile: Profile, syntax: str = EXPLICIT) -> Dataset:
    """What it makes of a data set."""
    return decoded(edited(encoded(before, syntax), syntax, profile, at_ms=ARRIVED)[0], syntax)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_the_four_steps(syntax: str) -> None:
    """In their order: what is set wins over what is copied."""
    profile = plain(
        remove=(ACCESSION,),
        copies=((STATION, INSTITUTION),),
        maps=(ValueMap(PATIENT_ID, {"PAT-4711": "H1-4711"}),),
        values=((INSTITUTION, "Site 2"), (REQUESTED, "")),
    )
    before = person()
    before.InstitutionName = "Site 1"
    after = changed(before, profile, syntax)
    assert "AccessionNumber" not in after
    assert "AccessionNumber" not in after.RequestAttributesSequence[0]
    assert (after.StationName, after.InstitutionName) == ("Site 1", "Site 2")
    assert after.PatientID == "H1-4711"
    assert after.RequestedProcedureDescription == ""
    assert after.PatientName == before.PatientName
    assert after.PixelData == before.PixelData


def test_what_was_coerced_stands_in_original_attributes() -> None:
    """PS3.3 Section C.12.1.1.9: the values before, when, by whom and why; at the time of the arrival."""
    after = changed(person(), plain(values=((INSTITUTION, "Site 2"), (STATION, "CT1")), remove=(ACCESSION,)))
    (said,) = after.OriginalAttributesSequence
    (old,) = said.ModifiedAttributesSequence
    assert (old.InstitutionName, old.AccessionNumber) == ("Klinikum Mustermann", "ACC-0815")
    assert old.RequestAttributesSequence[0].AccessionNumber == "ACC-0815"
    assert "StationName" not in old
    assert said.ReasonForTheAttributeModification == "COERCE"
    assert said.ModifyingSystem == "dicomrelay site@aaaaaaaaaaaa"
    assert said.AttributeModificationDateTime == "20231114221320.123000+0000"
    assert said.SourceOfPreviousValues == ""
    again = changed(after, plain(values=((INSTITUTION, "Site 3"),)))
    assert [len(item.ModifiedAttributesSequence) for item in again.OriginalAttributesSequence] == [1, 1]


def test_a_profile_with_nothing_to_do_sends_what_arrived() -> None:
    """Byte for byte, and nothing says otherwise."""
    data = encoded(person(), EXPLICIT)
    profile = plain(values=((PATIENT_ID, "PAT-4711"),), remove=(0x00104000,), copies=((STATION, 0x00081040),))
    out, found = edited(data, EXPLICIT, profile)
    assert out == data
    assert not found.changes
    assert not found.digest


def test_a_de_identified_copy_has_no_original_attributes() -> None:
    """They would hold what was removed; and maps look up what arrived."""
    profile = replace(
        basic(), maps=(ValueMap(PATIENT_ID, {"PAT-4711": "SUBJECT-1"}),), values=((0x00120010, "Sponsor"),)
    )
    before = changed(person(), plain(values=((INSTITUTION, "Site 2"),)))
    assert "OriginalAttributesSequence" in before
    after = changed(before, profile)
    assert "OriginalAttributesSequence" not in after
    assert (after.PatientID, after.ClinicalTrialSponsorName) == ("SUBJECT-1", "Sponsor")


@pytest.mark.parametrize(
    ("otherwise", "left"), [(Otherwise.KEEP, "PAT-4711"), (Otherwise.EMPTY, ""), (Otherwise.REMOVE, None)]
)
def test_a_value_that_the_map_does_not_have(otherwise: Otherwise, left: str | None) -> None:
    """Stays, is emptied, or goes."""
    profile = plain(maps=(ValueMap(PATIENT_ID, {"other": "x"}, otherwise),))
    assert changed(person(), profile).get("PatientID") == left


def test_a_value_that_the_map_does_not_have_may_refuse_the_instance() -> None:
    """The value is not in the message."""
    with pytest.raises(NotEditable, match=r"map of \(0010,0020\) does not have") as error:
        changed(person(), plain(maps=(ValueMap(PATIENT_ID, {"other": "x"}, Otherwise.REFUSE),)))
    assert "4711" not in str(error.value)
    before = person()
    del before.PatientID
    with pytest.raises(NotEditable, match=r"map of \(0010,0020\) does not have"):
        changed(before, plain(maps=(ValueMap(PATIENT_ID, {"PAT-4711": "x"}, Otherwise.REFUSE),)))
    assert "PatientID" not in changed(
        before, plain(maps=(ValueMap(PATIENT_ID, {"x": "y"}, Otherwise.EMPTY),))
    )


def test_letters_are_written_in_the_character_set_of_the_data_set() -> None:
    """And where that has no such letters, nothing goes out."""
    name = ((0x00100010, "Müller^Jürgen"),)
    assert changed(person(), plain(values=name)).PatientName == "Müller^Jürgen"
    before = person()
    before.SpecificCharacterSet = "ISO_IR 192"
    assert changed(before, plain(values=((0x00100010, "Ωμέγα^山田"),))).PatientName == "Ωμέγα^山田"
    with pytest.raises(
        NotEditable, match=r"\(0010,0010\) has letters that its character set, ISO_IR 100, has not"
    ):
        changed(person(), plain(values=((0x00100010, "山田^太郎"),)))


def test_a_copy_that_does_not_fit_is_refused() -> None:
    """A Study Description of 64 characters is no Station Name of 16."""
    before = person()
    before.StudyDescription = "x" * 60
    with pytest.raises(NotEditable, match=r"\(0008,1010\) is none of VR SH"):
        changed(before, plain(copies=((STATION, 0x00081030),)))


def test_private_elements_may_be_removed_alone() -> None:
    """In items too; and one may be removed by its tag."""
    before = person()
    before.RequestAttributesSequence[0].private_block(0x0029, "ACME 2", create=True).add_new(1, "LO", "x")
    after = changed(before, plain(private=PrivatePolicy.REMOVE))
    assert not [element for element in after.iterall() if element.tag.is_private]
    assert "OriginalAttributesSequence" not in after
    one = changed(before, plain(remove=(PRIVATE,)))
    assert PRIVATE not in one
    assert 0x00191002 in one
