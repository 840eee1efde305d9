"""Every boundary between two system calls of a commit: errors, kill -9, and a power cut at each.

Nothing acknowledged is lost, nothing half written is shown, and an error never becomes a Success.
"""

from __future__ import annotations

import errno
import hashlib
import os
from contextlib import suppress
from pathlib import Path

import pytest

from dicomrelay.errors import SpoolError, SpoolFull
from dicomrelay.spool import Spool, SpoolRecord
from tests.support.data_sets import EXPLICIT
from tests.support.spool import (
    DATA_SET,
    FROM_MODALITY,
    HEADER,
    Faulty,
    PowerCut,
    UnpoweredDisk,
    begin,
    store,
)

# A name is made durable first, here for one item at a time. The second pwritev writes file meta and record.
CALLS = ["create", "sync_directory", "pwritev", "pwritev", "sync_data", "close", "rename"]
DATA, HEAD = 3, 4
# Of a reference only the record is written, and its name is made durable at the end.
REFERENCE_CALLS = ["create", "pwritev", "sync_data", "close", "rename", "sync_directory"]


def test_a_commit_makes_these_calls_in_this_order(tmp_path: Path) -> None:
    """The order is the promise: a durable name, then durable data under it, then the answer."""
    operations = Faulty()
    store(Spool(tmp_path / "spool", operations=operations))
    assert operations.calls == CALLS


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize("at", range(1, len(CALLS) + 1))
def test_an_error_in_any_call_refuses_the_instance_and_leaves_nothing(
    tmp_path: Path, at: int, code: int
) -> None:
    """SpoolFull for want of room, SpoolError otherwise; the next instance is taken as if nothing had been."""
    operations = Faulty(at, fail_with=code)
    spool = Spool(tmp_path / "spool", operations=operations)
    with pytest.raises(SpoolError) as caught:
        store(spool)
    no_room = code in {errno.ENOSPC, errno.EDQUOT} and CALLS[at - 1] != "sync_directory"
    assert isinstance(caught.value, SpoolFull) == no_room
    assert os.strerror(code) in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert list((tmp_path / "spool" / "new").iterdir()) == []
    assert spool.verify(store(spool).id)


@pytest.mark.parametrize("call", ["sync_data", "sync_directory"])
def test_a_failed_fsync_is_never_tried_again(tmp_path: Path, call: str) -> None:
    """The kernel may have dropped the pages, and would say yes the second time."""
    operations = Faulty(CALLS.index(call) + 1, fail_with=errno.EIO)
    with pytest.raises(SpoolError):
        store(Spool(tmp_path / "spool", operations=operations))
    assert operations.calls.count(call) == 1


def test_abandoning_after_an_error_is_harmless(tmp_path: Path) -> None:
    """Whoever holds a writer may always abandon it."""
    spool = Spool(tmp_path / "spool", operations=Faulty(DATA, fail_with=errno.EIO))
    writer = begin(spool)
    with pytest.raises(SpoolError):
        writer.write([DATA_SET])
    writer.abandon()
    writer.abandon()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", range(1, len(CALLS) + 1))
def test_kill_9_at_any_call_loses_nothing_acknowledged(tmp_path: Path, at: int, when: str) -> None:
    """A child commits one instance, is killed in the second; its successor finds the first whole, and no leftovers."""
    root = tmp_path / "spool"
    acknowledged = _killed_child(root, at, when)
    assert len(acknowledged) == 1
    spool = Spool(root)
    recovery = spool.recover()
    found = [record.id for record in spool.arrivals(10)]
    assert set(acknowledged) <= set(found)
    for item_id in found:
        spool.verify(item_id)
    # Once its head is written it is whole, and there though nobody was told.
    whole = at > HEAD or (at == HEAD and when == "after")
    assert len(found) == 1 + whole
    assert recovery.waiting == 1 + whole
    begun = at > DATA or (at == DATA and when == "after")
    assert recovery.swept == (begun and not whole)
    assert not list((root / "new").glob("*.part"))
    assert not any((root / "corrupt").iterdir())


def _killed_child(root: Path, at: int, when: str) -> list[str]:
    """What a child had acknowledged when it was killed at the `at`-th call of its second commit."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read_end)
            spool = Spool(root, operations=Faulty(len(CALLS) + at, kill=when), max_reserved=1)
            for _ in range(2):
                os.write(write_end, store(spool).id.encode() + b"\n")
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        acknowledged = pipe.read().split()
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    return acknowledged


@pytest.mark.parametrize("names", ["durable", "latest"])
@pytest.mark.parametrize("reserved", [1, 32])
@pytest.mark.parametrize("at", range(1, 3 * len(CALLS) + 2))
def test_a_power_cut_at_any_call_loses_nothing_acknowledged(
    tmp_path: Path, at: int, reserved: int, names: str
) -> None:
    """Only what was flushed is left; names that were not may be the old or the new ones."""
    disk = UnpoweredDisk(at)
    spool = Spool(tmp_path / "spool", operations=disk, max_reserved=reserved)
    acknowledged = []
    with suppress(PowerCut):
        for _ in range(3):
            acknowledged.append(store(spool).id)  # noqa: PERF401 - those before the cut count
    after = Spool(tmp_path / "after")
    disk.after(tmp_path / "after" / "new", names=names)
    after.recover()
    found = [record.id for record in after.arrivals(10)]
    assert set(acknowledged) <= set(found)
    for item_id in found:
        after.verify(item_id)
    assert not any((tmp_path / "after" / "corrupt").iterdir())


@pytest.mark.parametrize("call", ["sync_directory", "sync_data"])
def test_the_model_of_the_disk_sees_an_answer_before_the_flush(tmp_path: Path, call: str) -> None:
    """The negative control: with either flush left out, the acknowledged item is gone."""

    class Careless(UnpoweredDisk):
        def sync_directory(self, fd: int) -> None:
            if call != "sync_directory":
                super().sync_directory(fd)

        def sync_data(self, fd: int) -> None:
            if call != "sync_data":
                super().sync_data(fd)

    disk = Careless(at=0)
    item_id = store(Spool(tmp_path / "spool", operations=disk)).id
    after = Spool(tmp_path / "after")
    disk.after(tmp_path / "after" / "new", names="durable")
    after.recover()
    assert item_id not in [record.id for record in after.arrivals(10)]


def _refer(spool: Spool, file: Path) -> SpoolRecord:
    """Commit a reference to a file that stays where it lies, and is safe there."""
    file.write_bytes(DATA_SET)
    return spool.add_reference(
        file,
        header=HEADER,
        transfer_syntax_uid=EXPLICIT,
        data_set_offset=0,
        data_set_bytes=len(DATA_SET),
        digest=hashlib.sha256(DATA_SET).hexdigest(),
        provenance=FROM_MODALITY,
    )


def test_a_reference_is_committed_by_these_calls_in_this_order(tmp_path: Path) -> None:
    """As durably as an item: its record, then its name, then the answer."""
    operations = Faulty()
    _refer(Spool(tmp_path / "spool", operations=operations), tmp_path / "mine.dcm")
    assert operations.calls == REFERENCE_CALLS


@pytest.mark.parametrize("at", range(1, len(REFERENCE_CALLS) + 1))
def test_an_error_in_any_call_of_a_reference_refuses_it_and_leaves_nothing(tmp_path: Path, at: int) -> None:
    """Whoever named the file is told, and names it again."""
    operations = Faulty(at, fail_with=errno.EIO)
    spool = Spool(tmp_path / "spool", operations=operations)
    with pytest.raises(SpoolError, match=os.strerror(errno.EIO)):
        _refer(spool, tmp_path / "mine.dcm")
    assert list((tmp_path / "spool" / "new").iterdir()) == []
    assert spool.verify(_refer(spool, tmp_path / "mine.dcm").id)


@pytest.mark.parametrize("names", ["durable", "latest"])
@pytest.mark.parametrize("at", range(1, 2 * len(REFERENCE_CALLS) + 2))
def test_a_power_cut_at_any_call_loses_no_reference_that_was_answered(
    tmp_path: Path, at: int, names: str
) -> None:
    """The same model of the disk; the user's own file is on another, that kept its power."""
    disk = UnpoweredDisk(at)
    spool = Spool(tmp_path / "spool", operations=disk)
    acknowledged = []
    with suppress(PowerCut):
        acknowledged.append(_refer(spool, tmp_path / "mine.dcm").id)
        acknowledged.append(_refer(spool, tmp_path / "mine.dcm").id)
    after = Spool(tmp_path / "after")
    disk.after(tmp_path / "after" / "new", names=names)
    after.recover()
    found = [record.id for record in after.arrivals(10)]
    assert set(acknowledged) <= set(found)
    for item_id in found:
        after.verify(item_id)
    assert not any((tmp_path / "after" / "corrupt").iterdir())
