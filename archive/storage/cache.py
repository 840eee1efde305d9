"""Local copies of objects that are kept elsewhere: bounded by bytes, those used longest ago first out.

Several processes share one folder. A file appears whole, by rename; who reads one holds a shared lock on it, and who makes
room leaves locked ones alone. Nothing here is needed: all of it may be deleted at any time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from archive.disk import new_file, temporary_name

# How much of the bound one process may bring in before it looks at what all have, and how much it leaves then: eight
# processes together stay under the bound.
_LOOK_SHARE: Final = 1 / 32
_LEAVE_SHARE: Final = 3 / 4
# Nobody fetches a file for so long: whoever began it is dead.
_PART_S: Final = 3600.0
_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    size_bytes: int
    used_s: float


class Cache:
    """A folder of fetched files.

    Parameters
    ----------
    folder : Path
        Made when it is first needed, for our user only.
    max_bytes : int
        What it holds at most; a single file may be larger, and goes first.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        # The first file makes this process look: another may have left the cache full.
        self._brought_in = max_bytes

    def path(self, key: str, digest: str, fill: Callable[[BinaryIO], None]) -> Path:
        """A file with the bytes of a key, filled when it is not there. It may go once others are used.

        Parameters
        ----------
        fill : callable
            Writes the bytes; whatever it raises, nothing is left.
        """
        path = self._name(key, digest)
        if not self._touch(path):
            self._bring_in(path, fill)
        return path

    @contextmanager
    def holding(self, key: str, digest: str, fill: Callable[[BinaryIO], None]) -> Iterator[Path]:
        """The same; the file stays until the block ends."""
        path = self._name(key, digest)
        descriptor = self._open_held(path, fill)
        try:
            yield path
        finally:
            os.close(descriptor)

    def forget(self, key: str, digest: str) -> None:
        """Remove a file; one that is not there is fine."""
        self._name(key, digest).unlink(missing_ok=True)

    def make_room(self, more_bytes: int = 0) -> int:
        """Remove what was used longest ago until three quarters of the bound are left, with so much more in it.

        Returns
        -------
        int
            How many bytes are there afterwards.
        """
        entries = sorted(self._entries(), key=lambda entry: entry.used_s)
        total = sum(entry.size_bytes for entry in entries)
        wanted = max(0, int(self._max_bytes * _LEAVE_SHARE) - more_bytes)
        for entry in entries:
            if total <= wanted:
                break
            if _remove_unless_held(entry.path):
                total -= entry.size_bytes
        return total

    def _name(self, key: str, digest: str) -> Path:
        """No part of a key is in it: keys have the id of the patient."""
        name = hashlib.sha256(f"{key}\0{digest}".encode("utf-8", "surrogateescape")).hexdigest()[:40]
        return self._folder / f"{name}.dcm"

    @staticmethod
    def _touch(path: Path) -> bool:
        """Say that it is used now; False when it is not there."""
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        return True

    def _open_held(self, path: Path, fill: Callable[[BinaryIO], None]) -> int:
        for _ in range(_TRIES):
            if not self._touch(path):
                self._bring_in(path, fill)
            with suppress(FileNotFoundError):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                # It may have been removed before it was locked.
                if os.fstat(descriptor).st_nlink:
                    return descriptor
                os.close(descriptor)
        raise FileNotFoundError(
            f"{path.name} is removed from the cache as fast as it is fetched: is it too small?"
        )

    def _bring_in(self, path: Path, fill: Callable[[BinaryIO], None]) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = temporary_name(path)
        try:
            with new_file(temporary) as file:
                fill(file)
                size = file.tell()
            self._account(size)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def _account(self, size: int) -> None:
        with self._lock:
            self._brought_in += size
            if self._brought_in >= self._max_bytes * _LOOK_SHARE:
                # What was fetched lies there already, under its temporary name, and is counted.
                self.make_room()
                self._brought_in = 0

    def _entries(self) -> Iterator[_Entry]:
        try:
            with os.scandir(self._folder) as found:
                here = list(found)
        except FileNotFoundError:
            return
        for entry in here:
            with suppress(FileNotFoundError):
                state = entry.stat(follow_symlinks=False)
                path = Path(entry.path)
                if entry.name.endswith(".part"):
                    if time.time() - state.st_mtime > _PART_S:
                        path.unlink(missing_ok=True)
                        continue
                    # Somebody is at it: counted, and the last to go.
                    yield _Entry(path, state.st_size, float("inf"))
                else:
                    yield _Entry(path, state.st_size, state.st_mtime)


def _remove_unless_held(path: Path) -> bool:
    """Whether it is gone now."""
    if path.name.endswith(".part"):
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
