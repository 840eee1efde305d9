"""Finding stored instances by their UIDs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Select, select

from archive.index.pages import pages
from archive.index.schema import instances, series, studies
from archive.values import StoredInstance
from dicomrelay.ledger.engine import Database, chunks

_PAGE: Final = 1000
_COLUMNS: Final = (
    studies.c.study_instance_uid,
    series.c.series_instance_uid,
    instances.c.sop_instance_uid,
    instances.c.sop_class_uid,
    instances.c.transfer_syntax_uid,
    instances.c.relative_path,
    instances.c.file_bytes,
    instances.c.data_set_offset,
    instances.c.data_set_bytes,
    instances.c.digest,
)


class IndexReader:
    """Looks instances up."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def instance(self, sop_instance_uid: str) -> StoredInstance | None:
        """The instance of that UID."""
        return self._one(joined().where(instances.c.sop_instance_uid == sop_instance_uid))

    def digests(self, sop_instance_uids: Sequence[str]) -> dict[str, str]:
        """Digests of those of the instances that are known."""
        found: dict[str, str] = {}
        with self._database.read() as work:
            for part in chunks(sop_instance_uids):
                rows = work.connection.execute(
                    select(instances.c.sop_instance_uid, instances.c.digest).where(
                        instances.c.sop_instance_uid.in_(part)
                    )
                )
                found.update({row.sop_instance_uid: row.digest for row in rows})
        return found

    def by_path(self, relative_path: str) -> StoredInstance | None:
        """The instance stored under that relative path."""
        return self._one(joined().where(instances.c.relative_path == relative_path))

    def instances(self, study_uid: str, series_uid: str = "") -> Iterator[StoredInstance]:
        """Every instance of a study, or of one series, in the order they were stored; read page by page."""
        query = joined().add_columns(instances.c.id).where(studies.c.study_instance_uid == study_uid)
        if series_uid:
            query = query.where(series.c.series_instance_uid == series_uid)
        for rows in pages(self._database, query, instances.c.id, size=_PAGE):
            yield from map(stored_instance, rows)

    def answers(self) -> None:
        """Ask something small. Raises ServiceUnavailable when the database does not answer."""
        with self._database.read() as work:
            work.connection.execute(select(studies.c.id).limit(1)).all()

    def _one(self, query: Select[Any]) -> StoredInstance | None:
        with self._database.read() as work:
            row = work.connection.execute(query).mappings().first()
        return None if row is None else stored_instance(row)


def joined() -> Select[Any]:
    """Instances with their series and study: the columns of `stored_instance`."""
    return select(*_COLUMNS).join_from(instances, series).join(studies)


def stored_instance(row: Mapping[Any, Any]) -> StoredInstance:
    """The value of a row of `joined`."""
    return StoredInstance(**{column.name: row[column.name] for column in _COLUMNS})
