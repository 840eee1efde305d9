"""What a search asks that the index has not: looked up in stored instances, as C-FIND does (docs/design/streamer.md#search).

Of a series one instance speaks for all. Pixel data, overlays and what is private are never looked up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from archive import Archive
from archive.attributes import Level
from archive.heads import read_head
from archive.metadata import head_metadata
from archive.values import Selection
from dicomrelay.dicom.wildcards import Wildcards
from dicomrelay.errors import RelayError
from streamer.answers import HttpError
from streamer.dicom_json import keyword_of

# So many stored instances may one search look into.
MOST_FILES: Final = 1000
REQUEST_ATTRIBUTES: Final = "RequestAttributesSequence"
# PS3.18 Table 10.6.1-5: what a series is searched by inside of that sequence.
_MATCHED: Final = frozenset({"ScheduledProcedureStepID", "RequestedProcedureID"})
_OF_SERIES: Final = frozenset(
    {
        "RequestAttributesSequence",
        "ProtocolName",
        "OperatorsName",
        "PerformingPhysicianName",
        "InstitutionName",
        "InstitutionAddress",
        "InstitutionalDepartmentName",
        "ManufacturerModelName",
        "DeviceSerialNumber",
        "SoftwareVersions",
        "PatientPosition",
        "PerformedProcedureStepID",
        "PerformedProcedureStepDescription",
        "PerformedProtocolCodeSequence",
        "ReferencedPerformedProcedureStepSequence",
        "SeriesDescriptionCodeSequence",
        "AnatomicRegionSequence",
        "FrameOfReferenceUID",
    }
)
_FIRST_BULK_GROUP: Final = 0x5000
_ROW_COLUMNS: Final = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")


def request_key(name: str, level: Level) -> str:
    """The keyword inside of the Request Attributes Sequence that a parameter matches by; "" when it is none of them.

    Parameters
    ----------
    name : str
        Keywords or tags, joined by a dot (PS3.18 Section 8.3.4.1).
    """
    sequence, dot, inner = name.partition(".")
    is_one = dot and keyword_of(sequence) == REQUEST_ATTRIBUTES and keyword_of(inner) in _MATCHED
    return keyword_of(inner) if is_one and level in {Level.SERIES, Level.INSTANCE} else ""


def looked_up(name: str, level: Level) -> int:
    """The tag of an attribute that is looked up for who wants it answered at a level; 0 when it is not."""
    tag = tag_for_keyword(keyword_of(name)) or 0
    if level is Level.SERIES:
        return tag if keyword_of(name) in _OF_SERIES else 0
    return tag if level is Level.INSTANCE and 0x0008_0000 <= tag < _FIRST_BULK_GROUP << 16 else 0


class Beside:
    """Looks into the instances of one search, at most `MOST_FILES`."""

    def __init__(self, archive: Archive, matches: Mapping[str, str], tags: Collection[int]) -> None:
        self._archive = archive
        self._patterns = {keyword: Wildcards(value) for keyword, value in matches.items() if value.strip("*")}
        sequence = tag_for_keyword(REQUEST_ATTRIBUTES) or 0
        self._answered = frozenset(tags) | ({sequence} if matches else frozenset())
        self._left = MOST_FILES

    def fitting(
        self, rows: Iterator[Mapping[str, Any]]
    ) -> Iterator[tuple[Mapping[str, Any], dict[str, Any]]]:
        """The rows that match, with what was looked up of each as DICOM JSON.

        Raises
        ------
        HttpError
            413: too many instances would have to be looked into.
        """
        for row in rows:
            head = self._head(row)
            if self._fits(head):
                yield row, {} if head is None else head_metadata(head, self._answered)

    def _fits(self, head: Dataset | None) -> bool:
        if not self._patterns:
            return True
        items = head.get(REQUEST_ATTRIBUTES) if head is not None else None
        return any(
            all(
                each.matches(str(item.get(keyword) or "").strip()) for keyword, each in self._patterns.items()
            )
            for item in items or ()
        )

    def _head(self, row: Mapping[str, Any]) -> Dataset | None:
        """Of an instance of what the row is about; None when there is none that can be read."""
        if not self._left:
            raise HttpError(
                413,
                f"more than {MOST_FILES} stored instances would have to be looked into: narrow the search",
            )
        self._left -= 1
        study, series, instance = ((row[column],) if row.get(column) else () for column in _ROW_COLUMNS)
        selection = Selection(study_uids=study, series_uids=series, sop_instance_uids=instance)
        stored = next(iter(self._archive.select(selection)), None)
        if stored is None:
            return None
        try:
            with self._archive.reading(stored) as path:
                return read_head(path, stored, self._answered)
        except (
            OSError,
            RelayError,
        ):  # gone since, or a disk that does not answer: it has none of the attributes
            return None
