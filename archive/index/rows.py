"""Rows that match, in order, page by page (docs/design/archive-index.md tells why it is quick)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Select, func, select

from archive.attributes import ATTRIBUTES, PATIENT_COLUMNS, Level
from archive.index.conditions import DEPTH, TABLES, Conditions
from archive.index.counters import SEPARATOR
from archive.index.order import By, behind
from archive.index.schema import instances, patients, series, studies
from dicomrelay.ledger.engine import Work

Row: TypeAlias = dict[str, Any]
Fetch: TypeAlias = Callable[[Select[Any]], list[Row]]

_SERIES_AT_ONCE: Final = 1000
# Instances that are looked at together when some of them may not match.
_LOOKED_AT: Final = 5000


def rows_of(work: Work, asked: Select[Any]) -> list[Row]:
    """All rows of a query, by the names of its columns."""
    result = work.connection.execute(asked)
    names = tuple(result.keys())
    return [dict(zip(names, row, strict=True)) for row in result.all()]


def statement(level: Level) -> Select[Any]:
    """What an answer at a level is made of: the columns of the level and those above, their counters."""
    levels = [at for at in (Level.STUDY, Level.SERIES, Level.INSTANCE) if DEPTH[at] <= DEPTH[level]]
    columns = [TABLES[each.level].c[each.column] for each in ATTRIBUTES if each.level in levels]
    key = TABLES[level].c.id.label("key")
    if level is Level.PATIENT:
        own = [patients.c[each.column] for each in ATTRIBUTES if each.column in PATIENT_COLUMNS]
        return select(key, *own).select_from(patients)
    if level is Level.STUDY:
        counts = (
            studies.c.modalities.label("ModalitiesInStudy"),
            studies.c.series_count.label("NumberOfStudyRelatedSeries"),
            studies.c.instance_count.label("NumberOfStudyRelatedInstances"),
            studies.c.byte_count,
            studies.c.created_ms,
        )
        return select(key, *columns, *counts).select_from(studies)
    if level is Level.SERIES:
        counted = series.c.instance_count.label("NumberOfSeriesRelatedInstances")
        return select(key, *columns, counted, series.c.byte_count).join_from(series, studies)
    more = (instances.c.series.label("series_key"), instances.c.file_bytes, instances.c.stored_ms)
    return select(key, *columns, *more).join_from(instances, series).join(studies)


def matching(level: Level, asked: Conditions) -> list[ColumnElement[bool]]:
    """The conditions as they are put to the table of a level: those above as a subquery of its keys."""
    if level in {Level.PATIENT, Level.STUDY}:
        return asked.of[level]
    above, parent = (studies, series.c.study) if level is Level.SERIES else (series, instances.c.series)
    upper = matching(Level.STUDY if level is Level.SERIES else Level.SERIES, asked)
    # Not correlated: the same table may stand in the query around it.
    keys = [parent.in_(select(above.c.id).where(*upper).correlate(None))] if upper else []
    return [*asked.of[level], *keys]


def in_order(
    fetch: Fetch, query: Select[Any], order: Sequence[By], *, size: int, skip: int = 0
) -> Iterator[Row]:
    """The rows of a query with its conditions, `size` at a time."""
    sorted_by = [by.column.label(by.label) for by in order if by.label.startswith("sort_")]
    ordered = query.add_columns(*sorted_by).order_by(*(by.clause() for by in order)).limit(size)
    page = fetch(ordered.offset(skip) if skip else ordered)
    while page:
        # Taken now: rows belong to whoever gets them.
        mark = {by.label: page[-1][by.label] for by in order}
        yield from page
        if len(page) < size:
            return
        page = fetch(ordered.where(behind(order, mark)))


def by_series(
    fetch: Fetch, query: Select[Any], asked: Conditions, order: Sequence[By], *, size: int, skip: int = 0
) -> Iterator[Row]:
    """Instances, series by series: as many series as are needed, then their instances.

    Parameters
    ----------
    query : Select
        Of instances, without conditions; it has `key` and `series_key`.
    """
    own = asked.of[Level.INSTANCE]
    each_chunk = max(size, _LOOKED_AT) if own else size
    for chunk, passed in _chunks(fetch, asked, each_chunk, 0 if own else skip):
        skip -= passed
        # One series is read along its index; of several the rows are sorted.
        of = instances.c.series == chunk[0] if len(chunk) == 1 else instances.c.series.in_(chunk)
        within = order if len(chunk) > 1 else order[-1:]
        for row in in_order(fetch, query.where(of, *own), within, size=size, skip=0 if own else skip):
            if own and skip:
                skip -= 1
                continue
            yield row
        if not own:
            skip = 0


def _chunks(
    fetch: Fetch, asked: Conditions, instances_each: int, skip: int
) -> Iterator[tuple[list[int], int]]:
    """Keys of series with so many instances together, and how many instances were passed over before them."""
    of = matching(Level.SERIES, asked)
    keys = (
        select(series.c.id, series.c.instance_count).where(*of).order_by(series.c.id).limit(_SERIES_AT_ONCE)
    )
    chunk: list[int] = []
    held = passed = last = 0
    while True:
        page = fetch(keys.where(series.c.id > last))
        for row in page:
            count = row["instance_count"]
            if not chunk and skip - passed >= count:
                passed += count
                continue
            if chunk and held + count > instances_each:
                yield chunk, passed
                chunk, held, passed, skip = [], 0, 0, 0
            chunk.append(row["id"])
            held += count
        if len(page) < _SERIES_AT_ONCE:
            break
        last = page[-1]["id"]
    if chunk:
        yield chunk, passed


def finished(fetch: Fetch, level: Level, page: Sequence[Row]) -> list[Row]:
    """Rows as an answer has them: modalities as a list, patients with their counts, without what sorting needed."""
    # The rows of a page have the same columns.
    needed = [name for name in (page[0] if page else ()) if name.startswith("sort_") or name == "series_key"]
    for row in page:
        for name in needed:
            del row[name]
        if level is Level.STUDY:
            row["ModalitiesInStudy"] = [name for name in row["ModalitiesInStudy"].split(SEPARATOR) if name]
    if level is Level.PATIENT and page:
        _count_patients(fetch, page)
    return [*page]


def _count_patients(fetch: Fetch, page: Sequence[Row]) -> None:
    columns = studies.c
    rows = fetch(
        select(
            columns.patient,
            func.count().label("studies"),
            func.sum(columns.series_count).label("series"),
            func.sum(columns.instance_count).label("instances"),
        )
        .where(columns.patient.in_([row["key"] for row in page]))
        .group_by(columns.patient)
    )
    counts = {row["patient"]: row for row in rows}
    for row in page:
        count = counts.get(row["key"], {})
        row["NumberOfPatientRelatedStudies"] = int(count.get("studies", 0))
        row["NumberOfPatientRelatedSeries"] = int(count.get("series", 0))
        row["NumberOfPatientRelatedInstances"] = int(count.get("instances", 0))
