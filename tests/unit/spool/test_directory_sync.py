"""Group commit: who may rely on which fsync."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

from dicomrelay.errors import SpoolError
from dicomrelay.spool.directory_sync import DirectorySync
from dicomrelay.spool.operations import OperatingSystem


class Gated(OperatingSystem):
    """Each fsync waits until the test lets it go on."""

    def __init__(self, *, fail: frozenset[int] = frozenset()) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.count = 0
        self._fail = fail

    def sync_directory(self, fd: int) -> None:
        self.count += 1
        number = self.count
        self.begun.release()
        assert self.go_on.acquire(timeout=10)
        if number in self._fail:
            raise OSError(errno.EIO, "disk on fire")


class Caller(threading.Thread):
    """A thread in `sync`, and how it came out."""

    def __init__(self, names: DirectorySync) -> None:
        super().__init__(daemon=True)
        self._names = names
        self.error: SpoolError | None = None
        self.start()

    def run(self) -> None:
        try:
            self._names.sync()
        except SpoolError as error:
            self.error = error

    def ended(self) -> Caller:
        self.join(10)
        assert not self.is_alive()
        return self


def wait_for_waiters(names: DirectorySync, count: int) -> None:
    """Until so many threads wait for the next fsync."""
    while len(names._changed._waiters) < count:  # type: ignore[attr-defined]
        threading.Event().wait(0.001)


def test_those_who_come_while_one_runs_share_the_next(tmp_path: Path) -> None:
    """Ten threads, two fsyncs: the one that ran when nine came does not count for them."""
    operations = Gated()
    names = DirectorySync(tmp_path, operations)
    first = Caller(names)
    assert operations.begun.acquire(timeout=10)
    others = [Caller(names) for _ in range(9)]
    wait_for_waiters(names, 9)
    operations.go_on.release()
    assert first.ended().error is None
    assert operations.begun.acquire(timeout=10)
    assert all(other.is_alive() for other in others), "the first fsync may have begun before their renames"
    operations.go_on.release()
    assert [other.ended().error for other in others] == [None] * 9
    assert operations.count == 2


def test_a_failure_is_everybodys_who_renamed_before_it_ended(tmp_path: Path) -> None:
    """Leader and waiters fail, without a second fsync; who comes later has a new one."""
    operations = Gated(fail=frozenset({1}))
    names = DirectorySync(tmp_path, operations)
    first = Caller(names)
    assert operations.begun.acquire(timeout=10)
    others = [Caller(names) for _ in range(3)]
    wait_for_waiters(names, 3)
    operations.go_on.release()
    for caller in (first, *others):
        assert "disk on fire" in str(caller.ended().error)
    assert operations.count == 1
    operations.go_on.release()
    assert Caller(names).ended().error is None
    assert operations.count == 2


def test_alone_each_call_is_one_fsync(tmp_path: Path) -> None:
    """No waiting for company."""
    operations = Gated()
    names = DirectorySync(tmp_path, operations)
    for _ in range(3):
        operations.go_on.release()
        names.sync()
    assert operations.count == 3
    names.close()


def test_an_interrupted_leader_does_not_leave_the_others_waiting(tmp_path: Path) -> None:
    """Control-C in the middle of an fsync counts as its failure."""

    class Interrupted(OperatingSystem):
        def sync_directory(self, fd: int) -> None:
            raise KeyboardInterrupt

    names = DirectorySync(tmp_path, Interrupted())
    with pytest.raises(KeyboardInterrupt):
        names.sync()
    names._operations = OperatingSystem()
    names.sync()
