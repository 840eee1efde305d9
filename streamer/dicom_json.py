"""Rows of the index as DICOM JSON (PS3.18 Annex F)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydicom.datadict import keyword_for_tag, tag_for_keyword

from archive.attributes import ATTRIBUTES, Attribute, Level

ALL: Final = "all"
_COUNTED: Final = {
    "ModalitiesInStudy": (0x00080061, "CS"),
    "NumberOfStudyRelatedSeries": (0x00201206, "IS"),
    "NumberOfStudyRelatedInstances": (0x00201208, "IS"),
    "NumberOfSeriesRelatedInstances": (0x00201209, "IS"),
}
_FIXED: Final = frozenset({"SpecificCharacterSet", "InstanceAvailability", "RetrieveURL"})
_DEPTH: Final = {level: depth for depth, level in enumerate(Level)}
_COUNTED_FROM: Final = {"NumberOfSeriesRelatedInstances": Level.SERIES}
_PN_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
# Asked for by name only: what is rarely wanted (PS3.18 Table 8.3.4-1 to 8.3.4-3 list what always comes).
_ON_REQUEST: Final = frozenset(
    {"IssuerOfPatientID", "SeriesDate", "SeriesTime", "Manufacturer", "StationName", "BodyPartExamined", "Laterality",
     "ContentDate", "ContentTime"}
)  # fmt: skip
_TAGS: Final = {f"{attribute.tag:08X}": attribute.keyword for attribute in ATTRIBUTES} | {
    f"{tag:08X}": keyword for keyword, (tag, _) in _COUNTED.items()
}


def keyword_of(name: str) -> str:
    """The keyword for a keyword or a tag of eight hexadecimal digits; the name itself when it is neither."""
    if len(name) == 8 and name.upper() in _TAGS:
        return _TAGS[name.upper()]
    return (keyword_for_tag(int(name, 16)) or name) if _is_tag(name) else name


def is_attribute(name: str) -> bool:
    """Whether a query's parameter names an attribute, known to the index or not."""
    return keyword_of(name) in _TAGS.values() or tag_for_keyword(name) is not None or _is_tag(name)


def is_kept(keyword: str, level: Level) -> bool:
    """Whether an answer at a level can have an attribute."""
    if keyword in _COUNTED:
        return _DEPTH[_COUNTED_FROM.get(keyword, Level.STUDY)] <= _DEPTH[level]
    found = next((each for each in ATTRIBUTES if each.keyword == keyword), None)
    return keyword in _FIXED or (found is not None and _DEPTH[found.level] <= _DEPTH[level])


def row_as_json(
    row: Mapping[str, Any], *, levels: Iterable[Level], include: frozenset[str], retrieve_url: str
) -> dict[str, Any]:
    """One match.

    Parameters
    ----------
    levels : iterable of Level
        Whose attributes come without being asked for; UIDs of all levels always do.
    include : frozenset of str
        Keywords asked for with includefield; "all" for everything.
    """
    levels = set(levels)
    found: dict[str, Any] = {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        "00080056": {"vr": "CS", "Value": ["ONLINE"]},
        "00081190": {"vr": "UR", "Value": [retrieve_url]},
    }
    for attribute in ATTRIBUTES:
        if attribute.column in row and _is_wanted(attribute, levels, include):
            found[f"{attribute.tag:08X}"] = _element(attribute.vr, row[attribute.column])
    for keyword, (tag, vr) in _COUNTED.items():
        # A study without a modality has no element: viewers take one without values for a failure of the whole list.
        if row.get(keyword) not in (None, []):
            found[f"{tag:08X}"] = _element(vr, row[keyword])
    return dict(sorted(found.items()))


def _is_wanted(attribute: Attribute, levels: set[Level], include: frozenset[str]) -> bool:
    if ALL in include or attribute.keyword in include or attribute.keyword.endswith("InstanceUID"):
        return True
    return attribute.level in levels and attribute.keyword not in _ON_REQUEST


def _element(vr: str, value: Any) -> dict[str, Any]:
    values = value if isinstance(value, list) else [value]
    present = [_value(vr, item) for item in values if item not in {None, ""}]
    return {"vr": vr, "Value": present} if present else {"vr": vr}


def _value(vr: str, value: Any) -> Any:
    if vr == "PN":
        return {name: text for name, text in zip(_PN_GROUPS, str(value).split("="), strict=False) if text}
    return value


def _is_tag(name: str) -> bool:
    return len(name) == 8 and all(digit in "0123456789abcdefABCDEF" for digit in name)
