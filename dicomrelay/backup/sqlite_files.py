"""Copies of SQLite databases: taken while others write, looked at, and put in place of what was there."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from dicomrelay.backup.values import Database
from dicomrelay.errors import BackupDamaged, ServiceError, ServiceUnavailable

_TIMEOUT_S: Final = 30
_BESIDE: Final = ("-wal", "-shm")


def copy(source: Path, target: Path) -> None:
    """A copy as of one moment; who writes to the source meanwhile is not kept waiting. It is durable when this returns.

    In one step: in several, SQLite begins again with each commit of another process (sqlite.org/backup.html).

    Raises
    ------
    ServiceUnavailable
        One of the two does not work; the message says which, and why.
    """
    target.touch(mode=0o600, exist_ok=False)
    try:
        with closing(_open(source)) as taken, closing(sqlite3.connect(target, timeout=_TIMEOUT_S)) as made:
            taken.backup(made, pages=-1)
            # The copy says that it has a write-ahead log, as its source does: it is to be one file.
            made.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise ServiceUnavailable(f"{source}: cannot be copied to {target}: {error}") from error
    sync(target)


def looked_at(path: Path, version_table: str, *, thorough: bool) -> Database:
    """Revision and rows of a copy that nobody writes to.

    Raises
    ------
    BackupDamaged
        It is damaged, or no database.
    """
    pragma = "integrity_check" if thorough else "quick_check"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?immutable=1", uri=True)) as connection:
            said = [str(row[0]) for row in connection.execute(f"PRAGMA {pragma}(5)")]
            if said != ["ok"]:
                raise BackupDamaged(f"{path}: is damaged: {'; '.join(said)}")
            broken = connection.execute("PRAGMA foreign_key_check").fetchone() if thorough else None
            if broken is not None:
                raise BackupDamaged(
                    f"{path}: row {broken[1]} of {broken[0]} refers to nothing in {broken[2]}"
                )
            names = [
                row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
            rows = {
                name: _count(connection, name) for name in sorted(names) if not name.startswith("sqlite_")
            }
            revision = None
            if version_table in rows:
                found = connection.execute(f"SELECT version_num FROM {version_table}").fetchone()  # noqa: S608
                revision = None if found is None else str(found[0])
            return Database(revision=revision, rows=rows)
    except sqlite3.Error as error:
        raise BackupDamaged(f"{path}: is no database that can be read: {error}") from error


def refuse_when_open(path: Path) -> None:
    """Make sure that nobody has a database open, and that all of it is in its one file.

    SQLite leaves the write-ahead log only for one that is alone (sqlite.org/wal.html, Section 3.2).

    Raises
    ------
    ServiceError
        Somebody has.
    """
    try:
        with closing(sqlite3.connect(path, timeout=2, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE").fetchone()
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise ServiceError(
                f"{path}: a process of the relay has it open: stop everything that runs at this home, then say this again"
            ) from error
    except sqlite3.DatabaseError:
        return  # damaged: that is why it is replaced


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """A place beside the target for what is to become it; of an earlier one that died nothing is left."""
    fresh = target.with_name(target.name + ".restoring")
    fresh.unlink(missing_ok=True)
    try:
        yield fresh
    finally:
        fresh.unlink(missing_ok=True)


def aside_folder(beside_it: Path) -> Path:
    """A folder that is not there yet, for what is put aside: of two restores within a second each has its own."""
    first = beside_it / f"replaced-{time.strftime('%Y%m%d-%H%M%S')}"
    further = (first.with_name(f"{first.name}-{number}") for number in itertools.count(2))
    return first if not first.exists() else next(each for each in further if not each.exists())


def put_in_place(fresh: Path, target: Path, aside: Path) -> bool:
    """Give a file its name, durably, and put aside what had it, with its logs; whether there was anything."""
    old = [
        each for each in (target, *(target.with_name(target.name + end) for end in _BESIDE)) if each.exists()
    ]
    if old:
        aside.mkdir(mode=0o700, parents=True)
        # The logs first: beside a new file they would be poison to it.
        for each in reversed(old):
            each.rename(aside / each.name)
        sync(aside)
    fresh.rename(target)
    sync(target.parent)
    return bool(old)


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=_TIMEOUT_S)
    with contextlib.suppress(sqlite3.Error):
        connection.execute("PRAGMA query_only=ON")
    return connection


def _count(connection: sqlite3.Connection, table: str) -> int:
    quoted = table.replace('"', '""')
    found: int = connection.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()[0]  # noqa: S608 - of sqlite_master
    return found


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, durable."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
