"""Orders in HL7 v2 as items of the worklist (IHE RAD TF-2 Appendix B)."""

from __future__ import annotations

import logging

import pytest

from dicomrelay.scheduling.worklist_change import OrderKey, Record
from dicomrelay.scheduling.worklist_hl7 import CANCELS, PUTS, records
from dicomrelay.scheduling.worklist_status import StepStatus

STATIONS = {"CT": "CT_1", "MR": "MR_1"}
MSH = "MSH|^~\\&|RIS|CLINIC|RELAY|CLINIC|20261122||ORM^O01|1|P|2.3.1"
PID = "PID|1||4711^^^CLINIC&1.2.3&ISO^MR~99^^^OTHER||MUELLER&VON^HANS^P^JR^DR||19700101|M"
PV1 = "PV1|1|I|WARD^12^B|||||7^REFER^RAY|||||||B6|Y|||V123"
AL1 = "AL1|1|DA|P^PENICILLIN"
ORC = "ORC|NW|PL1^RIS|FI1^RIS||||1^^^202611230830^^S"
OBR = (
    "OBR|1|PL1^RIS|FI1^RIS|CTH^CT HEAD^99X^P1^HEAD ROUTINE^99P||||||||INFECTIOUS|SCAR|||9^ORDER^OTTO||A1|R1|S1||||CT|||"
    "|||WALK|FELL"
)
ZDS = "ZDS|1.2.840.1^RIS^Application^DICOM"
ORM = [MSH, PID, PV1, AL1, ORC, OBR, ZDS]
OMI = [
    MSH.replace("ORM^O01", "OMI^O23^OMI_O23").replace("2.3.1", "2.5.1"),
    PID,
    "ORC|NW|PL1|FI1",
    "TQ1|1||||||202611230830+0100||A^ASAP",
    "OBR|1|PL1|FI1|CTH^CT HEAD^99X",
    "IPC|A1|R1|1.2.840.1|S1|CT|P1^HEAD ROUTINE^99P|SCANNER|ROOM 1|CT_7",
    "IPC|A1|R1|1.2.840.1|S2|CT|P2^HEAD CONTRAST^99P|SCANNER|ROOM 1|CT_7",
]


def read(*lines: str, encoding: str = "utf-8") -> list[Record]:
    return records("\r".join(lines).encode(encoding), STATIONS)


def one(*lines: str, encoding: str = "utf-8") -> Record:
    (found,) = read(*lines, encoding=encoding)
    return found


def test_an_order_of_version_2_3() -> None:
    """ORM^O01: what IHE maps, where it maps it."""
    (found,) = one(*ORM).items
    assert {name: found.text(name) for name in (
        "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex", "CurrentPatientLocation",
        "ReferringPhysicianName", "AdmissionID", "Allergies", "AccessionNumber", "RequestedProcedureID",
        "StudyInstanceUID", "RequestedProcedureDescription", "RequestedProcedurePriority", "RequestingPhysician",
        "PatientState", "MedicalAlerts", "PatientTransportArrangements", "ReasonForTheRequestedProcedure",
        "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest",
        "ConfidentialityConstraintOnPatientDataDescription", "PregnancyStatus",
    )} == {
        "PatientID": "4711", "IssuerOfPatientID": "CLINIC", "PatientName": "MUELLER^HANS^P^DR^JR",
        "PatientBirthDate": "19700101", "PatientSex": "M", "CurrentPatientLocation": "WARD 12 B",
        "ReferringPhysicianName": "REFER^RAY", "AdmissionID": "V123", "Allergies": "PENICILLIN",
        "AccessionNumber": "A1", "RequestedProcedureID": "R1", "StudyInstanceUID": "1.2.840.1",
        "RequestedProcedureDescription": "CT HEAD", "RequestedProcedurePriority": "STAT",
        "RequestingPhysician": "ORDER^OTTO", "PatientState": "INFECTIOUS", "MedicalAlerts": "SCAR",
        "PatientTransportArrangements": "WALK", "ReasonForTheRequestedProcedure": "FELL",
        "PlacerOrderNumberImagingServiceRequest": "PL1", "FillerOrderNumberImagingServiceRequest": "FI1",
        "ConfidentialityConstraintOnPatientDataDescription": "Y", "PregnancyStatus": "3",
    }  # fmt: skip
    assert {name: found.of_step(name) for name in (
        "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime", "ScheduledProcedureStepID", "Modality",
        "ScheduledStationAETitle", "ScheduledProcedureStepDescription",
    )} == {
        "ScheduledProcedureStepStartDate": "20261123", "ScheduledProcedureStepStartTime": "0830",
        "ScheduledProcedureStepID": "S1", "Modality": "CT", "ScheduledStationAETitle": "CT_1",
        "ScheduledProcedureStepDescription": "HEAD ROUTINE",
    }  # fmt: skip
    (protocol,) = found.data_set["00400100"]["Value"][0]["00400008"]["Value"]
    assert protocol["00080100"]["Value"] == ["P1"]


def test_an_order_of_version_2_5_with_two_steps() -> None:
    """OMI^O23: each IPC is a step."""
    first, second = read(*OMI)
    (step,), (other,) = first.items, second.items
    assert [each.of_step("ScheduledProcedureStepID") for each in (step, other)] == ["S1", "S2"]
    assert step.text("StudyInstanceUID") == other.text("StudyInstanceUID") == "1.2.840.1"
    assert step.of_step("ScheduledStationAETitle") == "CT_7"
    assert step.of_step("ScheduledProcedureStepStartTime") == "0830"
    assert step.text("RequestedProcedurePriority") == "HIGH"
    assert other.of_step("ScheduledProcedureStepDescription") == "HEAD CONTRAST"
    assert first.where == "message 1, order 1"


@pytest.mark.parametrize(("control", "corrects"), [("NW", False), ("XO", True), ("RP", True)])
def test_an_order_that_is_changed_corrects_what_it_said_before(control: str, corrects: bool) -> None:
    """Also of which patient it is."""
    (found,) = one(*(line.replace("ORC|NW", f"ORC|{control}") for line in ORM)).items
    assert found.is_correction is corrects


def test_two_orders_of_a_message_that_look_the_same_do_not_replace_each_other() -> None:
    """Nobody says which step each is; the next message may say otherwise of the first."""
    bare = OBR.replace("|S1|", "||")
    found = read(
        MSH,
        PID,
        ORC,
        bare,
        ORC,
        bare.replace("|CT|", "|MR|"),
        MSH,
        PID,
        ORC.replace("NW", "XO"),
        bare.replace("|CT|", "|MR|"),
    )
    assert [bool(each.items) for each in found] == [True, False, True]
    assert "those of message 1, order 1: give each step an ID" in str(found[1].faults[0])


def test_several_orders_share_the_study_at_the_end() -> None:
    """As IHE writes one requested procedure with two protocols."""
    second = OBR.replace("|S1|", "|S2|")
    found = read(MSH, PID, ORC, OBR, ORC, second, ZDS)
    assert [each.items[0].text("StudyInstanceUID") for each in found] == ["1.2.840.1"] * 2
    assert [each.items[0].of_step("ScheduledProcedureStepID") for each in found] == ["S1", "S2"]


def test_without_a_study_one_is_made_of_the_order() -> None:
    """The same each time, another for another order."""
    uids = {
        one(*[line.replace("|A1|", f"|{accession}|") for line in ORM[:-1]]).items[0].text("StudyInstanceUID")
        for accession in ("A1", "A1", "A2")
    }
    assert len(uids) == 2


@pytest.mark.parametrize("control", sorted(CANCELS))
def test_a_cancelled_order_discontinues_its_steps(control: str) -> None:
    """By what names it."""
    record = one(*(line.replace("ORC|NW", f"ORC|{control}") for line in ORM))
    assert record.status is StepStatus.DISCONTINUED
    assert record.key == OrderKey(
        study_instance_uid="1.2.840.1", accession_number="A1", requested_procedure_id="R1", step_id="S1"
    )


def test_an_order_may_be_named_by_its_numbers_alone() -> None:
    """ORC-2 and ORC-3, where there is neither accession number nor study."""
    assert one(MSH, PID, "ORC|CA|PL1^RIS|FI1^RIS").key == OrderKey(
        placer_order_number="PL1", filler_order_number="FI1"
    )
    assert "names no order" in str(one(MSH, PID, "ORC|CA").faults[0])


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("SC", "SCHEDULED"),
        ("IP", "STARTED"),
        ("CM", "COMPLETED"),
        ("CA", "DISCONTINUED"),
        ("DC", "DISCONTINUED"),
    ],
)
def test_a_status_changes(said: str, status: str) -> None:
    """Order control SC, and ORC-5."""
    record = one(MSH, PID, f"ORC|SC|PL1|FI1||{said}", "OBR|1")
    assert record.status is StepStatus(status)
    assert str(one(MSH, PID, "ORC|SC|PL1|FI1||XX").faults[0]).startswith("ORC-5: none of")


def test_what_an_order_does_not_say_is_told() -> None:
    """And an order control that is none of ours."""
    found = one(MSH, PID, "ORC|NW|PL1|FI1", OBR.replace("|CT|", "||"), ZDS)
    assert {str(each) for each in found.faults} >= {
        "ScheduledProcedureStepSequence[0].Modality: missing",
        "ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate: missing",
    }
    assert str(one(MSH, PID, "ORC|ZZ|PL1|FI1", OBR).faults[0]) == "ORC-1: order control 'ZZ' is not taken"
    assert {"NW", "XO"} <= PUTS


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([MSH.replace("ORM^O01", "ADT^A01"), PID], "MSH-9: neither ORM"),
        ([MSH, PID], "no ORC and no OBR"),
        ([f"{MSH}||||||UTF-99", *ORM[1:]], "MSH-18"),
        (["MSH"], "MSH-9|no HL7 message"),
        (["MSH|"], "MSH-9|no HL7 message"),
        ([MSH, "PID|" + "x" * 70_000], "more than 65536 bytes"),
    ],
)
def test_a_message_that_is_no_order(lines: list[str], words: str) -> None:
    """Is told, and those beside it are read."""
    first, second = records(("\r".join(lines) + "\r\n" + "\r".join(ORM)).encode(), STATIONS)
    assert first.where == "message 1"
    assert any(word in str(first.faults[0]) for word in words.split("|"))
    assert second.items


@pytest.mark.parametrize(
    ("named", "encoding"), [("8859/1", "latin-1"), ("UNICODE UTF-8", "utf-8"), ("", "utf-8"), ("", "latin-1")]
)
def test_character_sets(named: str, encoding: str) -> None:
    """MSH-18; without it UTF-8, or else Latin 1."""
    found = one(f"{MSH}||||||{named}", PID.replace("MUELLER", "MÜLLER"), *ORM[2:], encoding=encoding).items
    assert found[0].text("PatientName").startswith("MÜLLER^HANS")


def test_frames_batches_and_ends_of_lines() -> None:
    """As interfaces write files."""
    message = "\r".join(ORM)
    framed = f"\x0b{message}\r\x1c\r\x0b{message}\r\x1c\r"
    batch = f"FHS|^~\\&\rBHS|^~\\&\r{message}\rBTS|1\rFTS|1\r"
    for text, count in (
        (framed, 2),
        (batch, 1),
        (message.replace("\r", "\n"), 1),
        (message.replace("\r", "\r\n"), 1),
    ):
        found = records(text.encode(), STATIONS)
        assert len(found) == count
        assert all(each.items for each in found)


def test_escapes_and_names_in_other_writing(caplog: pytest.LogCaptureFixture) -> None:
    """\\T\\ and its like; representations of a name are its groups. What is no escape is logged by nobody."""
    caplog.set_level(logging.DEBUG)
    pid = "PID|1||1||Yamada^Tarou^^^^^L^A~山田^太郎^^^^^L^I~O\\T\\X^Y^^^^^L^P||19700101|F"
    (found,) = one(MSH, pid, ORC, OBR, ZDS).items
    assert found.text("PatientName") == "Yamada^Tarou=山田^太郎=O&X^Y"
    one(MSH, pid.replace("Tarou", "\\QSECRET\\ \\XZZ\\"), ORC, OBR, ZDS)
    assert "SECRET" not in caplog.text


def test_what_is_too_long_is_cut_where_people_read_it() -> None:
    """Descriptions, not numbers."""
    (found,) = one(*[line.replace("CT HEAD", "CT HEAD " + "x" * 100) for line in ORM]).items
    assert len(found.text("RequestedProcedureDescription")) == 64
    assert "AccessionNumber" in str(
        one(*[line.replace("|A1|", "|" + "A" * 20 + "|") for line in ORM]).faults[0]
    )
