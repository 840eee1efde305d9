"""Which columns an answer has at each level, and how their values read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from archive.attributes import ATTRIBUTES, PATIENT_COLUMNS, Level
from dicomrelay.cli.archiving.dates import shown_date
from dicomrelay.text import shown, size

LEVELS: Final = (Level.PATIENT, Level.STUDY, Level.SERIES, Level.INSTANCE)
# What the index counts, by keyword; the standard has the first six (PS3.4 Section C.6).
COUNTS: Final = {
    Level.PATIENT: (
        "NumberOfPatientRelatedStudies",
        "NumberOfPatientRelatedSeries",
        "NumberOfPatientRelatedInstances",
    ),
    Level.STUDY: ("ModalitiesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"),
    Level.SERIES: ("NumberOfSeriesRelatedInstances",),
    Level.INSTANCE: (),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an answer.

    Attributes
    ----------
    keyword : str
        Its name in CSV and JSON.
    key : str
        Where a row of the index has it.
    heading, label : str
        What stands over it in a table, and before it in text.
    vr : str
        How it reads: dates, times, names.
    is_right : bool
        Numbers.
    may_shrink : bool
        Free text that may be cut where a terminal is narrow.
    """

    keyword: str
    key: str
    heading: str = ""
    label: str = ""
    vr: str = ""
    is_right: bool = False
    may_shrink: bool = False

    def text(self, row: Mapping[str, Any]) -> str:
        """Its value for people; "" where there is none."""
        value = row.get(self.key)
        if value is None or value == "":
            return ""
        if self.keyword == "Bytes":
            return size(int(value))
        return shown(shown_date(plain(value)) if self.vr == "DA" else plain(value, ", "))

    def value(self, row: Mapping[str, Any]) -> Any:
        """Its value for JSON."""
        value = row.get(self.key)
        return list(value) if isinstance(value, list | tuple) else value


def plain(value: Any, between: str = "\\") -> str:
    """A value as text; several are parted."""
    if value is None:
        return ""
    return between.join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _column(keyword: str, heading: str, label: str, **more: Any) -> Column:
    attribute = _BY_KEYWORD.get(keyword)
    key, vr = (attribute.column, attribute.vr) if attribute else (keyword, "")
    return Column(keyword, key, heading, label, vr, **more)


_BY_KEYWORD: Final = {attribute.keyword: attribute for attribute in ATTRIBUTES}
_NAME: Final = _column("PatientName", "PATIENT", "Patient", may_shrink=True)
_ID: Final = _column("PatientID", "ID", "Patient ID", may_shrink=True)
_DATE: Final = _column("StudyDate", "DATE", "Study date")
_STUDY: Final = _column("StudyInstanceUID", "STUDY INSTANCE UID", "Study UID")
_SERIES: Final = _column("SeriesInstanceUID", "SERIES INSTANCE UID", "Series UID")
_MODALITY: Final = _column("Modality", "MOD", "Modality")
_BYTES: Final = {
    Level.STUDY: Column("Bytes", "byte_count"),
    Level.SERIES: Column("Bytes", "byte_count"),
    Level.INSTANCE: Column("Bytes", "file_bytes"),
}
# What people see; the last one is the UID by which the row is called.
SHOWN: Final[Mapping[Level, Sequence[Column]]] = {
    Level.PATIENT: (
        _NAME,
        _ID,
        _column("NumberOfPatientRelatedStudies", "STUDIES", "Studies", is_right=True),
        _column("NumberOfPatientRelatedSeries", "SERIES", "Series", is_right=True),
        _column("NumberOfPatientRelatedInstances", "INST", "Instances", is_right=True),
    ),
    Level.STUDY: (
        _NAME,
        _ID,
        _DATE,
        _column("ModalitiesInStudy", "MOD", "Modalities"),
        _column("StudyDescription", "DESCRIPTION", "Description", may_shrink=True),
        _column("AccessionNumber", "ACCESSION", "Accession number", may_shrink=True),
        _column("NumberOfStudyRelatedSeries", "SERIES", "Series", is_right=True),
        _column("NumberOfStudyRelatedInstances", "INST", "Instances", is_right=True),
        _STUDY,
    ),
    Level.SERIES: (
        _NAME,
        _ID,
        _DATE,
        _column("SeriesNumber", "NO", "Series number", is_right=True),
        _MODALITY,
        _column("SeriesDescription", "DESCRIPTION", "Description", may_shrink=True),
        _column("BodyPartExamined", "BODY PART", "Body part", may_shrink=True),
        _column("NumberOfSeriesRelatedInstances", "INST", "Instances", is_right=True),
        _SERIES,
    ),
    Level.INSTANCE: (
        _NAME,
        _ID,
        _DATE,
        _MODALITY,
        _column("SeriesNumber", "SERIES", "Series number", is_right=True),
        _column("InstanceNumber", "NO", "Instance number", is_right=True),
        _column("NumberOfFrames", "FRAMES", "Frames", is_right=True),
        _column("Rows", "ROWS", "Rows", is_right=True),
        _column("Columns", "COLS", "Columns", is_right=True),
        _column("SOPInstanceUID", "SOP INSTANCE UID", "SOP Instance UID"),
    ),
}


def shown_columns(level: Level, *, above: bool) -> list[Column]:
    """The columns for people.

    Parameters
    ----------
    above : bool
        The UIDs of the levels above too: in text, where there is room for them.
    """
    columns = list(SHOWN[level])
    if above and level is Level.SERIES:
        columns.insert(-1, _STUDY)
    if above and level is Level.INSTANCE:
        columns[-1:-1] = [_STUDY, _SERIES]
    return columns


def all_columns(level: Level) -> list[Column]:
    """Every column that the index has at a level: what machines get."""
    found = [
        attribute
        for attribute in ATTRIBUTES
        if (
            attribute.column in PATIENT_COLUMNS
            if level is Level.PATIENT
            else LEVELS.index(attribute.level) <= LEVELS.index(level)
        )
    ]
    columns = [_column(attribute.keyword, "", "") for attribute in found]
    columns += [Column(keyword, keyword) for keyword in COUNTS[level]]
    return columns if level is Level.PATIENT else [*columns, _BYTES[level]]
