"""Where in the hierarchy instances are, by the numbers of their rows; and instances, studies and series in one order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from archive.index.pages import pages
from archive.index.reader import joined, stored_instance
from archive.index.schema import instances, series, studies
from archive.values import StoredInstance
from dicomrelay.ledger.engine import Database, chunks


@dataclass(frozen=True, slots=True)
class Place:
    """Numbers of the rows that an instance hangs under, and when it was stored (ms since the epoch)."""

    instance: int
    series: int
    stored_ms: int


@dataclass(frozen=True, slots=True)
class SeriesThere:
    """A series of a study, and how many instances it has."""

    series_instance_uid: str
    instance_count: int


class Places:
    """Reads. Every method raises ServiceUnavailable when the index does not answer.

    Parameters
    ----------
    database : Database
        The index.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_instances(self, sop_instance_uids: Sequence[str]) -> dict[str, Place]:
        """The places of those of the instances that the index has."""
        columns = instances.c
        query = select(columns.sop_instance_uid, columns.id, columns.series, columns.stored_ms)
        with self._database.read() as work:
            return {
                row.sop_instance_uid: Place(row.id, row.series, row.stored_ms)
                for some in chunks(sop_instance_uids)
                for row in work.connection.execute(query.where(columns.sop_instance_uid.in_(some)))
            }

    def series_rows(self, numbers: Sequence[int]) -> list[Mapping[str, Any]]:
        """Rows of series by their numbers."""
        return self._rows(series, numbers)

    def study_rows(self, numbers: Sequence[int]) -> list[Mapping[str, Any]]:
        """Rows of studies by their numbers."""
        return self._rows(studies, numbers)

    def _rows(self, table: Any, numbers: Sequence[int]) -> list[Mapping[str, Any]]:
        with self._database.read() as work:
            return [
                dict(row)
                for some in chunks(numbers)
                for row in work.connection.execute(select(table).where(table.c.id.in_(some))).mappings()
            ]

    def by_uid(self) -> Iterator[StoredInstance]:
        """All instances in the order of their SOP Instance UIDs, compared byte by byte."""
        for rows in pages(self._database, joined(), instances.c.sop_instance_uid):
            yield from map(stored_instance, rows)

    def study_counts(self, study_uids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """How many series and instances those of the studies have that the index has."""
        query = select(studies.c.study_instance_uid, studies.c.series_count, studies.c.instance_count)
        with self._database.read() as work:
            return {
                row.study_instance_uid: (row.series_count, row.instance_count)
                for some in chunks(study_uids)
                for row in work.connection.execute(query.where(studies.c.study_instance_uid.in_(some)))
            }

    def series_of(self, study_uid: str) -> list[SeriesThere]:
        """The series of a study in the order of their UIDs."""
        query = (
            select(series.c.series_instance_uid, series.c.instance_count)
            .join_from(series, studies)
            .where(studies.c.study_instance_uid == study_uid)
            .order_by(series.c.series_instance_uid)
        )
        with self._database.read() as work:
            return [SeriesThere(*row) for row in work.connection.execute(query)]

    def when(self) -> tuple[int, int]:
        """When the first study was made and the last instance stored, in ms since the epoch; zeros for an empty archive."""
        with self._database.read() as work:
            first = work.connection.execute(select(func.min(studies.c.created_ms))).scalar()
            # The newest row, not the newest time: the one has an index.
            last = work.connection.execute(
                select(instances.c.stored_ms).order_by(instances.c.id.desc()).limit(1)
            ).scalar()
        return int(first or 0), int(last or 0)
