"""What an identifier asks, or why not (PS3.4 Section C.4.1)."""

from __future__ import annotations

import pytest

from dicomrelay.dicom.query_models import PATIENT_ROOT, PATIENT_STUDY_ONLY, STUDY_ROOT, QueryModel
from dicomrelay.dimse.identifier import decode_identifier, encode_identifier
from dicomrelay.dimse.query_keys import build_identifier, parse_key
from scp_gateway.archive_port import indexed_attributes
from scp_gateway.query.keys import read_query
from scp_gateway.query.question import Agreed, FindQuery, Refusal

EXPLICIT = "1.2.840.10008.1.2.1"
PLAIN, RELATIONAL = Agreed(), Agreed(relational=True)


ATTRIBUTES = indexed_attributes()


def read(*keys: str, model: QueryModel = STUDY_ROOT, agreed: Agreed = PLAIN) -> FindQuery | Refusal:
    asked = build_identifier([parse_key(key) for key in keys])
    identifier = decode_identifier(encode_identifier(asked, EXPLICIT), EXPLICIT)
    return read_query(identifier, model, agreed, attributes=ATTRIBUTES, ae_title="OURS")


def query(*keys: str, model: QueryModel = STUDY_ROOT, agreed: Agreed = PLAIN) -> FindQuery:
    found = read(*keys, model=model, agreed=agreed)
    assert isinstance(found, FindQuery), found
    return found


def wanted(found: FindQuery) -> set[str]:
    return {each.keyword for each in found.wanted}


def test_keys_with_values_are_matched_and_all_are_answered() -> None:
    """And the unique key of the level, though nobody asked."""
    found = query("QueryRetrieveLevel=STUDY", "PatientID=P1", "StudyDate", "AccessionNumber=*")
    assert found.matches == {"PatientID": "P1"}
    assert wanted(found) == {"PatientID", "StudyDate", "AccessionNumber", "StudyInstanceUID"}
    assert found.constants == {0x00080052: "STUDY", 0x00080054: "OURS"}
    assert not found.leaves_out_keys
    assert not found.filters


@pytest.mark.parametrize(
    ("keys", "model", "offending"),
    [
        (["PatientID"], STUDY_ROOT, 0x00080052),
        (["QueryRetrieveLevel"], STUDY_ROOT, 0x00080052),
        (["QueryRetrieveLevel=FRAME"], STUDY_ROOT, 0x00080052),
        (["QueryRetrieveLevel=PATIENT"], STUDY_ROOT, 0x00080052),
        (
            ["QueryRetrieveLevel=SERIES", "PatientID=P1", "StudyInstanceUID=1.2"],
            PATIENT_STUDY_ONLY,
            0x00080052,
        ),
        (["QueryRetrieveLevel=STUDY"], PATIENT_ROOT, 0x00100020),
        (["QueryRetrieveLevel=STUDY", "PatientID=P*"], PATIENT_ROOT, 0x00100020),
        (["QueryRetrieveLevel=SERIES"], STUDY_ROOT, 0x0020000D),
        (["QueryRetrieveLevel=SERIES", "StudyInstanceUID"], STUDY_ROOT, 0x0020000D),
        (["QueryRetrieveLevel=SERIES", "StudyInstanceUID=1.2\\1.3"], STUDY_ROOT, 0x0020000D),
        (["QueryRetrieveLevel=IMAGE", "StudyInstanceUID=1.2"], STUDY_ROOT, 0x0020000E),
        (["QueryRetrieveLevel=STUDY", "StudyInstanceUID=abc"], STUDY_ROOT, 0x0020000D),
        (["QueryRetrieveLevel=SERIES", "StudyInstanceUID=1.2", "SeriesNumber=1\\2"], STUDY_ROOT, 0x00200011),
    ],
)
def test_what_does_not_fit_the_model_is_a900_with_the_element(
    keys: list[str], model: QueryModel, offending: int
) -> None:
    """PS3.4 Table C.4-1: Offending Element says which, Error Comment what of it."""
    refused = read(*keys, model=model)
    assert isinstance(refused, Refusal)
    assert (refused.status, refused.offending) == (0xA900, (offending,))
    assert 0 < len(refused.comment) <= 64 or "none of" in refused.comment


def test_relational_queries_need_no_unique_keys() -> None:
    """PS3.4 Section C.4.1.2.2: images of a patient, whichever study."""
    found = query("QueryRetrieveLevel=IMAGE", "PatientID=P1", agreed=RELATIONAL)
    assert found.matches == {"PatientID": "P1"}
    assert wanted(found) == {"PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"}


@pytest.mark.parametrize(
    "key",
    [
        "Modality=CT",  # of a level below
        "SOPInstanceUID",
        "InstitutionName",  # of a series
        "RequestAttributesSequence[0].RequestedProcedureID=1",
        "PatientMotherBirthName",  # neither in the index nor looked up
        "0009,0010=PRIVATE",
        "NumberOfStudyRelatedInstances=3",  # counted, matched by nobody
        "NumberOfPatientRelatedStudies",  # of a level above
    ],
)
def test_keys_that_are_not_matched_are_told(key: str) -> None:
    """FF01 (PS3.4 Section C.4.1.1.4): the answers are more than was asked for."""
    found = query("QueryRetrieveLevel=STUDY", key)
    assert found.leaves_out_keys
    assert found.matches == {}


def test_counts_are_answered_at_their_own_level() -> None:
    """PS3.4 Section C.3.4."""
    patient = [
        "NumberOfPatientRelatedStudies",
        "NumberOfPatientRelatedSeries",
        "NumberOfPatientRelatedInstances",
    ]
    study = [
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
        "ModalitiesInStudy",
        "SOPClassesInStudy",
    ]
    found = query("QueryRetrieveLevel=PATIENT", *patient, model=PATIENT_ROOT)
    assert wanted(found) == {*patient, "PatientID"}
    assert not found.leaves_out_keys
    found = query("QueryRetrieveLevel=STUDY", *study)
    assert wanted(found) == {*study, "StudyInstanceUID"}
    assert found.gathers_sop_classes


def test_modalities_in_study_are_any_of_the_studys() -> None:
    """One is for the index, a pattern is not; both are looked at again."""
    found = query("QueryRetrieveLevel=STUDY", "ModalitiesInStudy=CT")
    assert found.matches == {"ModalitiesInStudy": "CT"}
    assert all(fits({"ModalitiesInStudy": ["CT", "MR"]}) for fits in found.filters)
    found = query("QueryRetrieveLevel=STUDY", "ModalitiesInStudy=C?")
    assert found.matches == {}
    assert not all(fits({"ModalitiesInStudy": ["MR"]}) for fits in found.filters)


def test_a_pattern_goes_to_the_index_and_is_looked_at_again() -> None:
    """The index knows no case in patterns."""
    found = query("QueryRetrieveLevel=STUDY", "StudyDescription=HEAD*", "PatientName=MÜ*")
    assert found.matches == {"StudyDescription": "HEAD*", "PatientName": "MÜ*"}
    row = {"StudyDescription": "HEAD", "PatientName": "MÜLLER^JÖRG"}
    assert all(fits(row) for fits in found.filters)
    assert not all(fits({**row, "StudyDescription": "Head"}) for fits in found.filters)


def test_fuzzy_names_are_the_indexs_own() -> None:
    """As they are asked; what is alike only the index knows."""
    found = query("QueryRetrieveLevel=STUDY", "PatientName=smyth", agreed=Agreed(fuzzy_names=True))
    assert found.matches == {"PatientName": "smyth"}
    assert not found.filters
    assert found.fuzzy_names


def test_date_and_time_are_one_range_when_agreed() -> None:
    """Else each is matched by itself."""
    keys = ["QueryRetrieveLevel=STUDY", "StudyDate=20260101-20260103", "StudyTime=1200-1000"]
    apart = query(*keys)
    assert apart.matches == {"StudyDate": "20260101-20260103", "StudyTime": "1200-1000"}
    together = query(*keys, agreed=Agreed(combined_date_time=True))
    assert together.matches == {"StudyDate": "20260101-20260103"}
    (fits,) = together.filters
    assert fits({"StudyDate": "20260102", "StudyTime": "110000"})


@pytest.mark.parametrize(
    ("key", "any_answer"),
    [
        ("RetrieveAETitle=OURS", True),
        ("RetrieveAETitle=O*", True),
        ("RetrieveAETitle=THEIRS", False),
        ("InstanceAvailability=ONLINE", True),
        ("InstanceAvailability=OFFLINE", False),
    ],
)
def test_what_is_the_same_of_all_is_matched_too(key: str, any_answer: bool) -> None:
    """Everything is here and at hand."""
    found = query("QueryRetrieveLevel=STUDY", key)
    assert all(fits({}) for fits in found.filters) == any_answer


def test_what_an_error_says_quotes_no_value() -> None:
    """It is logged as well."""
    refused = read("QueryRetrieveLevel=STUDY", "StudyInstanceUID=MUELLER")
    assert isinstance(refused, Refusal)
    assert "MUELLER" not in refused.comment
    assert "StudyInstanceUID (0020,000D)" in refused.comment
