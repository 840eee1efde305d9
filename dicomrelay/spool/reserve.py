"""Files that wait for the items to come: names that are durable before anything stands under them.

One fsync of the directory serves many names, and an item is written into a file of the reserve, so when its data is
flushed no name is left to flush. A reserve that works ahead also gives small files their blocks before: then the flush
of an item overwrites, and need not wait for the journal (docs/design/spool.md).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, NamedTuple

from dicomrelay.errors import SpoolError
from dicomrelay.spool.directory_sync import DirectorySync
from dicomrelay.spool.layout import PART
from dicomrelay.spool.operations import Operations

# As many files as wait at most, open, for the next items of a process.
MAX_RESERVED: Final = 32
# Above it zeros would cost more to write than their blocks save.
MAX_READY_BYTES: Final = 65_536
_BLOCK_BYTES: Final = 4096


class ReservedFile(NamedTuple):
    """A file, open for writing, whose name survives a power cut; its first `ready_bytes` are zeros with blocks on the disk."""

    fd: int
    path: str
    ready_bytes: int


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
    gives_blocks : bool
        Give files zeros as long as the last item was, when that was small.
    works_ahead : bool
        Refill from a thread of its own.
    """

    def __init__(
        self,
        folder: str,
        next_id: Callable[[], str],
        *,
        operations: Operations,
        names: DirectorySync,
        at_most: int = MAX_RESERVED,
        gives_blocks: bool = False,
        works_ahead: bool = False,
    ) -> None:
        self._folder = folder
        self._next_id = next_id
        self._operations = operations
        self._names = names
        self._at_most = at_most
        self._count = 1
        self._ready_bytes = 0
        self._lock = threading.Lock()
        self._files: deque[ReservedFile] = deque()
        self._wanted = threading.Condition(self._lock)
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self._gives_blocks = gives_blocks
        self._works_ahead = works_ahead

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
            file = self._files.popleft()
            if self._works_ahead and len(self._files) <= self._count // 2:
                self._work_ahead()
            return file

    def _refill(self) -> None:
        if self._thread is not None:  # it is at work, and one is all that we need now
            self._files.extend(self._make(1))
            return
        made = self._make(self._count)
        self._files.extend(made)
        self._count = min(2 * len(made), self._at_most)

    def used(self, size: int) -> None:
        """An item took so many bytes, its head with them: the next will be like it."""
        if size <= MAX_READY_BYTES:
            self._ready_bytes = -(-size // _BLOCK_BYTES) * _BLOCK_BYTES
        else:
            self._ready_bytes = 0

    def close(self) -> None:
        """Take away what was not needed."""
        with self._lock:
            self._is_closed = True
            self._wanted.notify()
            thread = self._thread
        if thread is not None:
            thread.join()
        with self._lock:
            self._discard(self._files)
            self._files.clear()

    # ---- ahead of the items

    def _work_ahead(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="spool reserve", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread left: the reserve is refilled by those who need it
                self._works_ahead = False
                return
            self._thread = thread
        self._wanted.notify()

    def _run(self) -> None:
        while missing := self._await_need():
            try:
                made = self._make(missing)
            except (OSError, SpoolError):
                made = []  # whoever needs a file makes it, and is told why that fails
            with self._lock:
                self._files.extend(made)
                self._count = min(2 * self._count, self._at_most)
                if not made and not self._is_closed:
                    self._wanted.wait()

    def _await_need(self) -> int:
        """How many files are missing, when some are; 0 at the end."""
        with self._lock:
            while not self._is_closed and len(self._files) >= self._count:
                self._wanted.wait()
            return 0 if self._is_closed else self._count - len(self._files)

    # ---- files

    def _make(self, count: int) -> list[ReservedFile]:
        """At least one, at most `count`, with durable names."""
        ready_bytes = self._ready_bytes if self._gives_blocks else 0
        made: list[ReservedFile] = []
        try:
            for _ in range(count):
                path = f"{self._folder}/{self._next_id()}{PART}"
                made.append(ReservedFile(self._operations.create(path), path, ready_bytes))
        except OSError:
            if not made:
                raise
        try:
            if ready_bytes:
                self._give_blocks(made, bytes(ready_bytes))
            self._names.sync()
        except (OSError, SpoolError):
            self._discard(made)
            raise
        return made

    def _give_blocks(self, files: list[ReservedFile], zeros: bytes) -> None:
        for file in files:
            self._operations.pwritev(file.fd, [zeros], 0)
            self._operations.begin_writing(file.fd)
        # Those after the first find what it has waited for: all were given to the disk before.
        for file in files:
            self._operations.sync_data(file.fd)

    def _discard(self, files: Iterable[ReservedFile]) -> None:
        # What cannot be removed holds nothing, and is swept at the next start.
        for file in files:
            with suppress(OSError):
                self._operations.close(file.fd)
            with suppress(OSError):
                self._operations.unlink(file.path)
