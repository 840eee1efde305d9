"""What a performed procedure step must say, and when: PS3.4 Table F.7.2-1 as data.

Attributes that the table has as type 3 throughout are not here: they may come, and are kept. Those that it has as type 3 in
N-CREATE and does not allow in N-SET are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydicom.datadict import tag_for_keyword

# Types of PS3.5 Section 7.4 for the user of the service.
REQUIRED: Final = 1
MAY_BE_EMPTY: Final = 2
OPTIONAL: Final = 3
NEVER: Final = 0


@dataclass(frozen=True, slots=True)
class Row:
    """An attribute of the table.

    Attributes
    ----------
    keyword : str
    create, change, final : int
        Its type in N-CREATE, in N-SET (`NEVER`: not allowed), and in a step that is final.
    items : tuple of Row
        What the items of a sequence must have, whenever it has any; only `create` counts there.
    is_code : bool
        Its items are coded entries: a code and its meaning (Tables F.7.2-1b and F.7.2-1d).
    """

    keyword: str
    create: int
    change: int = NEVER
    final: int = MAY_BE_EMPTY
    items: tuple[Row, ...] = ()
    is_code: bool = False

    @property
    def tag(self) -> int:
        """Of the data dictionary."""
        tag = tag_for_keyword(self.keyword)
        assert tag is not None  # noqa: S101 - a table of ours
        return tag


def _only_created(*keywords: str) -> tuple[Row, ...]:
    return tuple(Row(keyword, OPTIONAL, final=OPTIONAL) for keyword in keywords)


CODE_VALUES: Final = ("CodeValue", "LongCodeValue", "URNCodeValue")
_REFERENCE: Final = (Row("ReferencedSOPClassUID", REQUIRED), Row("ReferencedSOPInstanceUID", REQUIRED))

SCHEDULED_STEPS: Final = Row(
    "ScheduledStepAttributesSequence",
    REQUIRED,
    final=REQUIRED,
    items=(
        Row("StudyInstanceUID", REQUIRED),
        Row("ReferencedStudySequence", MAY_BE_EMPTY, items=_REFERENCE),
        Row("AccessionNumber", MAY_BE_EMPTY),
        Row("RequestedProcedureID", MAY_BE_EMPTY),
        Row("RequestedProcedureDescription", MAY_BE_EMPTY),
        Row("ScheduledProcedureStepID", MAY_BE_EMPTY),
        Row("ScheduledProcedureStepDescription", MAY_BE_EMPTY),
        Row("ScheduledProtocolCodeSequence", MAY_BE_EMPTY, is_code=True),
    ),
)
PERFORMED_SERIES: Final = Row(
    "PerformedSeriesSequence",
    MAY_BE_EMPTY,
    OPTIONAL,
    REQUIRED,
    items=(
        Row("PerformingPhysicianName", MAY_BE_EMPTY),
        Row("ProtocolName", REQUIRED),
        Row("OperatorsName", MAY_BE_EMPTY),
        Row("SeriesInstanceUID", REQUIRED),
        Row("SeriesDescription", MAY_BE_EMPTY),
        Row("RetrieveAETitle", MAY_BE_EMPTY),
        Row("ReferencedImageSequence", MAY_BE_EMPTY, items=_REFERENCE),
        Row("ReferencedNonImageCompositeSOPInstanceSequence", MAY_BE_EMPTY, items=_REFERENCE),
    ),
)
STATE: Final = Row("PerformedProcedureStepStatus", REQUIRED, OPTIONAL, REQUIRED)

TABLE: Final = (
    # Performed procedure step relationship
    SCHEDULED_STEPS,
    Row("PatientName", MAY_BE_EMPTY),
    Row("PatientID", MAY_BE_EMPTY),
    Row("PatientBirthDate", MAY_BE_EMPTY),
    Row("PatientSex", MAY_BE_EMPTY),
    Row("ReferencedPatientSequence", MAY_BE_EMPTY, items=_REFERENCE),
    *_only_created(
        "IssuerOfPatientID",
        "IssuerOfPatientIDQualifiersSequence",
        "OtherPatientIDsSequence",
        "AdmissionID",
        "IssuerOfAdmissionIDSequence",
        "ServiceEpisodeID",
        "ServiceEpisodeDescription",
        "IssuerOfServiceEpisodeIDSequence",
    ),
    # Performed procedure step information
    Row("PerformedProcedureStepID", REQUIRED, final=REQUIRED),
    Row("PerformedStationAETitle", REQUIRED, final=REQUIRED),
    Row("PerformedStationName", MAY_BE_EMPTY),
    Row("PerformedLocation", MAY_BE_EMPTY),
    Row("PerformedProcedureStepStartDate", REQUIRED, final=REQUIRED),
    Row("PerformedProcedureStepStartTime", REQUIRED, final=REQUIRED),
    STATE,
    Row("PerformedProcedureStepDescription", MAY_BE_EMPTY, OPTIONAL),
    Row("PerformedProcedureTypeDescription", MAY_BE_EMPTY, OPTIONAL),
    Row("ProcedureCodeSequence", MAY_BE_EMPTY, OPTIONAL, is_code=True),
    Row(
        "PerformedProcedureStepDiscontinuationReasonCodeSequence", OPTIONAL, OPTIONAL, OPTIONAL, is_code=True
    ),
    Row("PerformedProcedureStepEndDate", MAY_BE_EMPTY, OPTIONAL, REQUIRED),
    Row("PerformedProcedureStepEndTime", MAY_BE_EMPTY, OPTIONAL, REQUIRED),
    # Image acquisition results
    Row("Modality", REQUIRED, final=REQUIRED),
    Row("StudyID", MAY_BE_EMPTY),
    Row("PerformedProtocolCodeSequence", MAY_BE_EMPTY, OPTIONAL, is_code=True),
    PERFORMED_SERIES,
)
BY_TAG: Final = {row.tag: row for row in TABLE}
