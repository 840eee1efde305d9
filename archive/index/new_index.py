"""An index that is made beside the old one, and takes its place at once: a file for SQLite, a schema for PostgreSQL."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    Column,
    Connection,
    Double,
    MetaData,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.engine import make_url
from sqlalchemy.schema import CreateTable, DropTable

from archive.disk import Disk
from archive.index.changes import CHANGE
from archive.index.database import open_database
from archive.index.pages import pages
from archive.index.schema import VERSION_TABLE, commitments, conflicts, instances, meta, metadata, tombstones
from dicomrelay.errors import ArchiveError, RelayError
from dicomrelay.ledger.database_errors import ARCHIVE_INDEX
from dicomrelay.ledger.engine import STATEMENT_TIMEOUT_MS, Database, chunks

SCHEMA: Final = "archive_rebuilding"
_BEFORE: Final = "archive_before"
# What files do not tell, or not all of it.
_CARRIED: Final = (conflicts, tombstones, meta, commitments)
# Only while an index is being made: when each file had changed last as it was read, by the storage's clock.
_FILES: Final = Table(
    "archive_rebuild_files",
    MetaData(),
    Column("relative_path", Text(), primary_key=True),
    Column("changed_s", Double(), nullable=False),
)


@dataclass(frozen=True, slots=True)
class IndexPlace:
    """Where an index is, and where the new one is made.

    Attributes
    ----------
    url, new_url : str
        Of the old and of the new one.
    path, new_path : Path or None
        The files, with SQLite in the archive's folder.
    """

    url: str
    new_url: str
    path: Path | None = None
    new_path: Path | None = None

    @classmethod
    def of(cls, path: Path, new_path: Path, database_url: str | None) -> IndexPlace:
        """The place of an archive's index: in its folder, or at a URL."""
        if database_url is None or database_url.startswith("sqlite"):
            if database_url is not None:
                path = Path(str(make_url(database_url).database))
                new_path = path.with_name(new_path.name)
            return cls(f"sqlite:///{path}", f"sqlite:///{new_path}", path, new_path)
        options = f"-c search_path={SCHEMA} -c statement_timeout={STATEMENT_TIMEOUT_MS}"
        url = make_url(database_url).update_query_dict({"options": options})
        return cls(database_url, url.render_as_string(hide_password=False))

    def open_old(self) -> Database | None:
        """The old index, to take over what files do not tell; None when there is none, or it cannot be read."""
        if self.path is not None and (not self.path.exists() or self.path.stat().st_size == 0):
            return None
        database: Database | None = None
        try:
            database = open_database(self.url)
            with database.read() as work:
                for table in metadata.sorted_tables:
                    work.connection.execute(select(table).limit(1)).all()
        except RelayError as error:
            if database is not None:
                database.dispose()
            if isinstance(error, ArchiveError):  # of a newer version
                raise
            return None
        return database

    def open_new(self) -> Database:
        """The new one, as far as it was made before. Raises ServiceUnavailable, OSError."""
        if self.new_path is None:
            self._run(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            return open_database(self.new_url)
        try:
            self.new_path.touch(mode=0o600)
            return open_database(self.new_url)
        except RelayError:
            # Half made by a disk that was full, say: from the beginning.
            self.drop_new()
            self.new_path.touch(mode=0o600)
            return open_database(self.new_url)

    def drop_new(self) -> None:
        """Throw away what was made of it. Raises ServiceUnavailable, OSError."""
        if self.new_path is not None:
            for each in _files(self.new_path):
                each.unlink(missing_ok=True)
            return
        self._run(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")

    def _run(self, statement: str) -> None:
        database = Database(self.url, whose=ARCHIVE_INDEX)
        try:
            with database.write() as work:
                work.connection.execute(text(statement))
        finally:
            database.dispose()

    def take_place(self, disk: Disk) -> None:
        """Put the new index in the place of the old one, durably; nobody has either open.

        Raises
        ------
        ServiceUnavailable, OSError
            It did not happen; the new one is still there.
        """
        if self.path is None or self.new_path is None:
            self._exchange_schemas()
            return
        _settle_log(self.new_path)
        descriptor = os.open(self.new_path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _, *left = _files(self.path)
        if any(each.exists() for each in left):
            # Of a database that could not be opened: poison to another one of that name.
            aside = self.path.with_name(f"damaged-{time.strftime('%Y%m%d-%H%M%S')}")
            aside.mkdir(mode=0o700, exist_ok=True)
            for each in _files(self.path):
                with suppress(FileNotFoundError):
                    disk.replace(each, aside / each.name)
        disk.replace(self.new_path, self.path)
        disk.sync_directory(self.path.parent)

    def _exchange_schemas(self) -> None:
        """In one transaction of PostgreSQL."""
        names = [*metadata.tables, VERSION_TABLE]
        database = Database(self.url, whose=ARCHIVE_INDEX)
        try:
            with database.write() as work:
                run = work.connection.execute
                home = str(run(text("SELECT current_schema()")).scalar_one())
                run(text(f"CREATE SCHEMA {_BEFORE}"))
                for name in names:
                    run(text(f'ALTER TABLE IF EXISTS "{home}".{name} SET SCHEMA {_BEFORE}'))
                    run(text(f'ALTER TABLE {SCHEMA}.{name} SET SCHEMA "{home}"'))
                run(text(f"DROP SCHEMA {_BEFORE} CASCADE"))
                run(text(f"DROP SCHEMA {SCHEMA} CASCADE"))
        finally:
            database.dispose()


def _files(path: Path) -> list[Path]:
    """A database of SQLite, and what it keeps beside it."""
    return [path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))]


def _settle_log(path: Path) -> None:
    """Let SQLite write its log into the file; with the last connection it removes the log."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def carry_over(old: Database, new: Database) -> None:
    """Copy the rows that files do not tell. Changes that are begun were finished before.

    What a rebuild that was cut copied is copied again: the old index may have served since.
    """
    for table in _CARRIED:
        with new.write() as work:
            if table is not meta:
                work.connection.execute(delete(table))
            for rows in _all_rows(old, table):
                carried = [row for row in rows if _is_carried(table, row)]
                if table is meta:
                    names = [row["name"] for row in carried]
                    work.connection.execute(delete(meta).where(meta.c.name.in_(names)))
                work.insert_missing(table, carried)


def _is_carried(table: Table, row: Mapping[str, Any]) -> bool:
    """The place of the scrub is told by numbers of rows; changes that are begun were finished or undone by now."""
    return table is not meta or not (row["name"] == "scrub" or row["name"].startswith(CHANGE))


def _all_rows(database: Database, table: Table) -> Iterator[list[dict[str, Any]]]:
    for rows in pages(database, select(table), next(iter(table.primary_key))):
        # Numbers of rows are given anew: PostgreSQL would not know that they are taken.
        yield [{name: value for name, value in row.items() if name != "id"} for row in rows]


def stored_times(database: Database, sop_instance_uids: Sequence[str]) -> dict[str, int]:
    """When instances were stored, in milliseconds since the epoch, as an index has it."""
    columns = instances.c
    query = select(columns.sop_instance_uid, columns.stored_ms)
    with database.read() as work:
        return {
            row.sop_instance_uid: row.stored_ms
            for some in chunks(sop_instance_uids)
            for row in work.connection.execute(query.where(columns.sop_instance_uid.in_(some)))
        }


def set_stored_times(connection: Connection, times: Mapping[str, int]) -> None:
    """Write them."""
    if times:
        connection.execute(
            update(instances)
            .where(instances.c.sop_instance_uid == bindparam("of"))
            .values(stored_ms=bindparam("at")),
            [{"of": uid, "at": at} for uid, at in sorted(times.items())],
        )


def begin_files(database: Database) -> None:
    """Make the note of the files that were read, unless it is there."""
    with database.write() as work:
        work.connection.execute(CreateTable(_FILES, if_not_exists=True))


def note_files(connection: Connection, changed_s: Mapping[str, float]) -> None:
    """Note files that are in the index now: when each had changed last, by its relative path."""
    rows = [{"relative_path": path, "changed_s": at} for path, at in sorted(changed_s.items())]
    if rows:
        connection.execute(insert(_FILES), rows)


def noted_files(database: Database, relative_paths: Sequence[str]) -> dict[str, float]:
    """Those of the files that were noted."""
    columns = _FILES.c
    with database.read() as work:
        return {
            row.relative_path: row.changed_s
            for some in chunks(relative_paths)
            for row in work.connection.execute(select(_FILES).where(columns.relative_path.in_(some)))
        }


def end_files(database: Database) -> None:
    """Forget the note: the index is whole."""
    with database.write() as work:
        work.connection.execute(DropTable(_FILES, if_exists=True))
