"""What the scrub knows of stored files: when each was looked at, what was wrong with it, and how far the round is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import RowMapping, func, select, update

from archive.index.pages import pages
from archive.index.reader import joined, stored_instance
from archive.index.schema import conflicts, instances, meta, series
from archive.values import Conflict, StoredInstance
from dicomrelay.ledger.engine import Database

_OF_HEALTH: Final = (
    instances.c.id,
    instances.c.damage,
    instances.c.checked_ms,
    instances.c.head_digest,
)


class Damage(StrEnum):
    """What is wrong with a stored file."""

    GONE = "gone"
    SIZE = "size"  # it has another size than the index says
    DIGEST = "digest"  # its bytes are others than were archived
    UNREADABLE = "unreadable"  # its disk says no


@dataclass(frozen=True, slots=True)
class Looked:
    """A stored instance as it was when it was looked at, and what was found; `key` is that of its row.

    Attributes
    ----------
    head_digest : str
        Of its head, where it was read and is not damaged: written down unless it is known already.
    """

    key: int
    stored: StoredInstance
    damage: Damage | None
    head_digest: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row to look at, with what was known of it before."""

    key: int
    stored: StoredInstance
    damage: str | None
    checked_ms: int | None
    head_digest: str


class HealthIndex:
    """Reads and writes it. Every method raises ServiceUnavailable when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def totals(self) -> tuple[int, int]:
        """How many instances the archive has, and how many bytes they are, by the counters of the series."""
        with self._database.read() as work:
            row = work.connection.execute(
                select(
                    func.coalesce(func.sum(series.c.instance_count), 0),
                    func.coalesce(func.sum(series.c.byte_count), 0),
                )
            ).one()
        return int(row[0]), int(row[1])

    def after(self, key: int, limit: int) -> list[Entry]:
        """The next rows in the order in which they were stored."""
        query = (
            joined()
            .add_columns(*_OF_HEALTH)
            .where(instances.c.id > key)
            .order_by(instances.c.id)
            .limit(limit)
        )
        with self._database.read() as work:
            rows = work.connection.execute(query).mappings().all()
        return [_entry(row) for row in rows]

    def asides_after(self, key: int, limit: int) -> list[tuple[int, Conflict]]:
        """The next of what was set aside, in the order in which it was found, with the keys of their rows."""
        query = (
            select(conflicts)
            .where(conflicts.c.id > key, conflicts.c.relative_path != "")
            .order_by(conflicts.c.id)
            .limit(limit)
        )
        with self._database.read() as work:
            rows = [dict(row) for row in work.connection.execute(query).mappings()]
        return [(row.pop("id"), Conflict(**row)) for row in rows]

    def damaged(self) -> Iterator[Entry]:
        """Everything with damage, in the order in which it was stored, page by page."""
        query = joined().add_columns(*_OF_HEALTH).where(instances.c.damage.is_not(None))
        for rows in pages(self._database, query, instances.c.id):
            yield from map(_entry, rows)

    def now_ms(self) -> int:
        """The time by the database's clock, in milliseconds since the epoch."""
        with self._database.read() as work:
            return work.now

    def note(self, name: str) -> str | None:
        """A value of `archive_meta`; None when there is none."""
        with self._database.read() as work:
            return work.connection.execute(
                select(meta.c.value).where(meta.c.name == name)
            ).scalar_one_or_none()

    def record(self, looked: Sequence[Looked], *, name: str, before: str | None, after: str) -> bool:
        """Write what was found, and the note of `name`, in one transaction; nothing when the note is not what it was `before`.

        A row that has other bytes now than when it was looked at stays as it is.
        """
        with self._database.write() as work:
            if before is None:
                work.insert_missing(meta, [{"name": name, "value": ""}])
                before = ""
            moved = work.connection.execute(
                update(meta).where(meta.c.name == name, meta.c.value == before).values(value=after)
            )
            if not moved.rowcount:
                return False
            for each in looked:
                work.connection.execute(
                    update(instances)
                    .where(
                        instances.c.id == each.key,
                        instances.c.digest == each.stored.digest,
                        instances.c.file_bytes == each.stored.file_bytes,
                        instances.c.relative_path == each.stored.relative_path,
                    )
                    .values(
                        checked_ms=work.now,
                        damage=each.damage,
                        head_digest=func.coalesce(instances.c.head_digest, each.head_digest or None),
                    )
                )
        return True


def _entry(row: RowMapping) -> Entry:
    return Entry(row["id"], stored_instance(row), row["damage"], row["checked_ms"], row["head_digest"] or "")
