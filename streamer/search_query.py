"""What a search asks, from the parameters of its address (PS3.18 Sections 8.3.4 and 10.6.1). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from archive.attributes import ATTRIBUTES, Level
from archive.index.search import LARGEST_PAGE, MODALITIES_IN_STUDY, SearchQuery
from dicomrelay.dicom.query_values import Invalid, normalised
from streamer.answers import HttpError
from streamer.dicom_json import ALL, is_attribute, is_kept, keyword_of
from streamer.frames import checked_uids
from streamer.search_beside import looked_up, request_key

_DEFAULT_LIMIT: Final = 100
_LARGEST_COUNT_DIGITS: Final = 9
_COUNTS: Final = {"limit": _DEFAULT_LIMIT, "offset": 0}
_FLAGS: Final = ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")
_UNSUPPORTED: Final = _FLAGS[1:]
_LISTS: Final = frozenset({"includefield", "orderby"})
# What says how to answer, and not what to find.
_OTHERS: Final = frozenset({"accept"})
_VRS: Final = {attribute.keyword: attribute.vr for attribute in ATTRIBUTES}
_MOST_NAMED: Final = 5
_OF_PATH: Final = (("study", "StudyInstanceUID"), ("series", "SeriesInstanceUID"))


@dataclass(frozen=True, slots=True)
class Asked:
    """A search.

    Attributes
    ----------
    query : SearchQuery or None
        None: nothing can match, or nothing is wanted.
    include : frozenset of str
        Keywords that are wanted besides those that always come; `ALL` for everything.
    warnings : tuple of str
        What is not done as it was asked.
    beside : mapping
        What items of the Request Attributes Sequence are to have, by keyword; not in the index.
    looked_up : frozenset of int
        Tags of what is wanted besides, and not in the index.
    """

    query: SearchQuery | None
    include: frozenset[str]
    warnings: tuple[str, ...] = ()
    beside: Mapping[str, str] = field(default_factory=dict)
    looked_up: frozenset[int] = frozenset()


def asked(level: Level, parameters: Iterable[tuple[str, str]], path: Mapping[str, str]) -> Asked:
    """The search that an address stands for.

    Parameters
    ----------
    parameters : iterable of (str, str)
        Names and values, decoded, in their order.
    path : mapping
        UIDs by "study" and "series", as far as the path has them.

    Raises
    ------
    HttpError
        400: a parameter that is none, or cannot have this value; the words name it.
    """
    said: dict[str, str] = {}
    lists: dict[str, list[str]] = {name: [] for name in _LISTS}
    matches: dict[str, str] = {}
    beside: dict[str, str] = {}
    for name, value in parameters:
        if name in _LISTS:
            lists[name] += [each.strip() for each in value.split(",") if each.strip()]
        elif name in _COUNTS or name in _FLAGS:
            if name in said:
                raise HttpError(400, f"{name} is given twice")
            said[name] = value
        elif key := request_key(name, level):
            if key in beside:
                raise HttpError(400, f"{name[:80]} is given twice")
            beside[key] = value
        elif name not in _OTHERS:
            _add(matches, name, value)
    flags = {name: _flag(name, said.get(name, "false")) for name in _FLAGS}
    warnings = [f"The {name} parameter is not supported" for name in _UNSUPPORTED if flags[name]]
    include = _included(level, lists["includefield"], warnings)
    limit, offset = (_count(name, said.get(name, str(default))) for name, default in _COUNTS.items())
    can_match = _narrow(matches, path)
    query = SearchQuery(
        level=level,
        matches=matches,
        limit=min(limit, LARGEST_PAGE),
        offset=offset,
        sort=tuple(_sorted_by(name) for name in lists["orderby"]),
        fuzzy=flags["fuzzymatching"],
    )
    # What was matched is told too (PS3.18 Table 10.6.3-3).
    return Asked(
        query if can_match and limit else None,
        include | matches.keys(),
        tuple(warnings),
        beside,
        frozenset(filter(None, (looked_up(name, level) for name in include if not is_kept(name, level)))),
    )


def _add(matches: dict[str, str], name: str, value: str) -> None:
    if not is_attribute(name):
        raise HttpError(
            400, f"{name[:80]!r} is no attribute: say a keyword such as PatientID, or a tag such as 00100020"
        )
    keyword = keyword_of(name)
    vr = _VRS.get(keyword, "")
    if keyword in matches and (vr != "UI" or not value):
        raise HttpError(400, f"{keyword} is given twice")
    if value and vr:
        try:
            value = normalised(vr, value.replace(",", "\\") if vr == "UI" else value)
        except Invalid as error:
            raise HttpError(400, f"{keyword}: {error}") from None
    # Some clients send a list of UIDs as one parameter each.
    matches[keyword] = f"{matches[keyword]}\\{value}" if matches.get(keyword) else value


def _narrow(matches: dict[str, str], path: Mapping[str, str]) -> bool:
    """Put the UIDs of the path to the matches; False when those ask for others."""
    can_match = True
    for name, keyword in _OF_PATH:
        if name in path:
            (uid,) = checked_uids(path[name])
            given = matches.get(keyword)
            can_match = can_match and (not given or uid in given.split("\\"))
            matches[keyword] = uid
    return can_match


def _included(level: Level, names: list[str], warnings: list[str]) -> frozenset[str]:
    missing = []
    for name in names:
        if name == ALL:
            continue
        if not all(is_attribute(part) for part in name.split(".")):
            raise HttpError(400, f"includefield: {name[:80]!r} is no attribute, and not {ALL}")
        if not is_kept(keyword_of(name), level) and not looked_up(name, level):
            missing.append(name[:80])
    if missing:
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        listed = ", ".join(missing[:_MOST_NAMED])
        warnings.append(f"includefield: {listed}{more} are not told at this level, see /metadata")
    return frozenset(keyword_of(name) for name in names)


def _sorted_by(name: str) -> str:
    sign = "-" if name.startswith("-") else ""
    plain = name.removeprefix("-")
    if not is_attribute(plain) or plain == MODALITIES_IN_STUDY:
        raise HttpError(400, f"orderby: {plain[:80]!r} is nothing to sort by")
    return sign + keyword_of(plain)


def _flag(name: str, text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise HttpError(400, f"{name} is true or false")
    return text.lower() == "true"


def _count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _LARGEST_COUNT_DIGITS):
        raise HttpError(400, f"{name}={text[:40]!r} is no count of at most {_LARGEST_COUNT_DIGITS} digits")
    return int(text)
