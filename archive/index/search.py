"""Searching the index: what QIDO-RS and `archive query` ask (PS3.4 Section C.2.2.2, PS3.18 Section 8.3.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Select, and_, exists, func, select

from archive.attributes import ATTRIBUTES, Attribute, Level
from archive.index.keys import folded
from archive.index.schema import instances, series, studies
from dicomrelay.errors import ConfigurationError
from dicomrelay.ledger.engine import Database

MODALITIES_IN_STUDY: Final = "ModalitiesInStudy"
LARGEST_PAGE: Final = 1000
_BY_KEYWORD: Final = {attribute.keyword: attribute for attribute in ATTRIBUTES}
_TABLES: Final = {Level.STUDY: studies, Level.SERIES: series, Level.INSTANCE: instances}
_DEPTH: Final = {Level.STUDY: 0, Level.SERIES: 1, Level.INSTANCE: 2}
_LONGEST_VALUE: Final = 4096
_MOST_UIDS: Final = 1000
_LARGEST_NUMBER: Final = 2**31 - 1
# Behind every character there is, where text is compared byte by byte.
_LAST_CHARACTER: Final = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Part of an answer.

    Attributes
    ----------
    rows : sequence of mapping
        Values by column of the level asked for and those above; counts by their keywords.
    has_more : bool
        Whether there are matches behind the last row.
    """

    rows: Sequence[Mapping[str, Any]]
    has_more: bool


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What is asked.

    Attributes
    ----------
    level : Level
        STUDY, SERIES or INSTANCE.
    matches : mapping
        Values to match by keyword: `*` and `?` are wildcards, dates and times may be ranges (`20240101-20240131`),
        UIDs may be lists parted by a backslash or a comma. An empty value matches everything.
    limit, offset : int
        Which part of the answer; limit 1 to 1000.
    """

    level: Level
    matches: Mapping[str, str] = field(default_factory=dict)
    limit: int = 100
    offset: int = 0


def search(database: Database, query: SearchQuery) -> SearchPage:
    """Find studies (newest first), series or instances.

    Raises
    ------
    ConfigurationError
        The index does not know the attribute at this level, or the value cannot be one of it; the message names it.
    """
    table = _TABLES[query.level]
    statement = _select(query.level)
    for keyword, value in query.matches.items():
        if value:
            statement = statement.where(_condition(query.level, keyword, value))
    order = table.c.id.desc() if query.level is Level.STUDY else table.c.id
    limit = min(max(query.limit, 1), LARGEST_PAGE)
    statement = statement.order_by(order).limit(limit + 1).offset(query.offset)
    with database.read() as work:
        found = [dict(row) for row in work.connection.execute(statement).mappings()]
        page = found[:limit]
        counts = _Counts(work.connection)
        if query.level is Level.STUDY:
            counts.of_studies(page)
        elif query.level is Level.SERIES:
            counts.of_series(page)
    return SearchPage(page, len(found) > limit)


def _select(level: Level) -> Select[Any]:
    levels = [at for at in _TABLES if _DEPTH[at] <= _DEPTH[level]]
    columns = [_TABLES[a.level].c[a.column] for a in ATTRIBUTES if a.level in levels]
    statement = select(_TABLES[level].c.id.label("key"), *columns)
    if level is Level.STUDY:
        return statement.select_from(studies)
    if level is Level.SERIES:
        return statement.select_from(series).join(studies)
    return statement.select_from(instances).join(series).join(studies)


def _condition(level: Level, keyword: str, value: str) -> ColumnElement[bool]:
    if len(value) > _LONGEST_VALUE:
        raise ConfigurationError(f"{keyword}: {len(value)} characters are too many to match")
    if keyword == MODALITIES_IN_STUDY or (keyword == "Modality" and level is Level.STUDY):
        of_study = series.alias("of_study")
        matching = _matches(_BY_KEYWORD["Modality"], of_study.c.modality, value)
        return exists().where(of_study.c.study == studies.c.id, matching)
    attribute = _BY_KEYWORD.get(keyword)
    if attribute is None or _DEPTH[attribute.level] > _DEPTH[level]:
        raise ConfigurationError(f"{keyword}: {level.value} cannot be searched by it")
    column = attribute.column
    name = f"{column}_key" if attribute.vr == "PN" else column
    return _matches(attribute, _TABLES[attribute.level].c[name], value)


def _matches(attribute: Attribute, column: Column[Any], value: str) -> ColumnElement[bool]:
    if attribute.vr == "UI":
        uids = [uid.strip() for uid in value.replace("\\", ",").split(",")]
        if len(uids) > _MOST_UIDS:
            raise ConfigurationError(
                f"{attribute.keyword}: {len(uids)} UIDs at once; {_MOST_UIDS} are allowed"
            )
        return column.in_(uids)
    if attribute.is_number:
        return column == _number(attribute, value)
    if attribute.vr in {"DA", "TM"}:
        return _range(column, value)
    if attribute.vr == "PN":
        return _text(column, folded(value, is_name=True))
    return _text(column, value)


def _number(attribute: Attribute, value: str) -> int:
    try:
        number = int(value)
    except ValueError:
        number = _LARGEST_NUMBER + 1
    if abs(number) > _LARGEST_NUMBER:
        raise ConfigurationError(f"{attribute.keyword}: {value[:64]!r} is no number")
    return number


def _range(column: Column[Any], value: str) -> ColumnElement[bool]:
    """A value, or from-to with one end open: text sorts as dates and times do. An end takes all that begins with it."""
    first, dash, last = value.partition("-")
    if not dash:
        return _text(column, value)
    ends: list[ColumnElement[bool]] = []
    if first.strip():
        ends.append(column >= first.strip())
    if last.strip():
        ends.append(column <= last.strip() + _LAST_CHARACTER)
    return and_(*ends) if ends else column.is_not(None)


def _text(column: Column[Any], value: str) -> ColumnElement[bool]:
    if "*" not in value and "?" not in value:
        return column == value
    escaped = value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    pattern = column.ilike(escaped.replace("*", "%").replace("?", "_"), escape="\\")
    prefix = value.split("*", 1)[0].split("?", 1)[0]
    # A folded name compares as it stands, so its beginning is a range of the index.
    if prefix and column.name.endswith("_key"):
        return and_(column >= prefix, column < prefix + _LAST_CHARACTER, pattern)
    return pattern


class _Counts:
    """What is known by counting only, for one page at a time."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def of_studies(self, page: Sequence[dict[str, Any]]) -> None:
        keys = [row["key"] for row in page]
        rows = self._connection.execute(
            select(
                series.c.study,
                series.c.modality,
                func.count(series.c.id.distinct()),
                func.count(instances.c.id),
            )
            .join_from(series, instances, isouter=True)
            .where(series.c.study.in_(keys))
            .group_by(series.c.study, series.c.modality)
        )
        by_key = {row["key"]: row for row in page}
        for row in page:
            row.update(ModalitiesInStudy=[], NumberOfStudyRelatedSeries=0, NumberOfStudyRelatedInstances=0)
        for key, modality, series_count, instance_count in rows:
            row = by_key[key]
            row["ModalitiesInStudy"] = sorted({*row["ModalitiesInStudy"], *([modality] if modality else [])})
            row["NumberOfStudyRelatedSeries"] += series_count
            row["NumberOfStudyRelatedInstances"] += instance_count

    def of_series(self, page: Sequence[dict[str, Any]]) -> None:
        keys = [row["key"] for row in page]
        rows = self._connection.execute(
            select(instances.c.series, func.count())
            .where(instances.c.series.in_(keys))
            .group_by(instances.c.series)
        )
        counted: dict[int, int] = {key: count for key, count in rows}  # noqa: C416 - rows are no pairs for mypy
        for row in page:
            row["NumberOfSeriesRelatedInstances"] = counted.get(row["key"], 0)
