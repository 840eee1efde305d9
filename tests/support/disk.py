"""A disk that fails on demand."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from dicomrelay.spool.operations import Buffer, OperatingSystem


class Disk(OperatingSystem):
    """The operating system, writing down what it is asked; fails where it is told to."""

    def __init__(self, failing: str = "", error: int = errno.EIO) -> None:
        self.calls: list[str] = []
        self.failing = failing
        self.error = error

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if call == self.failing:
            raise OSError(self.error, os.strerror(self.error))

    def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int) -> int:
        self._note("write" if offset else "head")
        return super().pwritev(fd, buffers, offset)

    def create(self, path: str) -> int:
        self._note("create")
        return super().create(path)

    def sync_data(self, fd: int) -> None:
        self._note("sync_data")
        super().sync_data(fd)

    def sync_directory(self, fd: int) -> None:
        self._note("sync_directory")
        super().sync_directory(fd)
