"""Makes copies for a batch: a folder that is ours alone, and a child process that does the work."""

from __future__ import annotations

import fcntl
import itertools
import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from errno import ENOSPC
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from dicomrelay.errors import NotTranscodable
from dicomrelay.transcode.process import Child, ChildGoneError
from dicomrelay.transcode.values import Copy, Source, TranscodeLimits

# A copy may lie beside an intermediate form of itself.
_FILES_AT_ONCE: Final = 2


class Workshop:
    """Copies of instances in other transfer syntaxes. Not for several threads at once.

    As a context manager it ends the child and removes the folder, whatever happened. What a process leaves behind
    that is killed, the next workshop in the same place removes.

    Parameters
    ----------
    place : Path
        Where the folder is made; made itself when it is missing.
    limits : TranscodeLimits
    """

    # What the child process runs.
    module: ClassVar[str] = "dicomrelay.transcode.child"
    # What people call it.
    maker: ClassVar[str] = "the decoder"

    def __init__(self, place: Path, limits: TranscodeLimits | None = None) -> None:
        self._place = place
        self._limits = limits or TranscodeLimits()
        self._child: Child | None = None
        self._folder: Path | None = None
        self._lock = -1
        self._names = itertools.count()

    def copy(
        self, source: Source, transfer_syntax_uid: str, *, waiting: Callable[[], None] = lambda: None
    ) -> Copy:
        """Make a copy; `discard` it when it was sent.

        Parameters
        ----------
        waiting : callable
            Called about once a second.

        Raises
        ------
        NotTranscodable
            It cannot be done without loss or within the limits, or the decoder died over it.
        OSError
            A file cannot be read, or there is no room for the copy.
        """
        path = self.new_path("dcm")
        asked = {
            "source": str(source.path),
            "offset": source.offset,
            "length": source.length,
            "from": source.transfer_syntax_uid,
            "to": transfer_syntax_uid,
        }
        answer = self.ask(asked, path, reads_bytes=source.length, waiting=waiting)
        return Copy(path, answer["length"], answer["digest"], transfer_syntax_uid)

    def new_path(self, suffix: str) -> Path:
        """Where the next file goes. Raises OSError."""
        return self._ready() / f"{next(self._names)}.{suffix}"

    def ask(
        self,
        asked: dict[str, Any],
        path: Path,
        *,
        reads_bytes: int,
        waiting: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """Have the child make the file at `path`, which is not there afterwards when it did not. Raises as `copy`."""
        seconds = self._limits.seconds + reads_bytes * 10 / self._limits.bytes_per_second
        made = False
        try:
            line = {**asked, "copy": str(path), "most": self._room()}
            try:
                answer = self._child_now().ask(line, seconds, waiting)
            except ChildGoneError:
                # Killed while it had nothing to do, as by a kernel that is short of memory.
                self._end_child()
                answer = self._child_now().ask(line, seconds, waiting)
            made = "length" in answer
        except BaseException:
            self._end_child()
            raise
        finally:
            if not made:
                self._remove(path)
        if "refused" in answer:
            raise NotTranscodable(answer["refused"])
        if "words" in answer:
            raise OSError(answer["errno"], answer["words"])
        return answer

    def discard(self, copy: Copy) -> None:
        """Remove a copy; one that cannot be removed now goes with the folder."""
        self._remove(copy.path)

    def close(self) -> None:
        """End the child, and remove what is left."""
        self._end_child()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._folder = None

    def _child_now(self) -> Child:
        if self._child is None:
            self._child = Child(self.module, self._limits, self.maker)
        return self._child

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ready(self) -> Path:
        """Our folder, made when it is first needed, and again when somebody removed it; dead ones of others go then."""
        if self._folder is not None and os.fstat(self._lock).st_nlink == 0:
            os.close(self._lock)
            self._folder = None
        if self._folder is None:
            self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
            sweep(self._place)
            folder, lock = None, -1
            while lock < 0:  # another's sweep may take it away before it is locked
                folder = self._place / f"{os.getpid()}-{secrets.token_hex(4)}"
                folder.mkdir(mode=0o700)
                lock = _locked(folder)
            self._folder, self._lock = folder, lock
        assert self._folder is not None  # noqa: S101 - for the type checker
        return self._folder

    def _room(self) -> int:
        """Bytes that one file may have."""
        free = shutil.disk_usage(self._place).free - self._limits.min_free_bytes
        if free <= 0:
            raise OSError(ENOSPC, "no room for a copy")
        return min(free // _FILES_AT_ONCE, self._limits.max_bytes)

    @staticmethod
    def _remove(path: Path) -> None:
        for each in (path, path.with_suffix(".plain"), path.with_suffix(".inflated")):
            with suppress(OSError):  # the folder goes at the end, or the next sweep takes it
                each.unlink(missing_ok=True)


def sweep(place: Path) -> int:
    """Remove what dead processes left behind; how many folders."""
    count = 0
    with suppress(OSError):  # not there, or not ours: a later one tries again
        for folder in place.iterdir():
            lock = _locked(folder)
            if lock >= 0:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
                count += 1
    return count


def _locked(folder: Path) -> int:
    """A descriptor that holds the lock of a folder; -1 when another process holds it, or it is gone."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if folder.stat().st_ino == os.fstat(lock).st_ino:
            return lock
    except OSError:
        pass
    os.close(lock)
    return -1
