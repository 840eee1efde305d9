"""What was set aside and what was removed, as the index lists it; read page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Table, select

from archive.index.pages import pages
from archive.index.schema import conflicts, tombstones
from archive.values import Conflict, Tombstone
from dicomrelay.ledger.engine import Database, chunks


def listed_conflicts(database: Database, sop_instance_uid: str = "") -> Iterator[Conflict]:
    """Conflicts, of one SOP Instance UID or all, in the order they were found."""
    for row in _rows(database, conflicts, sop_instance_uid):
        yield Conflict(**row)


def conflicting(database: Database, sop_instance_uids: Sequence[str]) -> set[str]:
    """Those of the UIDs that a conflict is listed of."""
    column = conflicts.c.sop_instance_uid
    with database.read() as work:
        return {
            uid
            for part in chunks(sop_instance_uids)
            for uid in work.connection.execute(select(column).where(column.in_(part))).scalars()
        }


def listed_tombstones(database: Database, sop_instance_uid: str = "") -> Iterator[Tombstone]:
    """Tombstones, of one SOP Instance UID or all, in the order of the removals."""
    for row in _rows(database, tombstones, sop_instance_uid):
        yield Tombstone(**row)


def _rows(database: Database, table: Table, sop_instance_uid: str) -> Iterator[dict[str, Any]]:
    query = select(table)
    if sop_instance_uid:
        query = query.where(table.c.sop_instance_uid == sop_instance_uid)
    for rows in pages(database, query, table.c.id):
        for row in rows:
            yield {name: value for name, value in row.items() if name != "id"}
