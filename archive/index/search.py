"""Searching the index: what QIDO-RS, C-FIND and `archive query` ask (PS3.4 Section C.2.2.2, PS3.18 Section 8.3.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from sqlalchemy import Select

from archive.attributes import Level
from archive.index.conditions import MODALITIES_IN_STUDY, conditions
from archive.index.order import order_of
from archive.index.rows import Fetch, Row, by_series, finished, in_order, matching, rows_of, statement
from dicomrelay.ledger.engine import Database

__all__ = ["LARGEST_PAGE", "MODALITIES_IN_STUDY", "SearchPage", "SearchQuery", "scan", "search"]

LARGEST_PAGE: Final = 1000
_BY_UID: Final = "SOPInstanceUID"


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
        At the PATIENT level the attributes are those kept for the patient.
    matches : mapping
        Values to match by keyword: `*` and `?` are wildcards, dates and times may be ranges (`20240101-20240131`),
        UIDs may be lists parted by a backslash or a comma. An empty value matches everything.
    limit, offset : int
        Which part of the answer; limit 1 to 1000. A scan has neither.
    sort : tuple of str
        Keywords of this level and those above, at most 8, `-` in front for descending. Without it: studies with the
        newest first, patients and series as they came, instances series by series as they were stored.
    fuzzy : bool
        Person names without wildcards match by their words and how they sound.
    """

    level: Level
    matches: Mapping[str, str] = field(default_factory=dict)
    limit: int = 100
    offset: int = 0
    sort: tuple[str, ...] = ()
    fuzzy: bool = False


def search(database: Database, query: SearchQuery) -> SearchPage:
    """Find patients, studies, series or instances: one page, as of one moment.

    Raises
    ------
    ConfigurationError
        The index does not know the attribute at this level, or the value cannot be one of it; the message names it.
    ServiceUnavailable
        The index does not answer.
    """
    limit = min(max(query.limit, 1), LARGEST_PAGE)
    with database.read() as work:

        def fetch(asked: Select[Any]) -> list[Row]:
            return rows_of(work, asked)

        found = [*islice(_found(fetch, query, limit + 1, query.offset), limit + 1)]
        page = finished(fetch, query.level, found[:limit])
    return SearchPage(page, len(found) > limit)


def scan(database: Database, query: SearchQuery) -> Iterator[Mapping[str, Any]]:
    """Everything that matches, without limit and in bounded memory: a page at a time, each read by itself (keyset).

    Raises
    ------
    ConfigurationError, ServiceUnavailable
        As `search`, at the first row or between two pages.
    """

    def fetch(asked: Select[Any]) -> list[Row]:
        with database.read() as work:
            return rows_of(work, asked)

    found = _found(fetch, query, LARGEST_PAGE, 0)
    while page := [*islice(found, LARGEST_PAGE)]:
        yield from finished(fetch, query.level, page)


def _found(fetch: Fetch, query: SearchQuery, size: int, skip: int) -> Iterator[Row]:
    asked = conditions(query.level, query.matches, fuzzy=query.fuzzy)
    order = order_of(query.level, query.sort)
    of_level = statement(query.level)
    if query.level is Level.INSTANCE and not query.sort and not query.matches.get(_BY_UID):
        return by_series(fetch, of_level, asked, order, size=size, skip=skip)
    where = matching(query.level, asked)
    return in_order(fetch, of_level.where(*where), order, size=size, skip=skip)
