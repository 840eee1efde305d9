"""Questions about the worklist: every kind of matching of PS3.4 Section C.2.2.2, at the top and in sequences."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from dicomrelay.dimse.query_keys import build_identifier, parse_key
from dicomrelay.scheduling.worklist_building import path_of
from dicomrelay.scheduling.worklist_query import WrongKey, read_question
from tests.support.worklist import item

_CODE = Dataset()
_CODE.CodeValue, _CODE.CodingSchemeDesignator, _CODE.CodeMeaning = "CTH", "99X", "CT HEAD"
_OTHER = Dataset()
_OTHER.CodeValue, _OTHER.CodingSchemeDesignator, _OTHER.CodeMeaning = "MRB", "99Y", "MR BRAIN"
ITEM = item(
    PatientName="Müller^Jörg=山田^太郎",
    PatientWeight="70.50",
    PregnancyStatus=4,
    step_ScheduledStationAETitle=["CT_1", "CT_2"],
    step_ScheduledProtocolCodeSequence=[_CODE, _OTHER],
).data_set


def keys(*texts: str) -> Dataset:
    """An identifier; attributes of the step go into its sequence."""
    named = [text.partition("=") for text in texts]
    with config.disable_value_validation():
        return build_identifier([parse_key(f"{path_of(name)}{dash}{value}") for name, dash, value in named])


def answer(*texts: str) -> dict[str, Any] | None:
    return read_question(keys(*texts)).keys.answer(ITEM)


CODE = "ScheduledProtocolCodeSequence[0]"


@pytest.mark.parametrize(
    ("asked", "matches"),
    [
        (["PatientID=P1"], True),
        (["PatientID=p1"], False),
        (["PatientID=P?"], True),
        (["PatientID=*"], True),
        (["PatientName=müller*"], True),
        (["PatientName=MÜLLER^JÖRG"], True),
        (["PatientName=山田*"], True),
        (["PatientName==山田^太郎"], True),
        (["PatientName=JÖRG*"], False),
        (["StudyInstanceUID=1.2.3.1"], True),
        (["StudyInstanceUID=1.2.9\\1.2.3.1"], True),
        (["StudyInstanceUID=1.2.9"], False),
        (["PatientWeight=70.5"], True),
        (["PregnancyStatus=4"], True),
        (["PregnancyStatus=3"], False),
        (["PatientBirthDate=19700101"], True),
        (["PatientBirthDate=19690101-"], True),
        (["PatientBirthDate=-19690101"], False),
        (["MedicalAlerts=*"], True),
        (["MedicalAlerts=x"], False),
        (["Modality=CT"], True),
        (["Modality=MR"], False),
        (["Modality=MR\\CT"], True),
        (["ScheduledStationAETitle=CT_2"], True),
        (["ScheduledStationAETitle=CT_3"], False),
        (["ScheduledProcedureStepStartDate=20261123"], True),
        (["ScheduledProcedureStepStartDate=20261120-20261122"], False),
        (["ScheduledProcedureStepStartTime=08"], True),
        (["ScheduledProcedureStepStartTime=0700-0900"], True),
        (["ScheduledProcedureStepStartTime=0801-"], False),
        # Both as ranges are one from moment to moment (Table K.6-1), and by themselves otherwise.
        (["ScheduledProcedureStepStartDate=20261122-20261124", "ScheduledProcedureStepStartTime=1000-0700"], True),
        (["ScheduledProcedureStepStartDate=20261123-20261124", "ScheduledProcedureStepStartTime=1000-0700"], False),
        (["ScheduledProcedureStepStartDate=20261122-20261123", "ScheduledProcedureStepStartTime=1000-0759"], False),
        (["ScheduledProcedureStepStartDate=20261122-", "ScheduledProcedureStepStartTime=1000-"], True),
        (["ScheduledProcedureStepStartDate=20261123", "ScheduledProcedureStepStartTime=1000-1200"], False),
        ([f"{CODE}.CodeValue=MRB"], True),
        ([f"{CODE}.CodeValue=MRB", f"{CODE}.CodingSchemeDesignator=99Y"], True),
        # On one item, all keys together.
        ([f"{CODE}.CodeValue=MRB", f"{CODE}.CodingSchemeDesignator=99X"], False),
        (["ReferencedStudySequence[0].ReferencedSOPInstanceUID=1.2"], False),
        (["ReferencedStudySequence[0].ReferencedSOPInstanceUID"], True),
    ],
)  # fmt: skip
def test_matching(asked: list[str], matches: bool) -> None:
    """Single value, list, range, wildcard, universal, sequence."""
    assert (answer(*asked) is not None) is matches


@pytest.mark.parametrize(
    ("value", "asked", "matches"),
    [
        # PS3.4 Section C.2.2.2.1.3: by what it means.
        ("20200706090000+0100", "20200706080000+0000", True),
        ("20200706090000+0100", "20200706080000.0000+0000", True),
        ("20200706090000+0100", "20200706100000+0200", True),
        ("20200706090000+0100", "20200706090000+0000", False),
        ("20200706090000+0100", "20200706090000", True),
        ("20200706090000", "20200706090000+0100", True),
        ("20200706090000+0100", "20200706080000", False),
        ("20200706233000-0100", "20200707003000+0000", True),
        # Ranges: a hyphen before four digits that a moment follows is an offset.
        ("20200706090000+0100", "20200706080000+0000-", True),
        ("20200706090000+0100", "-20200706075959+0000", False),
        ("20200706090000+0100", "20200705220000-1000-20200705220000-1000", True),
        ("20200706090000-0500", "20200706135900+0000-20200706140100+0000", True),
        ("20200706090000+0100", "202006-202007", True),
        ("20200706090000+0100", "202007+0000", True),
        ("20201231233000-0100", "2020+0000-2020+0000", False),
        ("20200706090000+0100", "20200101-0500", False),
    ],
)
def test_a_date_and_time_with_an_offset(value: str, asked: str, matches: bool) -> None:
    """Both say how far from UTC they are, or they are compared as they stand."""
    given = item(step_ScheduledProcedureStepStartDateTime=value).data_set
    found = read_question(
        keys(f"ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDateTime={asked}")
    )
    assert (found.answer(given) is not None) is matches


@pytest.mark.parametrize(
    "asked", ["soon", "2020010", "20200101-20200201-20200301", "20200101+01", "+0000", "-"]
)
def test_what_is_no_date_and_time_is_told(asked: str) -> None:
    with pytest.raises(WrongKey, match="ScheduledProcedureStepStartDateTime"):
        read_question(keys(f"ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDateTime={asked}"))


def test_an_answer_says_how_its_times_and_documents_are_to_be_read() -> None:
    """PS3.4 Section K.4.1.1.3.2: where the item has them, asked for or not. Documents are asked for, and not matched."""
    document, hl7 = Dataset(), Dataset()
    document.ReferencedSOPInstanceUID, document.DocumentTitle = "2.25.1", "REPORT"
    hl7.ReferencedSOPInstanceUID, hl7.HL7InstanceIdentifier = "2.25.1", "1.2^x"
    given = item(
        TimezoneOffsetFromUTC="+0100",
        PertinentDocumentsSequence=[document],
        HL7StructuredDocumentReferenceSequence=[hl7],
    ).data_set
    found = read_question(keys("PatientID")).answer(given)
    assert found is not None
    assert found.keys() == {"00100020", "00080201"}
    other = read_question(keys("PertinentDocumentsSequence[0].DocumentTitle=OTHER")).answer(given)
    assert other is not None
    assert other.keys() == {"00380100", "0040A390", "00080201"}
    assert other["00380100"] == given["00380100"]
    without = read_question(keys("PertinentDocumentsSequence")).answer(ITEM)
    assert without == {"00380100": {"vr": "SQ"}}


def test_an_answer_has_what_was_asked_for() -> None:
    """And nothing else; what is not there is empty."""
    assert answer("PatientID", "MedicalAlerts", "PatientComments", "Modality=CT") == {
        "00100020": {"vr": "LO", "Value": ["P1"]},
        "00102000": {"vr": "LO"},
        "00104000": {"vr": "LT"},
        "00400100": {"vr": "SQ", "Value": [{"00080060": {"vr": "CS", "Value": ["CT"]}}]},
    }


def test_of_a_sequence_only_the_items_that_match_are_answered() -> None:
    """PS3.4 Section C.2.2.2.6."""
    found = answer(f"{CODE}.CodeValue=MRB", f"{CODE}.CodeMeaning")
    assert found is not None
    (in_step,) = found["00400100"]["Value"]
    (code,) = in_step["00400008"]["Value"]
    assert code["00080104"]["Value"] == ["MR BRAIN"]


def test_an_empty_sequence_and_an_empty_item_ask_for_all_of_it() -> None:
    """Universal matching."""
    for value in ([], [Dataset()]):
        identifier = Dataset()
        identifier.ScheduledProcedureStepSequence = value
        found = read_question(identifier).keys.answer(ITEM)
        assert found == {"00400100": ITEM["00400100"]}


def test_what_no_worklist_has_is_left_out_and_told() -> None:
    """Private attributes, and those that the dictionary does not know."""
    identifier = keys("PatientID=P1")
    identifier.add_new(0x00090010, "LO", "ACME")
    identifier.add_new(0x00091001, "LO", "x")
    question = read_question(identifier)
    assert question.leaves_out_keys
    found = question.keys.answer(ITEM)
    assert found is not None
    assert found.keys() == {"00100020"}
    assert not read_question(keys("PatientID")).leaves_out_keys


def test_what_is_said_of_the_request_is_no_key() -> None:
    """Character set, level and time zone."""
    identifier = keys("PatientID")
    identifier.SpecificCharacterSet, identifier.TimezoneOffsetFromUTC = "ISO_IR 100", "+0100"
    identifier.QueryRetrieveLevel = "WORKLIST"
    found = read_question(identifier).keys.answer(ITEM)
    assert found is not None
    assert found.keys() == {"00100020"}


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [
        ("PatientBirthDate", "DA", "yesterday"),
        ("StudyInstanceUID", "UI", "x.y"),
        ("PatientWeight", "LO", "heavy"),
        ("StudyDate", "DA", "20260101-20260102-20260103"),
        ("PatientID", "DA", "20260101"),
        ("PatientID", "LO", "x" * 2000),
    ],
)
def test_a_key_that_cannot_be_is_named(keyword: str, vr: str, value: str) -> None:
    """And its value is not."""
    identifier = Dataset()
    with config.disable_value_validation():
        element = DataElement(keyword, vr, value)
        identifier[element.tag] = element
        with pytest.raises(WrongKey, match=keyword) as caught:
            read_question(identifier)
    assert caught.value.tag == int(element.tag)
    assert value not in str(caught.value)


def test_several_items_of_keys_are_refused() -> None:
    """PS3.4 Section K.6.1.2.2: one, in query and response."""
    identifier = Dataset()
    identifier.ScheduledProcedureStepSequence = [Dataset(), Dataset()]
    with pytest.raises(WrongKey, match="ScheduledProcedureStepSequence"):
        read_question(identifier)


def test_what_the_database_is_asked_holds_all_that_matches() -> None:
    """Patterns and lists are left to the matching."""
    exact = read_question(
        keys("PatientID=P1", "Modality=CT", "ScheduledStationAETitle=CT_1", "AccessionNumber=A*",
             "ScheduledProcedureStepStartDate=20261123-", "StudyInstanceUID=1.2\\1.3")
    ).conditions  # fmt: skip
    assert (exact.patient_id, exact.modality, exact.station) == ("P1", "CT", "CT_1")
    assert (exact.accession_number, exact.first_date, exact.last_date) == ("", "20261123", "")
    assert exact.study_instance_uids == ("1.2", "1.3")
    assert read_question(keys("ScheduledProcedureStepStatus=ARRIVED")).names_status
    assert not read_question(keys("ScheduledProcedureStepStatus")).names_status
    assert not read_question(keys("ScheduledProcedureStepStatus=*")).names_status
