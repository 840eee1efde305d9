"""What is asked of attributes as conditions on columns (PS3.4 Section C.2.2.2).

Conditions are kept by the table that they are put to: how tables are joined is for `archive.index.rows`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, and_, exists, func, literal, or_

from archive.attributes import ATTRIBUTES, PATIENT_COLUMNS, Attribute, Level
from archive.date_values import in_todays_form
from archive.index.counters import SEPARATOR
from archive.index.date_columns import is_one
from archive.index.keys import folded, fuzzy_patterns
from archive.index.names import matches_name
from archive.index.patterns import LAST_CHARACTER, is_pattern, like
from archive.index.schema import instances, patients, series, studies
from dicomrelay.errors import ConfigurationError

MODALITIES_IN_STUDY: Final = "ModalitiesInStudy"
TABLES: Final = {
    Level.PATIENT: patients,
    Level.STUDY: studies,
    Level.SERIES: series,
    Level.INSTANCE: instances,
}
DEPTH: Final = {level: depth for depth, level in enumerate(TABLES)}
BY_KEYWORD: Final = {attribute.keyword: attribute for attribute in ATTRIBUTES}
_LONGEST_VALUE: Final = 65_536
_LONGEST_TEXT: Final = 4096
_MOST_UIDS: Final = 1000
_LARGEST_NUMBER: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions by the level of the table that they are put to."""

    of: dict[Level, list[ColumnElement[bool]]] = field(
        default_factory=lambda: {level: [] for level in TABLES}
    )


def conditions(level: Level, matches: Mapping[str, str], *, fuzzy: bool = False) -> Conditions:
    """The conditions of a query at a level. An empty value matches everything, and so does a bare `*` (PS3.4 Section C.2.2.2.4).

    Raises
    ------
    ConfigurationError
        The index does not know the attribute at this level, or the value cannot be one of it; the message names it.
    """
    found = Conditions()
    for keyword, value in matches.items():
        if value:
            at, condition = _condition(level, keyword, value, fuzzy=fuzzy)
            if not is_universal(keyword, value):
                found.of[at].append(condition)
    return found


def is_universal(keyword: str, value: str) -> bool:
    """Whether a value to match asks for nothing: it is empty, or a bare `*` where a wildcard is one (PS3.4 Section C.2.2.2.4).

    Also what has no value matches then. A number or a UID takes no wildcard.
    """
    attribute = BY_KEYWORD.get(keyword)
    takes_wildcards = attribute is None or not (attribute.vr == "UI" or attribute.is_number)
    return not value or (takes_wildcards and not value.strip(" *"))


def level_of(level: Level, keyword: str) -> Level:
    """The table that has an attribute for who asks at a level. Raises ConfigurationError when there is none."""
    attribute = BY_KEYWORD.get(keyword)
    if attribute is not None:
        is_patient = attribute.column in PATIENT_COLUMNS
        if level is Level.PATIENT and is_patient:
            return Level.PATIENT
        if DEPTH[attribute.level] <= DEPTH[level]:
            return attribute.level
    raise ConfigurationError(f"{keyword}: {level.value} cannot be searched by it")


def _condition(level: Level, keyword: str, value: str, *, fuzzy: bool) -> tuple[Level, ColumnElement[bool]]:
    of_study = keyword == "Modality" and level is Level.STUDY
    if (keyword == MODALITIES_IN_STUDY and level is not Level.PATIENT) or of_study:
        _check_length(keyword, value, _LONGEST_TEXT)
        return Level.STUDY, or_(*(_has_modality(each) for each in value.split(SEPARATOR)))
    at = level_of(level, keyword)
    attribute = BY_KEYWORD[keyword]
    _check_length(keyword, value, _LONGEST_VALUE if attribute.vr == "UI" else _LONGEST_TEXT)
    return at, _matches(attribute, TABLES[at].c, value, fuzzy=fuzzy)


def _check_length(keyword: str, value: str, most: int) -> None:
    if len(value) > most:
        raise ConfigurationError(f"{keyword}: {len(value)} characters are too many to match")


def _matches(attribute: Attribute, columns: Any, value: str, *, fuzzy: bool) -> ColumnElement[bool]:
    column = columns[attribute.column]
    if attribute.vr == "UI":
        return column.in_(_uids(attribute, value))  # type: ignore[no-any-return]
    if attribute.is_number:
        return column == _number(attribute, value)  # type: ignore[no-any-return]
    if attribute.vr in {"DA", "TM"}:
        return _range(attribute.vr, column, value)
    return _text(attribute, columns, value, fuzzy=fuzzy)


def _uids(attribute: Attribute, value: str) -> list[str]:
    uids = [uid.strip() for uid in value.replace("\\", ",").split(",")]
    if len(uids) > _MOST_UIDS:
        raise ConfigurationError(f"{attribute.keyword}: {len(uids)} UIDs at once; {_MOST_UIDS} are allowed")
    return uids


def _number(attribute: Attribute, value: str) -> int:
    try:
        number = int(value)
    except ValueError:
        number = _LARGEST_NUMBER + 1
    if abs(number) > _LARGEST_NUMBER:
        raise ConfigurationError(f"{attribute.keyword}: {value[:64]!r} is no number")
    return number


def _range(vr: str, column: Column[Any], value: str) -> ColumnElement[bool]:
    """A value, or from-to with one end open: text sorts as dates and times do. An end takes all that begins with it.

    A range has only what is a date or a time: other text has no place between two of them.
    """
    first, dash, last = (in_todays_form(vr, part.strip()) for part in value.partition("-"))
    if not dash:
        return like(column, value) if is_pattern(value) else column.in_({first, value.strip()})
    ends: list[ColumnElement[bool]] = []
    if first:
        ends.append(column >= first)
    if last:
        ends.append(column <= last + LAST_CHARACTER)
    return and_(*ends, is_one(vr, column))


def _text(attribute: Attribute, columns: Any, value: str, *, fuzzy: bool) -> ColumnElement[bool]:
    key = columns[f"{attribute.column}_key"]
    if attribute.vr == "PN":
        if fuzzy and not is_pattern(value) and (words := fuzzy_patterns(value)):
            # The patterns have letters and digits only: nothing in them is to be escaped.
            of_words = columns[f"{attribute.column}_words"]
            return and_(*(or_(*(of_words.like(pattern) for pattern in word)) for word in words))
        return matches_name(key, value)
    if is_pattern(value):
        return like(key, folded(value))
    return columns[attribute.column] == value.strip(" ")  # type: ignore[no-any-return]


def _has_modality(value: str) -> ColumnElement[bool]:
    """Whether a series of the study has it: by what the study knows of its series, or by looking at them."""
    if is_pattern(value):
        of_study = series.alias("of_study")
        matching = like(of_study.c.modality_key, folded(value))
        return exists().where(of_study.c.study == studies.c.id, matching)
    listed = literal(SEPARATOR) + studies.c.modalities + literal(SEPARATOR)
    # LIKE knows no case on SQLite, and every database has replace().
    return func.replace(listed, f"{SEPARATOR}{value.strip()}{SEPARATOR}", "") != listed
