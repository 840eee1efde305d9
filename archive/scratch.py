"""A database file without a name, for what must be put in order and has no bound: gone with the process that made it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from dicomrelay.errors import ArchiveError

_CACHE_KIB: Final = 16 * 1024


@contextmanager
def scratch(script: str) -> Iterator[sqlite3.Connection]:
    """An empty database with the tables of a script, in the system's temporary folder, for one thread at a time.

    Raises
    ------
    ArchiveError
        The temporary folder takes no more; the message says so.
    """
    # The empty name: SQLite opens a file, and unlinks it at once (sqlite.org/inmemorydb.html).
    connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    try:
        connection.executescript(
            f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{_CACHE_KIB}; {script}"
        )
        yield connection
    except sqlite3.OperationalError as error:
        raise ArchiveError(
            f"the temporary folder cannot be used ({error}): make room there, or name another one in TMPDIR"
        ) from error
    finally:
        connection.close()
