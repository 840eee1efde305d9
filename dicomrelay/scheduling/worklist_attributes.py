"""The attributes of the Modality Worklist Information Model (PS3.4 Table K.6-1), as data. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from pydicom.datadict import dictionary_VR, tag_for_keyword


class Need(Enum):
    """The type of a return key, as far as it asks something of an item."""

    VALUE = "1"
    EMPTY = "2"  # there, with or without a value; 2C too


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of an item."""

    keyword: str
    need: Need

    @property
    def tag(self) -> int:
        return tag_of(self.keyword)

    @property
    def vr(self) -> str:
        return str(dictionary_VR(self.tag))


def tag_of(keyword: str) -> int:
    """The tag of a keyword that the dictionary has."""
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword  # noqa: S101 - tables of ours
    return tag


def json_tag(keyword: str) -> str:
    """The same as the DICOM JSON model writes it."""
    return f"{tag_of(keyword):08X}"


def _of(need: Need, *keywords: str) -> tuple[Attribute, ...]:
    return tuple(Attribute(keyword, need) for keyword in keywords)


STEPS: Final = "ScheduledProcedureStepSequence"
STEP_ATTRIBUTES: Final = (
    *_of(
        Need.VALUE,
        "ScheduledStationAETitle",
        "ScheduledProcedureStepStartDate",
        "ScheduledProcedureStepStartTime",
        "Modality",
        "ScheduledProcedureStepID",
    ),
    *_of(
        Need.EMPTY,
        "ScheduledPerformingPhysicianName",
        "ScheduledStationName",
        "ScheduledProcedureStepLocation",
        "PreMedication",
        "RequestedContrastAgent",
    ),
)
# Of the requested procedure, the imaging service request, the visit and the patient.
OTHER_ATTRIBUTES: Final = (
    *_of(Need.VALUE, "PatientName", "PatientID", "StudyInstanceUID", "RequestedProcedureID"),
    *_of(
        Need.EMPTY,
        "ReferencedStudySequence",
        "RequestedProcedurePriority",
        "PatientTransportArrangements",
        "AccessionNumber",
        "RequestingPhysician",
        "ReferringPhysicianName",
        "AdmissionID",
        "CurrentPatientLocation",
        "ReferencedPatientSequence",
        "PatientBirthDate",
        "PatientSex",
        "PatientWeight",
        "ConfidentialityConstraintOnPatientDataDescription",
        "PatientState",
        "PregnancyStatus",
        "MedicalAlerts",
        "Allergies",
        "SpecialNeeds",
    ),
)
# Words, or codes, or both (type 1C).
STEP_PAIR: Final = ("ScheduledProcedureStepDescription", "ScheduledProtocolCodeSequence")
PROCEDURE_PAIR: Final = ("RequestedProcedureDescription", "RequestedProcedureCodeSequence")
# What files that have no sequences, and people, name without the sequence: an attribute of the step.
OF_THE_STEP: Final = frozenset(
    {*(each.keyword for each in STEP_ATTRIBUTES), *STEP_PAIR, "ScheduledProcedureStepStatus"}
)
