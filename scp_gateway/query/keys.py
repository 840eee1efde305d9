"""What a C-FIND asks: its identifier, the model and what was agreed, as a query of the index, or why it is none. Pure.

PS3.4 Sections C.2.2 and C.4.1. What is said about a wrong key names the attribute and never its value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from dicomrelay.dicom.elements import tag_name
from dicomrelay.dicom.query_models import UNIQUE_KEYS, Level, QueryModel
from dicomrelay.dicom.query_values import Invalid, normalised, text_of
from dicomrelay.dicom.status import Status
from dicomrelay.dicom.wildcards import Wildcards
from dicomrelay.dimse.identifier_bounds import foreign_vr, not_its_vr
from scp_gateway.archive_port import SOP_CLASSES, IndexedAttribute
from scp_gateway.query.beside import check, is_beside
from scp_gateway.query.character_sets import CharacterSet
from scp_gateway.query.matching import (
    Filter,
    date_time_filter,
    has_wildcards,
    name_filter,
    name_pattern,
    text_filter,
)
from scp_gateway.query.question import Agreed, FindQuery, Refusal

_CHARACTER_SET: Final = 0x00080005
QUERY_RETRIEVE_LEVEL: Final = 0x00080052
RETRIEVE_AE_TITLE: Final = 0x00080054
INSTANCE_AVAILABILITY: Final = 0x00080056
# Said of the request, not asked for: character set, level, view, time zone (PS3.4 Section C.4.1.1.3.1).
_ABOUT: Final = frozenset({_CHARACTER_SET, QUERY_RETRIEVE_LEVEL, 0x00080053, 0x00080201})
_MODALITIES: Final = "ModalitiesInStudy"
_ONLINE: Final = "ONLINE"
# What is counted, and what is gathered, at one level alone (PS3.4 Section C.3.4).
_GATHERED: Final = {
    each.keyword: each
    for each in (
        IndexedAttribute("NumberOfPatientRelatedStudies", 0x00201200, "IS", Level.PATIENT),
        IndexedAttribute("NumberOfPatientRelatedSeries", 0x00201202, "IS", Level.PATIENT),
        IndexedAttribute("NumberOfPatientRelatedInstances", 0x00201204, "IS", Level.PATIENT),
        IndexedAttribute("NumberOfStudyRelatedSeries", 0x00201206, "IS", Level.STUDY),
        IndexedAttribute("NumberOfStudyRelatedInstances", 0x00201208, "IS", Level.STUDY),
        IndexedAttribute("NumberOfSeriesRelatedInstances", 0x00201209, "IS", Level.SERIES),
        IndexedAttribute(_MODALITIES, 0x00080061, "CS", Level.STUDY),
        IndexedAttribute(SOP_CLASSES, 0x00080062, "UI", Level.STUDY),
    )
}
# Date and time that make a moment together, when that was agreed.
_MOMENTS: Final = (
    ("StudyDate", "StudyTime"),
    ("SeriesDate", "SeriesTime"),
    ("ContentDate", "ContentTime"),
    ("PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime"),
)
_DEPTH: Final = {level: number for number, level in enumerate(Level)}


class _Refused(Exception):
    def __init__(self, status: int, comment: str, *offending: int) -> None:
        super().__init__(comment)
        self.refusal = Refusal(status, comment, offending)


@dataclass(slots=True)
class _Draft:
    """A query in the making."""

    level: Level
    agreed: Agreed
    matches: dict[str, str] = field(default_factory=dict)
    filters: list[Filter] = field(default_factory=list)
    wanted: dict[str, IndexedAttribute] = field(default_factory=dict)
    constants: dict[int, str] = field(default_factory=dict)
    leaves_out_keys: bool = False
    beside: list[DataElement] = field(default_factory=list)


def read_query(
    identifier: Dataset,
    model: QueryModel,
    agreed: Agreed,
    *,
    attributes: Mapping[str, IndexedAttribute],
    ae_title: str,
) -> FindQuery | Refusal:
    """What an identifier asks.

    Parameters
    ----------
    attributes : mapping
        What the index holds, by keyword.
    ae_title : str
        Ours: Retrieve AE Title of all answers.
    """
    try:
        _require_vrs(identifier)
        level = _level(identifier, model)
        if not agreed.relational:
            _require_unique_keys(identifier, model, level)
        draft = _Draft(level, agreed)
        draft.constants = {QUERY_RETRIEVE_LEVEL: level.value, RETRIEVE_AE_TITLE: ae_title}
        for above in model.levels_down_to(level):
            draft.wanted[UNIQUE_KEYS[above]] = attributes[UNIQUE_KEYS[above]]
        for element in identifier:
            if int(element.tag) not in _ABOUT:
                _read(element, draft, attributes, ae_title)
        _join_moments(draft)
    except _Refused as refused:
        return refused.refusal
    return FindQuery(
        level=level,
        matches=draft.matches,
        filters=tuple(draft.filters),
        wanted=tuple(draft.wanted.values()),
        constants=draft.constants,
        fuzzy_names=agreed.fuzzy_names,
        leaves_out_keys=draft.leaves_out_keys,
        beside=tuple(draft.beside),
        character_set=CharacterSet.of(_value(identifier, _CHARACTER_SET).split("\\")),
    )


def _require_vrs(identifier: Dataset) -> None:
    """What has another VR than its attribute has another meaning, and may be anything."""
    if (tag := foreign_vr(identifier)) is not None:
        raise _Refused(_MISMATCH, not_its_vr(tag), tag)


def _level(identifier: Dataset, model: QueryModel) -> Level:
    text = _value(identifier, QUERY_RETRIEVE_LEVEL)
    name = "Query/Retrieve Level (0008,0052)"
    if not text:
        raise _Refused(_MISMATCH, f"{name} is missing", QUERY_RETRIEVE_LEVEL)
    found = next((level for level in Level if level.value == text), None)
    if found is None:
        raise _Refused(_MISMATCH, f"{name} is none of {', '.join(model.levels)}", QUERY_RETRIEVE_LEVEL)
    if found not in model.levels:
        raise _Refused(_MISMATCH, f"the model has no level {found.value}", QUERY_RETRIEVE_LEVEL)
    return found


def _require_unique_keys(identifier: Dataset, model: QueryModel, level: Level) -> None:
    """Each level above has one value of its unique key (PS3.4 Section C.4.1.2.1)."""
    for above in model.levels_down_to(level)[:-1]:
        keyword = UNIQUE_KEYS[above]
        tag = _UNIQUE_TAGS[keyword]
        value = _value(identifier, tag)
        if not value or "\\" in value or has_wildcards(value):
            raise _Refused(_MISMATCH, f"{keyword} {tag_name(tag)}: one value is needed at this level", tag)


def _read(
    element: DataElement, draft: _Draft, attributes: Mapping[str, IndexedAttribute], ae_title: str
) -> None:
    """Take one key of the identifier."""
    tag = int(element.tag)
    if tag in (RETRIEVE_AE_TITLE, INSTANCE_AVAILABILITY):
        value = draft.constants[tag] = ae_title if tag == RETRIEVE_AE_TITLE else _ONLINE
        asked = text_of(element)
        if asked and not any(Wildcards(pattern).matches(value) for pattern in asked.split("\\")):
            draft.filters.append(lambda _row: False)
        return
    keyword = keyword_for_tag(tag)
    gathered = _GATHERED.get(keyword)
    attribute = gathered or attributes.get(keyword)
    if (
        attribute is None
        or attribute.tag != tag
        or _DEPTH[attribute.level] > _DEPTH[draft.level]
        or (gathered is not None and gathered.level is not draft.level)
    ):
        _read_beside(element, draft)
        return
    draft.wanted[keyword] = attribute
    value = text_of(element)
    if value.strip("*"):
        _match(attribute, value, draft)


def _read_beside(element: DataElement, draft: _Draft) -> None:
    """A key that the index has not."""
    tag = int(element.tag)
    if not is_beside(tag, draft.level):
        draft.leaves_out_keys = True
        return
    try:
        check(element)
    except Invalid as invalid:
        raise _Refused(_MISMATCH, f"{keyword_for_tag(tag)} {tag_name(tag)}: {invalid}", tag) from None
    draft.beside.append(element)


def _match(attribute: IndexedAttribute, value: str, draft: _Draft) -> None:
    """A key that has a value."""
    keyword, vr = attribute.keyword, attribute.vr
    if keyword in _GATHERED and vr == "IS":
        draft.leaves_out_keys = True  # a count is answered, and matched by nobody
        return
    try:
        value = normalised(vr, value)
    except Invalid as invalid:
        raise _Refused(_MISMATCH, f"{keyword} {tag_name(attribute.tag)}: {invalid}", attribute.tag) from None
    if keyword in _GATHERED:
        draft.filters.append(text_filter(keyword, value.split("\\")))
        if keyword == _MODALITIES and not has_wildcards(value):
            draft.matches[keyword] = value
    elif vr == "PN":
        draft.matches[keyword] = value
        if not draft.agreed.fuzzy_names:
            draft.matches[keyword] = name_pattern(value)
            draft.filters.append(name_filter(keyword, value))
    elif vr in _PATTERNS and (has_wildcards(value) or "\\" in value):
        patterns = value.split("\\")
        draft.filters.append(text_filter(keyword, patterns))
        if len(patterns) == 1:
            draft.matches[keyword] = value
    else:
        draft.matches[keyword] = value


def _join_moments(draft: _Draft) -> None:
    """Date and time ranges as one range, when that was agreed."""
    if not draft.agreed.combined_date_time:
        return
    for date, time in _MOMENTS:
        if "-" in draft.matches.get(date, "") and time in draft.matches:
            draft.filters.append(date_time_filter(date, time, draft.matches[date], draft.matches.pop(time)))


_MISMATCH: Final = int(Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS)
_PATTERNS: Final = frozenset({"AE", "CS", "LO", "SH"})
_UNIQUE_TAGS: Final = {
    "PatientID": 0x00100020,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
    "SOPInstanceUID": 0x00080018,
}


def _value(identifier: Dataset, tag: int) -> str:
    return text_of(identifier[tag]) if tag in identifier else ""
