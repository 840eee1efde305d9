"""Names that are durable before anything stands under them: one fsync of the directory for many items.

An item is written into a file of the reserve, so when its data is flushed nothing is left to flush (docs/design/spool.md).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

from dicomrelay.errors import SpoolError
from dicomrelay.spool.directory_sync import DirectorySync
from dicomrelay.spool.layout import PART
from dicomrelay.spool.operations import Operations

# As many files as wait at most, open and empty, for the next items of a process.
MAX_RESERVED: Final = 32


class ReservedFile(NamedTuple):
    """An empty file, open for writing, whose name survives a power cut."""

    fd: int
    path: str


class Reserve:
    """The reserve of one writer. Safe for many threads.

    Parameters
    ----------
    folder : str
        Where items are written.
    next_id : callable
        Makes the names.
    names : DirectorySync
        Of that folder.
    at_most : int
        Files to have ready, 1 or more. It begins with one and doubles, so a short job reserves little.
    """

    def __init__(
        self,
        folder: str,
        next_id: Callable[[], str],
        *,
        operations: Operations,
        names: DirectorySync,
        at_most: int = MAX_RESERVED,
    ) -> None:
        self._folder = folder
        self._next_id = next_id
        self._operations = operations
        self._names = names
        self._at_most = at_most
        self._count = 1
        self._lock = threading.Lock()
        self._files: deque[ReservedFile] = deque()

    def take(self) -> ReservedFile:
        """A file; the caller's from now on.

        Raises
        ------
        OSError
            No file can be made.
        SpoolError
            Its name cannot be made durable. In both cases nothing is left of it.
        """
        with self._lock:
            if not self._files:
                self._refill()
            return self._files.popleft()

    def _refill(self) -> None:
        made: list[ReservedFile] = []
        try:
            for _ in range(self._count):
                path = f"{self._folder}/{self._next_id()}{PART}"
                made.append(ReservedFile(self._operations.create(path), path))
        except OSError:
            if not made:
                raise
        try:
            self._names.sync()
        except SpoolError:
            self._discard(made)
            raise
        self._files.extend(made)
        self._count = min(2 * len(made), self._at_most)

    def close(self) -> None:
        """Take away what was not needed."""
        with self._lock:
            self._discard(self._files)
            self._files.clear()

    def _discard(self, files: list[ReservedFile] | deque[ReservedFile]) -> None:
        # What cannot be removed is empty, and swept at the next start.
        for file in files:
            with suppress(OSError):
                self._operations.close(file.fd)
            with suppress(OSError):
                self._operations.unlink(file.path)
