"""The attributes that the index knows, and how they are read from a stored instance.

One table drives the columns, the reading, the matching and the answers: an attribute is added by a line here and a
migration. Reading is tolerant: a file that pydicom cannot read has no attributes, and is archived all the same.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from archive.date_values import in_todays_form
from archive.quick_attributes import quick_values
from archive.tag_reading import reading_tags
from dicomrelay.dicom.transfer_syntaxes import TransferSyntax, transfer_syntax

Value = str | int | None


class Level(Enum):
    """The levels of the query information model (PS3.4 Section C.6)."""

    PATIENT = "patients"
    STUDY = "studies"
    SERIES = "series"
    INSTANCE = "instances"


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of the index.

    Attributes
    ----------
    keyword, tag, vr
        As in PS3.6.
    level : Level
        Where it is kept: patient attributes as they stand in the study.
    column : str
        Its column. Others may be made from it: `derived_columns`.
    """

    keyword: str
    tag: int
    vr: str
    level: Level
    column: str

    @property
    def is_number(self) -> bool:
        """Whether the column holds integers."""
        return self.vr in {"IS", "US", "UL"}

    @property
    def is_text(self) -> bool:
        """Whether it is matched without regard to case where the pattern has wildcards."""
        return self.vr in {"PN", "LO", "SH", "CS"}

    @property
    def derived_columns(self) -> tuple[str, ...]:
        """What `archive.index.keys` makes from it: `_key`, folded, of text; `_words`, for fuzzy matching, of a person name."""
        if self.vr == "PN":
            return f"{self.column}_key", f"{self.column}_words"
        return (f"{self.column}_key",) if self.is_text else ()


_STUDY = (
    ("PatientName", 0x00100010, "PN", "patient_name"),
    ("PatientID", 0x00100020, "LO", "patient_id"),
    ("IssuerOfPatientID", 0x00100021, "LO", "issuer_of_patient_id"),
    ("PatientBirthDate", 0x00100030, "DA", "patient_birth_date"),
    ("PatientSex", 0x00100040, "CS", "patient_sex"),
    ("StudyDate", 0x00080020, "DA", "study_date"),
    ("StudyTime", 0x00080030, "TM", "study_time"),
    ("AccessionNumber", 0x00080050, "SH", "accession_number"),
    ("ReferringPhysicianName", 0x00080090, "PN", "referring_physician_name"),
    ("StudyDescription", 0x00081030, "LO", "study_description"),
    ("StudyInstanceUID", 0x0020000D, "UI", "study_instance_uid"),
    ("StudyID", 0x00200010, "SH", "study_id"),
)
_SERIES = (
    ("Modality", 0x00080060, "CS", "modality"),
    ("SeriesDate", 0x00080021, "DA", "series_date"),
    ("SeriesTime", 0x00080031, "TM", "series_time"),
    ("Manufacturer", 0x00080070, "LO", "manufacturer"),
    ("StationName", 0x00081010, "SH", "station_name"),
    ("SeriesDescription", 0x0008103E, "LO", "series_description"),
    ("BodyPartExamined", 0x00180015, "CS", "body_part_examined"),
    ("SeriesInstanceUID", 0x0020000E, "UI", "series_instance_uid"),
    ("SeriesNumber", 0x00200011, "IS", "series_number"),
    ("Laterality", 0x00200060, "CS", "laterality"),
    ("PerformedProcedureStepStartDate", 0x00400244, "DA", "performed_procedure_step_start_date"),
    ("PerformedProcedureStepStartTime", 0x00400245, "TM", "performed_procedure_step_start_time"),
)
_INSTANCE = (
    ("SOPClassUID", 0x00080016, "UI", "sop_class_uid"),
    ("SOPInstanceUID", 0x00080018, "UI", "sop_instance_uid"),
    ("ContentDate", 0x00080023, "DA", "content_date"),
    ("ContentTime", 0x00080033, "TM", "content_time"),
    ("AvailableTransferSyntaxUID", 0x00083002, "UI", "transfer_syntax_uid"),
    ("InstanceNumber", 0x00200013, "IS", "instance_number"),
    ("NumberOfFrames", 0x00280008, "IS", "number_of_frames"),
    ("Rows", 0x00280010, "US", "rows"),
    ("Columns", 0x00280011, "US", "columns"),
    ("BitsAllocated", 0x00280100, "US", "bits_allocated"),
)
ATTRIBUTES: Final = tuple(
    Attribute(keyword, tag, vr, level, column)
    for level, rows in ((Level.STUDY, _STUDY), (Level.SERIES, _SERIES), (Level.INSTANCE, _INSTANCE))
    for keyword, tag, vr, column in rows
)
# Of those of the study: what is the patient's.
PATIENT_COLUMNS: Final = frozenset(
    {"patient_name", "patient_id", "issuer_of_patient_id", "patient_birth_date", "patient_sex"}
)
# Facts of the request: what the data set says about them is not asked again.
_GIVEN: Final = frozenset(
    {"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "AvailableTransferSyntaxUID"}
)
_READ: Final = tuple(attribute for attribute in ATTRIBUTES if attribute.keyword not in _GIVEN)
_TAGS: Final[list[BaseTag | int]] = [attribute.tag for attribute in _READ]
_LAST_TAG: Final = max(attribute.tag for attribute in _READ)
_VRS: Final = {attribute.tag: attribute.vr for attribute in _READ}
# Enough of most files for all that stands before their pixel data.
_QUICK_HEAD_BYTES: Final = 32_768
_LONGEST_CHARACTERS: Final = 1024
_LARGEST_NUMBER: Final = 2**31 - 1
# What pydicom raises on bytes that are no data set.
UNREADABLE: Final = (
    OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, NotImplementedError, RecursionError,
    ArithmeticError, EOFError, LookupError, AssertionError, MemoryError, zlib.error, struct.error, InvalidDicomError,
    BytesLengthException,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class InstanceAttributes:
    """What was read from one instance; `values` by column, `problem` says why there is nothing."""

    values: Mapping[str, Value] = field(default_factory=dict)
    problem: str = ""

    def text(self, column: str) -> str:
        """A value as text; empty when missing."""
        value = self.values.get(column)
        return "" if value is None else str(value)


def read_attributes(path: Path, *, data_set_offset: int, transfer_syntax_uid: str) -> InstanceAttributes:
    """The attributes of the data set that begins at `data_set_offset`, in bytes, of a file.

    Text is decoded by the Specific Character Set; dates and times of ACR-NEMA are read in today's form.
    Nothing behind the last attribute wanted is read, pixel data never.
    """
    syntax = transfer_syntax(transfer_syntax_uid)
    try:
        quick = _quick_attributes(path, data_set_offset, syntax)
        if quick is not None:
            return quick
        with reading_tags(
            path,
            data_set_offset,
            transfer_syntax_uid,
            end=_LAST_TAG + 1,
            tags=_TAGS,
            defer_bytes=65_536,
        ) as data_set:
            values = {attribute.column: _value(data_set, attribute) for attribute in _READ}
    except UNREADABLE as error:
        # The message of pydicom may quote a value: only its kind is kept.
        return InstanceAttributes(problem=f"the data set cannot be read ({type(error).__name__})")
    return InstanceAttributes(values)


def _quick_attributes(path: Path, data_set_offset: int, syntax: TransferSyntax) -> InstanceAttributes | None:
    """The same of a plain data set, without pydicom; None where it must look. Raises OSError."""
    if syntax.is_deflated or not syntax.is_little_endian:
        return None
    with path.open("rb", buffering=0) as file:
        file.seek(data_set_offset)
        head = file.read(_QUICK_HEAD_BYTES)
    is_whole = len(head) < _QUICK_HEAD_BYTES
    found = quick_values(head, _VRS, implicit=syntax.is_implicit_vr, is_whole=is_whole)
    if found is None:
        return None
    values: dict[str, Value] = {}
    for attribute in _READ:
        value = found.get(attribute.tag)
        if isinstance(value, str):
            value = in_todays_form(attribute.vr, clean(value)) or None
        elif value is not None and abs(value) > _LARGEST_NUMBER:
            value = None
        values[attribute.column] = value
    return InstanceAttributes(values)


def _value(data_set: Dataset, attribute: Attribute) -> Value:
    try:
        raw: Any = data_set.get(attribute.keyword)
        if isinstance(raw, MultiValue | list):
            raw = raw[0] if raw else None
        if raw is None or raw == "":
            return None
        if attribute.is_number:
            number = int(raw)
            return number if abs(number) <= _LARGEST_NUMBER else None
        return in_todays_form(attribute.vr, clean(str(raw))) or None
    except UNREADABLE:
        return None


def clean(text: str) -> str:
    """Text that every database takes: no NUL, no unpaired surrogate, no padding, at most 1024 characters."""
    encodable = text.replace("\0", "").encode("utf-8", "replace").decode()
    return encodable.strip(" ")[:_LONGEST_CHARACTERS]
