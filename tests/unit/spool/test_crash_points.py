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


# Into a file that has its blocks: the second commit, whose reserve knows how long the first item was.
BLOCK_CALLS = [
    "create", "pwritev", "begin_writing", "sync_data", "sync_directory",
    "pwritev", "pwritev", "sync_data", "truncate", "close", "rename",
]  # fmt: skip


def test_an_item_in_ready_blocks_is_cut_to_its_size(tmp_path: Path) -> None:
    """Zeros are flushed before it comes; they are gone before anybody reads it."""
    operations = Faulty()
    spool = Spool(tmp_path / "spool", operations=operations, max_reserved=1, gives_blocks=True)
    store(spool)
    second = store(spool)
    assert operations.calls == CALLS + BLOCK_CALLS
    assert (tmp_path / "spool" / "new" / f"{second.id}.dcm").stat().st_size == 4096 + len(DATA_SET)
    assert spool.verify(second.id)


def test_an_item_longer_than_its_ready_blocks_is_whole(tmp_path: Path) -> None:
    """The next is not always like the last."""
    spool = Spool(tmp_path / "spool", max_reserved=1, gives_blocks=True)
    for data_set in (DATA_SET, DATA_SET * 5, DATA_SET * 20, DATA_SET):
        spool.verify(store(spool, data_set).id)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("at", range(1, len(BLOCK_CALLS) + 1))
def test_an_error_in_any_call_with_ready_blocks_refuses_the_instance_and_leaves_nothing(
    tmp_path: Path, at: int, code: int
) -> None:
    """As without them."""
    operations = Faulty(len(CALLS) + at, fail_with=code)
    spool = Spool(tmp_path / "spool", operations=operations, max_reserved=1, gives_blocks=True)
    first = store(spool)
    with pytest.raises(SpoolError):
        store(spool)
    assert [path.stem for path in (tmp_path / "spool" / "new").iterdir()] == [first.id]
    assert spool.verify(store(spool).id)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", range(1, len(BLOCK_CALLS) + 1))
def test_kill_9_at_any_call_with_ready_blocks_loses_nothing_acknowledged(
    tmp_path: Path, at: int, when: str
) -> None:
    """A head in place makes a whole item, whatever zeros stand behind it."""
    root = tmp_path / "spool"
    acknowledged = _killed_child(root, at, when, gives_blocks=True)
    assert len(acknowledged) == 1
    spool = Spool(root)
    spool.recover()
    found = [record.id for record in spool.arrivals(10)]
    head = BLOCK_CALLS.index("pwritev", 6) + 1
    assert len(found) == 1 + (at > head or (at == head and when == "after"))
    for item_id in found:
        spool.verify(item_id)
        assert (root / "new" / f"{item_id}.dcm").stat().st_size == 4096 + len(DATA_SET)
    assert not list((root / "new").glob("*.part"))
    assert not any((root / "corrupt").iterdir())


def _killed_child(root: Path, at: int, when: str, *, gives_blocks: bool = False) -> list[str]:
    """What a child had acknowledged when it was killed at the `at`-th call of its second commit."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read_end)
            operations = Faulty(len(CALLS) + at, kill=when)
            spool = Spool(root, operations=operations, max_reserved=1, gives_blocks=gives_blocks)
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
@pytest.mark.parametrize("blocks", [False, True], ids=["", "blocks"])
@pytest.mark.parametrize("reserved", [1, 32])
@pytest.mark.parametrize("at", range(1, 5 * len(CALLS) + 2))
def test_a_power_cut_at_any_call_loses_nothing_acknowledged(
    tmp_path: Path, at: int, reserved: int, blocks: bool, names: str
) -> None:
    """Only what was flushed is left; names that were not may be the old or the new ones.

    With the latest names a file may have its item's name and not its size: the cut to it is never flushed.
    """
    disk = UnpoweredDisk(at)
    spool = Spool(tmp_path / "spool", operations=disk, max_reserved=reserved, gives_blocks=blocks)
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
