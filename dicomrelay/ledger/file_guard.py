"""Whether the file that SQLite has open is still the file of that name. It looks away when somebody removes its file."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path
from typing import Final

# What SQLite keeps beside a database: it belongs to one file, and is poison to another of the same name.
BESIDE: Final = ("-wal", "-shm")

_Identity = tuple[int, int]


class FileGuard:
    """Compares what was opened with what has the name now. One `stat` a look: some microseconds.

    A transaction on a file without a name succeeds, and is gone with the last process that has it open.

    Parameters
    ----------
    path : Path
        The database's file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: _Identity | None = None
        self._is_gone = False
        self._generation = 0
        self.was_replaced = False
        """Whether the file was removed or replaced since this was made."""

    def connected(self) -> None:
        """A connection was made: what has the name now is the file, unless one is known already."""
        with self._lock:
            self._known = self._known or _identity(self._path)

    def begin(self) -> tuple[int, str]:
        """The generation of the file, for `end`, and what became of it: "" as long as it is the one that was opened."""
        with self._lock:
            return self._generation, self._look()

    def end(self, generation: int) -> str:
        """What became of the file since `begin`."""
        with self._lock:
            return self._look() or ("was replaced" if generation != self._generation else "")

    def _look(self) -> str:
        if self._known is None:
            return ""
        found = _identity(self._path)
        # Once it is closed its number may be given to the next file: who saw it gone need not compare.
        if found == self._known and not self._is_gone:
            return ""
        self.was_replaced = True
        if found is None:
            self._is_gone = True
            return "was removed"
        self._known, self._is_gone = None, False
        self._generation += 1
        return "was replaced"


def make_room(path: Path) -> bool:
    """Before a database is made where there is none: put aside what an older one of that name left beside it.

    Processes that still have the old one open share `-shm` with whoever opens that name, and would count in each other's
    pages. The file is made, empty, under a lock: of several that come at once, one finds that it is not there.

    Returns
    -------
    bool
        Whether something was put aside.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    if path.exists():
        return False
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if path.exists():
            return False
        left = [path.with_name(path.name + suffix) for suffix in BESIDE]
        left = [each for each in left if each.exists()]
        if left:
            aside = path.parent / f"removed-{time.strftime('%Y%m%d-%H%M%S')}"
            aside.mkdir(mode=0o700, exist_ok=True)
            for each in left:
                each.rename(aside / each.name)
        path.touch(mode=0o600)
        return bool(left)
    finally:
        os.close(folder)


def _identity(path: Path) -> _Identity | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
