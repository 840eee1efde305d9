"""The order of an answer, and what lies behind a row in it (keyset): total, and the same on every database.

What is missing sorts as less than everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, false, or_

from archive.attributes import Level
from archive.index.conditions import BY_KEYWORD, DEPTH, TABLES, level_of
from archive.index.schema import instances, patients, series, studies
from dicomrelay.errors import ConfigurationError

# Counters by the keyword under which an answer has them, with the level from which on they can be sorted by.
COUNTERS: Final[Mapping[str, tuple[Level, ColumnElement[Any]]]] = {
    "NumberOfStudyRelatedSeries": (Level.STUDY, studies.c.series_count),
    "NumberOfStudyRelatedInstances": (Level.STUDY, studies.c.instance_count),
    "NumberOfSeriesRelatedInstances": (Level.SERIES, series.c.instance_count),
}
_LARGEST_SORT: Final = 8


@dataclass(frozen=True, slots=True)
class By:
    """One column of an order; `label` is what its value is called in a row."""

    column: ColumnElement[Any]
    label: str
    is_descending: bool = False
    is_nullable: bool = True

    def clause(self) -> ColumnElement[Any]:
        """For ORDER BY."""
        if self.is_descending:
            return self.column.desc().nulls_last() if self.is_nullable else self.column.desc()
        return self.column.asc().nulls_first() if self.is_nullable else self.column.asc()

    def equal(self, value: Any) -> ColumnElement[bool]:
        """Whether a row stands level with a value."""
        return self.column.is_(None) if value is None else self.column == value

    def further(self, value: Any) -> ColumnElement[bool]:
        """Whether a row stands behind a value."""
        if not self.is_descending:
            return self.column.is_not(None) if value is None else self.column > value
        if value is None:
            return false()
        less = self.column < value
        return or_(less, self.column.is_(None)) if self.is_nullable else less


def order_of(level: Level, sort: Iterable[str] = ()) -> tuple[By, ...]:
    """The order that `sort` asks for: keywords, each with `-` in front for descending; then the row's own number.

    Raises
    ------
    ConfigurationError
        Too many, or one that rows of this level do not have; the message names it.
    """
    asked = [*sort]
    if len(asked) > _LARGEST_SORT:
        raise ConfigurationError(f"sort: {len(asked)} keywords; {_LARGEST_SORT} are allowed")
    found = [_by(level, word, number) for number, word in enumerate(asked)]
    return (*found, *_natural(level, is_sorted=bool(found)))


def behind(order: Sequence[By], row: Mapping[Any, Any]) -> ColumnElement[bool]:
    """What comes after a row."""
    alternatives: list[ColumnElement[bool]] = []
    level: list[ColumnElement[bool]] = []
    for by in order:
        value = row[by.label]
        alternatives.append(and_(*level, by.further(value)))
        level.append(by.equal(value))
    return or_(*alternatives)


def _natural(level: Level, *, is_sorted: bool) -> tuple[By, ...]:
    if level is Level.PATIENT:
        return (By(patients.c.id, "key", is_nullable=False),)
    if level is Level.STUDY:
        return (By(studies.c.id, "key", is_descending=not is_sorted, is_nullable=False),)
    if level is Level.SERIES:
        return (By(series.c.id, "key", is_nullable=False),)
    own = By(instances.c.id, "key", is_nullable=False)
    return (own,) if is_sorted else (By(instances.c.series, "series_key", is_nullable=False), own)


def _by(level: Level, word: str, number: int) -> By:
    keyword = word.removeprefix("-")
    label, is_descending = f"sort_{number}", word.startswith("-")
    if keyword in COUNTERS and DEPTH[COUNTERS[keyword][0]] <= DEPTH[level]:
        return By(COUNTERS[keyword][1], label, is_descending, is_nullable=False)
    try:
        columns = TABLES[level_of(level, keyword)].c
    except ConfigurationError:
        raise ConfigurationError(f"sort: {level.value} have no {keyword[:64]!r} to be sorted by") from None
    attribute = BY_KEYWORD[keyword]
    name = f"{attribute.column}_key" if attribute.is_text else attribute.column
    return By(columns[name], label, is_descending, is_nullable=columns[name].nullable is not False)
