"""The system calls that the spool's promise rests on, behind a port, so that each can be made to fail or to kill.

Only the calls of a commit are here. What a crash in the middle of any other call leaves does not matter.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Protocol

Buffer = bytes | bytearray | memoryview

_FULL_SYNC = 51  # F_FULLFSYNC: on macOS fsync stops at the drive's cache


class Operations(Protocol):
    """What a commit asks of the operating system; every method raises OSError."""

    def create(self, path: str) -> int:
        """A new file, for this user only; a descriptor to write to."""

    def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int) -> int:
        """Write at an offset; how many bytes were written, perhaps fewer than asked."""

    def begin_writing(self, fd: int) -> None:
        """Let the disk begin with what is written, without waiting for it."""

    def sync_data(self, fd: int) -> None:
        """Data, and the size that is needed to read it back, on stable storage."""

    def truncate(self, fd: int, size: int) -> None:
        """Cut a file off at its new size, which need not be durable."""

    def close(self, fd: int) -> None:
        """Give the descriptor back."""

    def rename(self, source: str, target: str) -> None:
        """Give a file its final name."""

    def sync_directory(self, fd: int) -> None:
        """The names in a directory, on stable storage."""

    def unlink(self, path: str) -> None:
        """Take a name away."""


class OperatingSystem:
    """The calls themselves."""

    def create(self, path: str) -> int:
        """See `Operations`."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int) -> int:
        """See `Operations`."""
        return os.pwritev(fd, buffers, offset)

    def begin_writing(self, fd: int) -> None:
        """See `Operations`."""
        if hasattr(os, "posix_fadvise"):
            # What Linux does with pages that are not to be kept: it begins to write those that are dirty.
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def sync_data(self, fd: int) -> None:
        """See `Operations`."""
        if sys.platform == "darwin":
            _full_sync(fd)
        else:
            os.fdatasync(fd)

    def truncate(self, fd: int, size: int) -> None:
        """See `Operations`."""
        os.ftruncate(fd, size)

    def close(self, fd: int) -> None:
        """See `Operations`."""
        os.close(fd)

    def rename(self, source: str, target: str) -> None:
        """See `Operations`."""
        os.rename(source, target)  # noqa: PTH104  # by name: the writer keeps strings, not paths

    def sync_directory(self, fd: int) -> None:
        """See `Operations`."""
        if sys.platform == "darwin":
            _full_sync(fd)
        else:
            os.fsync(fd)

    def unlink(self, path: str) -> None:
        """See `Operations`."""
        os.unlink(path)  # noqa: PTH108


def _full_sync(fd: int) -> None:
    import fcntl  # noqa: PLC0415

    fcntl.fcntl(fd, _FULL_SYNC)


def sync_path(path: str | os.PathLike[str]) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        OperatingSystem().sync_directory(fd)
    finally:
        os.close(fd)
