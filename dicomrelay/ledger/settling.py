"""The end of a SQLite database's log: written into the file and removed, once nobody has it open any more."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from dicomrelay.log import get_logger

_WAIT_S = 1.0
_log = get_logger("dicomrelay.ledger")


def settle(files: Iterable[Path]) -> None:
    """Let SQLite write the logs beside these files into them, and remove them.

    A process that ends without closing its connections leaves the log to the next one that opens the file, and what is
    on a read-only file system then is nobody's to open (sqlite.org/wal.html). No data is at risk either way: what does not
    succeed, as while somebody else has the file open, is left as it is.
    """
    for file in files:
        if not file.is_file() or not file.with_name(f"{file.name}-wal").exists():
            continue
        try:
            with closing(sqlite3.connect(file, timeout=_WAIT_S)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            _log.warning("a database's log stays beside it", file=file.name, reason=str(error))
