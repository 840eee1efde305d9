"""The instances that a selection means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, Final

from sqlalchemy import Select

from archive.attributes import Level
from archive.index.conditions import Conditions, conditions
from archive.index.order import order_of
from archive.index.reader import joined, stored_instance
from archive.index.rows import Row, by_series, in_order, matching, rows_of
from archive.index.schema import instances, series, studies
from archive.values import Selection, StoredInstance
from dicomrelay.ledger.engine import Database, chunks

_PAGE: Final = 1000


def select_instances(database: Database, selection: Selection) -> Iterator[StoredInstance]:
    """Every instance that is meant, series by series, in the order they were stored; in bounded memory.

    Raises
    ------
    ConfigurationError
        A match makes no sense; the message names the attribute.
    ServiceUnavailable
        The index does not answer; also between two pages.
    """

    def fetch(asked: Select[Any]) -> list[Row]:
        with database.read() as work:
            return rows_of(work, asked)

    columns = joined().add_columns(instances.c.id.label("key"), instances.c.series.label("series_key"))
    order = order_of(Level.INSTANCE)
    by_uid = bool(selection.sop_instance_uids or selection.matches.get("SOPInstanceUID"))
    for asked in _pieces(selection):
        if by_uid:
            query = columns.where(*matching(Level.INSTANCE, asked))
            rows = in_order(fetch, query, order, size=_PAGE)
        else:
            rows = by_series(fetch, columns, asked, order, size=_PAGE)
        for row in rows:
            yield stored_instance(row)


def _pieces(selection: Selection) -> Iterator[Conditions]:
    """The conditions; several where there are more UIDs than a statement takes."""
    for study_uids, series_uids, sop_instance_uids in product(
        _parts(selection.study_uids), _parts(selection.series_uids), _parts(selection.sop_instance_uids)
    ):
        asked = conditions(Level.INSTANCE, selection.matches)
        if selection.patient_id:
            asked.of[Level.STUDY].append(studies.c.patient_id == selection.patient_id)
        if study_uids:
            asked.of[Level.STUDY].append(studies.c.study_instance_uid.in_(study_uids))
        if series_uids:
            asked.of[Level.SERIES].append(series.c.series_instance_uid.in_(series_uids))
        if sop_instance_uids:
            asked.of[Level.INSTANCE].append(instances.c.sop_instance_uid.in_(sop_instance_uids))
        yield asked


def _parts(uids: Sequence[str]) -> list[Sequence[str]]:
    """Pieces of the UIDs, each of them once; one empty piece when there are none."""
    return [*chunks([*dict.fromkeys(uids)], _PAGE)] or [()]
