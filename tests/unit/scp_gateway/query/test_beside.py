"""Keys that are looked up in a stored instance (PS3.4 Section C.2.2.2)."""

from __future__ import annotations

import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from dicomrelay.dicom.query_models import Level
from dicomrelay.dimse.identifier import decode_identifier, encode_identifier
from dicomrelay.dimse.query_keys import build_identifier, parse_key
from scp_gateway.query.beside import answered, check, is_beside, matches
from scp_gateway.query.values import Invalid

EXPLICIT = "1.2.840.10008.1.2.1"


def keys(*texts: str) -> Dataset:
    """As they come from a peer."""
    return decode_identifier(encode_identifier(build_identifier(map(parse_key, texts)), EXPLICIT), EXPLICIT)


def head() -> Dataset:
    found = Dataset()
    found.InstitutionName = "Clinic South"
    found.PatientWeight = "70.50"
    found.OperatorsName = ["DOE^JANE", "ROE^RICHARD"]
    found.AcquisitionDate = "20260102"
    found.AcquisitionTime = "101500.5"
    found.AcquisitionDateTime = "20260102101500.5"
    found.FrameOfReferenceUID = "1.2.3"
    found.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    found.SliceThickness = 2.5
    found.RequestAttributesSequence = []
    for number in (1, 2):
        item = Dataset()
        item.RequestedProcedureID, item.ScheduledProcedureStepID = f"R{number}", f"S{number}"
        found.RequestAttributesSequence.append(item)
    return found


@pytest.mark.parametrize(
    ("key", "fits"),
    [
        ("InstitutionName", True),
        ("InstitutionName=*", True),
        ("InstitutionName=Clinic*", True),
        ("InstitutionName=clinic*", False),
        ("InstitutionName=Clinic", False),
        ("PatientWeight=70.5", True),
        ("PatientWeight=71", False),
        ("OperatorsName=roe*", True),
        ("OperatorsName=ROE^R", False),
        ("AcquisitionDate=20260101-20260131", True),
        ("AcquisitionDate=20260103-", False),
        ("AcquisitionTime=1000-1015", True),
        ("AcquisitionTime=1016-", False),
        ("AcquisitionTime=101500", True),
        ("AcquisitionDateTime=20260101-20260102", True),
        ("AcquisitionDateTime=-20260101", False),
        ("FrameOfReferenceUID=1.2.3\\1.2.4", True),
        ("FrameOfReferenceUID=1.2", False),
        ("ImageType=AXIAL", True),
        ("ImageType=LOCALIZER", False),
        ("SliceThickness=2.5", True),
        ("ProtocolName", True),
        ("ProtocolName=HEAD", False),
        ("RequestAttributesSequence", True),
        ("RequestAttributesSequence[0].RequestedProcedureID", True),
        ("RequestAttributesSequence[0].RequestedProcedureID=R2", True),
        ("RequestAttributesSequence[0].RequestedProcedureID=R3", False),
        ("RequestAttributesSequence[0].StudyInstanceUID=1.2", False),
        ("ProcedureCodeSequence[0].CodeValue=1", False),
        ("ProcedureCodeSequence[0].CodeValue", True),
    ],
)
def test_a_key_is_matched_by_its_vr(key: str, fits: bool) -> None:
    """Single value, wildcard, range, list, number, sequence; without a value everything."""
    assert matches(keys(key), head()) == fits


def test_all_keys_of_an_item_are_of_one_item() -> None:
    """R1 and S2 stand in two (PS3.4 Section C.2.2.2.6)."""
    both = (
        "RequestAttributesSequence[0].RequestedProcedureID=R1",
        "RequestAttributesSequence[0].ScheduledProcedureStepID=",
    )
    assert matches(keys(both[0], f"{both[1]}S1"), head())
    assert not matches(keys(both[0], f"{both[1]}S2"), head())


def test_what_cannot_be_read_has_nothing() -> None:
    """It matches where nothing is wanted, and is answered empty."""
    assert not matches(keys("InstitutionName=C*"), None)
    assert matches(keys("InstitutionName"), None)
    answer = answered(keys("InstitutionName", "RequestAttributesSequence"), None)
    assert not answer.InstitutionName
    assert list(answer.RequestAttributesSequence) == []


def test_a_sequence_without_keys_is_answered_whole() -> None:
    """With keys, the items that match, with these keys alone."""
    whole = answered(keys("RequestAttributesSequence"), head())
    assert [item.ScheduledProcedureStepID for item in whole.RequestAttributesSequence] == ["S1", "S2"]
    (item,) = answered(
        keys("RequestAttributesSequence[0].RequestedProcedureID=R2"), head()
    ).RequestAttributesSequence
    assert item.RequestedProcedureID == "R2"
    assert "ScheduledProcedureStepID" not in item


def test_what_is_looked_up_is_of_the_level_or_above() -> None:
    """Of a study what all of it has in common."""
    institution, procedure, image_type = 0x00080080, 0x00081032, 0x00080008
    assert is_beside(procedure, Level.STUDY)
    assert not is_beside(institution, Level.STUDY)
    assert is_beside(institution, Level.SERIES)
    assert not is_beside(image_type, Level.SERIES)
    assert is_beside(image_type, Level.IMAGE)
    assert not is_beside(0x7FE00010, Level.IMAGE)
    assert not is_beside(procedure, Level.PATIENT)


def test_a_value_that_is_none_is_found_before_a_file_is_read() -> None:
    """In an item too."""
    (nested,) = keys("ReferencedStudySequence[0].ReferencedSOPInstanceUID=x")
    for element in (DataElement(0x00080022, "DA", "20261301"), nested):
        with pytest.raises(Invalid):
            check(element)


def test_a_sequence_has_one_item_at_most() -> None:
    """PS3.4 Section C.2.2.2.6."""
    step = "RequestAttributesSequence[{}].RequestedProcedureID=1"
    (element,) = keys(step.format(0), step.format(1))
    with pytest.raises(Invalid):
        check(element)
