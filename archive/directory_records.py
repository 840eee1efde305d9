"""Records of a DICOMDIR from the data sets of instances (PS3.3 Section F.5). pydicom reads and writes the values."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.tag import BaseTag

from archive.attributes import UNREADABLE
from archive.directory_keys import AT_ROOT, KEYS, MADE_UP, PATIENT, PRIVATE, SERIES, STUDY, record_type
from archive.outline import OutlinedInstance
from archive.tag_reading import reading_tags
from archive.values import StoredInstance
from dicomrelay.dicom.uids import derived_uid
from dicomrelay.dimse.identifier_buffer import UTF_8

_LAST_TAG: Final = 0x7FE00000
_DEFERRED_BYTES: Final = 65_536
# A report may carry more content than a directory should.
_LARGEST_RECORD: Final = 1024 * 1024
_TAGS: Final[list[BaseTag | int]] = sorted(
    {
        tag
        for keys in KEYS.values()
        for keyword in (*keys.required, *keys.empty, *keys.known)
        if (tag := tag_for_keyword(keyword)) is not None
    }
    | {0x00080005}
)


@dataclass(frozen=True, slots=True)
class Record:
    """A record: its place below the last one of the level above, its elements, and how many values were made up.

    `is_alone`: it has no patient, and stands in the root directory entity.
    """

    level: int
    elements: bytes
    made_up: int
    is_alone: bool = False


@dataclass(slots=True)
class Records:
    """Makes the records of instances that come depth first: a patient, study or series when it is the first of it."""

    _patient: int = 0
    _study: int = 0
    _series: int = 0

    def of(
        self, instance: OutlinedInstance, source: Path, offset: int, file_id: Sequence[str]
    ) -> Iterator[Record]:
        """The records that an instance adds, from the top.

        Parameters
        ----------
        source : Path
            A file of it; the data set begins at `offset`, in bytes.
        file_id : sequence of str
            Components of its path in the file-set.
        """
        data_set = read_header(source, offset, instance.stored)
        series = instance.series
        study, patient = series.study, series.study.patient
        kind = record_type(instance.stored.sop_class_uid, has_image="Rows" in data_set)
        leaf = _leaf(instance, data_set, kind, file_id)
        if leaf.is_alone:
            yield leaf
            return
        if patient.number != self._patient:
            self._patient, self._study, self._series = patient.number, 0, 0
            yield _upper(0, PATIENT, data_set, patient.number)
        if study.number != self._study:
            self._study, self._series = study.number, 0
            yield _upper(1, STUDY, data_set, study.number)
        if series.number != self._series:
            self._series = series.number
            yield _upper(2, SERIES, data_set, series.number)
        yield leaf


def read_header(source: Path, offset: int, stored: StoredInstance) -> Dataset:
    """What the records need of a data set, with the UIDs that it is filed under; only these, when it cannot be read."""
    data_set = Dataset()
    try:
        with reading_tags(
            source,
            offset,
            stored.transfer_syntax_uid,
            end=_LAST_TAG,
            tags=_TAGS,
            defer_bytes=_DEFERRED_BYTES,
        ) as found:
            _settle(found)
        data_set = found
    except UNREADABLE:
        pass  # the records say what the index knows
    with config.disable_value_validation():
        data_set.StudyInstanceUID = stored.study_instance_uid
        data_set.SeriesInstanceUID = stored.series_instance_uid
        data_set.PrivateRecordUID = derived_uid("private record", stored.sop_class_uid)
    return data_set


def _settle(data_set: Dataset) -> None:
    """Decode every value now, and leave out those that cannot be."""
    for tag in [*data_set.keys()]:
        try:
            _ = data_set[tag].value
        except UNREADABLE:
            del data_set[tag]
    data_set.decode()


def _leaf(instance: OutlinedInstance, data_set: Dataset, kind: str, file_id: Sequence[str]) -> Record:
    stored = instance.stored
    reference = Dataset()
    with config.disable_value_validation():
        reference.ReferencedFileID = list(file_id)
        reference.ReferencedSOPClassUIDInFile = stored.sop_class_uid
        reference.ReferencedSOPInstanceUIDInFile = stored.sop_instance_uid
        reference.ReferencedTransferSyntaxUIDInFile = stored.transfer_syntax_uid
    level = 0 if kind in AT_ROOT else 3
    try:
        record = _record(level, kind, data_set, instance.number, reference)
        if len(record.elements) <= _LARGEST_RECORD:
            return record
    except UNREADABLE:
        pass
    return _record(3, PRIVATE, data_set, instance.number, reference)


def _upper(level: int, kind: str, data_set: Dataset, number: int) -> Record:
    """The record of a patient, study or series; of a data set with values that cannot be written, one with its UIDs."""
    try:
        return _record(level, kind, data_set, number)
    except UNREADABLE:
        bare = Dataset()
        bare.StudyInstanceUID, bare.SeriesInstanceUID = data_set.StudyInstanceUID, data_set.SeriesInstanceUID
        return _record(level, kind, bare, number)


def _record(
    level: int, kind: str, data_set: Dataset, number: int, reference: Dataset | None = None
) -> Record:
    """Raises KeyError when the data set lacks what cannot be made up, and what pydicom raises."""
    record = Dataset()
    if reference is not None:
        record.update(reference)
    record.DirectoryRecordType = kind
    keys, made_up = KEYS[kind], 0
    with config.disable_value_validation():
        for keyword in keys.required:
            value = _value(data_set, keyword)
            if value is None:
                value = _invented(kind, keyword, number)
                made_up += 1
            setattr(record, keyword, value)
        for keyword in keys.empty:
            value = _value(data_set, keyword)
            is_sequence = dictionary_VR(keyword) == "SQ"
            setattr(record, keyword, [] if value is None and is_sequence else value)
        for keyword in keys.known:
            value = _value(data_set, keyword)
            if value is not None:
                setattr(record, keyword, value)
    elements = _encoded(record, data_set.get("SpecificCharacterSet"))
    return Record(level, elements, made_up, is_alone=kind in AT_ROOT)


def _value(data_set: Dataset, keyword: str) -> Any:
    """A value for a record; None where there is none."""
    try:
        value = data_set.get(keyword)
    except UNREADABLE:
        return None
    if keyword == "ContentSequence" and value is not None:
        # Only what modifies the title (PS3.3 Table F.5-25).
        value = [item for item in value if item.get("RelationshipType") == "HAS CONCEPT MOD"]
    if value is None or (not isinstance(value, int | float) and not value):
        return None
    return value


def _invented(kind: str, keyword: str, number: int) -> str | int:
    """A value for what must have one. Raises KeyError when it would say something about a patient."""
    if keyword in {"InstanceNumber", "SeriesNumber"}:
        return number
    if keyword == "StudyID":
        return str(number)
    if keyword == "PatientID":
        return f"NO_PATIENT_ID_{number}"
    if kind == "SPECTROSCOPY" and keyword == "NumberOfFrames":
        return 1
    ending = {"DA": "DATE", "TM": "TIME"}.get(dictionary_VR(keyword), keyword)
    return MADE_UP[ending]


def _encoded(record: Dataset, charset: Any) -> bytes:
    """A record in explicit VR little endian: in ASCII, else in the character set of its data set, else in UTF-8."""
    for candidate in (None, charset, UTF_8):
        if candidate:
            record.SpecificCharacterSet = candidate
        buffer = DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = True, False
        try:
            with config.disable_value_validation(), warnings.catch_warnings():
                warnings.simplefilter("error")  # pydicom would write question marks
                write_dataset(buffer, record, parent_encoding="ascii")
        except (UserWarning, UnicodeError, LookupError):
            continue
        return bytes(buffer.getvalue())
    raise ValueError("text that no character set holds")
