"""Group commit of a directory: one fsync makes the names of many threads durable.

A thread that has renamed its file needs an fsync that *begins* after the rename. While one runs, those who come wait,
and the first of them to wake leads the next, for all.
"""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

from dicomrelay.errors import SpoolError
from dicomrelay.spool.operations import Operations


class DirectorySync:
    """Shares the fsyncs of one directory among the threads of a process.

    Parameters
    ----------
    path : Path
        The directory; held open until `close`.
    """

    def __init__(self, path: Path, operations: Operations) -> None:
        self._path = path
        self._operations = operations
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._changed = threading.Condition(threading.Lock())
        self._began = 0  # number of the last fsync that began
        self._ended = 0  # number of the last that ended, or was skipped
        self._failures: dict[int, OSError] = {}

    def sync(self) -> None:
        """Return once every rename made before this call is durable.

        Raises
        ------
        SpoolError
            It is not, and never will be: a failed fsync is not tried again.
        """
        with self._changed:
            mine = self._began + 1
            while self._ended < mine and not self._may_lead(mine):
                self._changed.wait()
            leads = self._ended < mine
            if leads:
                self._began = mine
        if leads:
            self._lead(mine)
        failure = self._failures.get(mine)
        if failure is not None:
            raise SpoolError(f"{self._path}: fsync failed: {failure.strerror}") from failure

    def _may_lead(self, mine: int) -> bool:
        return self._began == self._ended and mine == self._began + 1

    def _lead(self, mine: int) -> None:
        failure: OSError | None = OSError(errno.EINTR, "interrupted")
        try:
            self._operations.sync_directory(self._fd)
            failure = None
        except OSError as error:
            failure = error
        finally:
            self._end(mine, failure)

    def _end(self, mine: int, failure: OSError | None) -> None:
        with self._changed:
            if failure is not None:
                # Those who wait for the next one renamed before this one ended. The kernel may have thrown their
                # names away with the rest and would say yes to the next: they fail too, and its number is skipped.
                self._failures[mine] = self._failures[mine + 1] = failure
                self._began = mine + 1
            self._ended = self._began
            self._changed.notify_all()

    def close(self) -> None:
        """Give the descriptor back, once; no thread may be in `sync`."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
