"""System calls that fail, that kill, and a disk that loses its power; and items to write with them."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dicomrelay.dicom.scan import Header
from dicomrelay.spool import Provenance, Spool, SpoolRecord, SpoolWriter, items
from dicomrelay.spool.operations import Buffer, OperatingSystem
from tests.support.data_sets import CT_IMAGE_STORAGE, ENCODERS, EXPLICIT

FROM_MODALITY = Provenance("MODALITY", "DICOMRELAY", "10.0.0.7", "a1", 1_700_000_000_000)
HEADER = Header(CT_IMAGE_STORAGE, "1.2.3", "1.2.3.4", "1.2.3.4.5", "CT")
DATA_SET = ENCODERS[EXPLICIT].identity() + ENCODERS[EXPLICIT].element(
    0x7FE00010, b"OW", bytes(range(256)) * 40
)
OPERATIONS = ("create", "pwritev", "sync_data", "close", "rename", "sync_directory", "unlink")


def begin(spool: Spool, **changes: object) -> SpoolWriter:
    """A writer for an instance from a modality."""
    values: dict[str, object] = {
        "sop_class_uid": CT_IMAGE_STORAGE,
        "sop_instance_uid": "1.2.3",
        "transfer_syntax_uid": EXPLICIT,
        "provenance": FROM_MODALITY,
        **changes,
    }
    return spool.writer(**values)  # type: ignore[arg-type]


def store(spool: Spool, data_set: bytes = DATA_SET, **changes: object) -> SpoolRecord:
    """Write and commit one instance, in two pieces."""
    writer = begin(spool, **changes)
    writer.write([memoryview(data_set)[:100], memoryview(data_set)[100:]])
    return writer.commit(HEADER)


def unreadable(patch: pytest.MonkeyPatch, stem: str, error: int = errno.EMFILE) -> None:
    """Let the file of that name, without suffix, fail to open."""
    really = Path.open

    def refuse(self: Path, *args: Any, **options: Any) -> Any:
        if self.stem == stem:
            raise OSError(error, os.strerror(error), str(self))
        return really(self, *args, **options)

    patch.setattr(Path, "open", refuse)


def count_listings(patch: pytest.MonkeyPatch) -> list[str]:
    """The names of the directories that are listed from now on."""
    really, listed = os.scandir, list[str]()

    def scandir(path: Path) -> Any:
        listed.append(path.name)
        return really(path)

    patch.setattr(items.os, "scandir", scandir)
    return listed


def count_entries(patch: pytest.MonkeyPatch) -> list[str]:
    """The names that are taken from listings from now on."""
    really, taken = os.scandir, list[str]()

    @contextmanager
    def scandir(path: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
        with really(path) as entries:
            yield (entry for entry in entries if not taken.append(entry.name))  # type: ignore[func-returns-value]

    patch.setattr(items.os, "scandir", scandir)
    return taken


class Faulty(OperatingSystem):
    """Fails, or is killed, at the k-th call; counts from 1.

    Parameters
    ----------
    fail_with : int
        An errno; 0 for none.
    kill : str
        "before" or "after" the call is made; "" for not.
    """

    def __init__(self, at: int = 0, *, fail_with: int = 0, kill: str = "") -> None:
        self.calls: list[str] = []
        self._at = at
        self._fail_with = fail_with
        self._kill = kill

    def _step(self, name: str) -> bool:
        """Count; raise or die if this is the one; whether to die after the call."""
        self.calls.append(name)
        if len(self.calls) != self._at:
            return False
        if self._fail_with:
            raise OSError(self._fail_with, os.strerror(self._fail_with))
        if self._kill == "before":
            die()
        return self._kill == "after"

    def create(self, path: str) -> int:
        last = self._step("create")
        fd = super().create(path)
        return fd if not last else die()

    def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int) -> int:
        last = self._step("pwritev")
        written = super().pwritev(fd, buffers, offset)
        return written if not last else die()

    def sync_data(self, fd: int) -> None:
        last = self._step("sync_data")
        super().sync_data(fd)
        if last:
            die()

    def begin_writing(self, fd: int) -> None:
        last = self._step("begin_writing")
        super().begin_writing(fd)
        if last:
            die()

    def truncate(self, fd: int, size: int) -> None:
        last = self._step("truncate")
        super().truncate(fd, size)
        if last:
            die()

    def close(self, fd: int) -> None:
        last = self._step("close")
        super().close(fd)
        if last:
            die()

    def rename(self, source: str, target: str) -> None:
        last = self._step("rename")
        super().rename(source, target)
        if last:
            die()

    def sync_directory(self, fd: int) -> None:
        last = self._step("sync_directory")
        super().sync_directory(fd)
        if last:
            die()

    def unlink(self, path: str) -> None:
        last = self._step("unlink")
        super().unlink(path)
        if last:
            die()


def die() -> int:
    """Kill this process, as nobody can prevent."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


class PowerCut(BaseException):
    """The power is gone; nothing in the program can handle it."""


@dataclass
class _File:
    written: bytearray = field(default_factory=bytearray)
    durable: bytes = b""


class UnpoweredDisk:
    """A disk in memory that keeps only what was flushed, and loses its power at the k-th call.

    Data is durable by `sync_data`, names by `sync_directory`; what was not flushed may be there or not, and `after`
    gives both.
    """

    def __init__(self, at: int) -> None:
        self._at = at
        self._calls = 0
        self._open: dict[int, _File] = {}
        self._names: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}

    def _step(self) -> None:
        self._calls += 1
        if self._calls == self._at:
            raise PowerCut

    def create(self, path: str) -> int:
        self._step()
        fd = 1_000_000 + self._calls
        self._open[fd] = self._names[path] = _File()
        return fd

    def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int) -> int:
        self._step()
        data = b"".join(bytes(buffer) for buffer in buffers)
        written = self._open[fd].written
        written.extend(bytes(max(0, offset + len(data) - len(written))))
        written[offset : offset + len(data)] = data
        return len(data)

    def begin_writing(self, fd: int) -> None:
        self._step()

    def truncate(self, fd: int, size: int) -> None:
        self._step()
        del self._open[fd].written[size:]

    def sync_data(self, fd: int) -> None:
        self._step()
        self._open[fd].durable = bytes(self._open[fd].written)

    def close(self, fd: int) -> None:
        self._step()
        del self._open[fd]

    def rename(self, source: str, target: str) -> None:
        self._step()
        self._names[target] = self._names.pop(source)

    def sync_directory(self, fd: int) -> None:
        self._step()
        self._durable_names = dict(self._names)

    def unlink(self, path: str) -> None:
        self._step()
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        del self._names[path]

    def after(self, folder: Path, *, names: str) -> None:
        """Write what the disk holds when the power is back: the `durable` names, or the `latest`, and durable data."""
        for path, file in (self._durable_names if names == "durable" else self._names).items():
            (folder / Path(path).name).write_bytes(file.durable)
