"""Names made durable ahead of their items, and what recovery makes of what stands under them."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from dicomrelay.errors import SpoolError, SpoolFull
from dicomrelay.spool import Spool
from dicomrelay.spool.operations import OperatingSystem
from tests.support.spool import DATA_SET, Faulty, begin, store

# Which call of a commit that is (test_crash_points.CALLS).
_RENAME = 7


def _parts(root: Path) -> list[Path]:
    return sorted((root / "new").glob("*.part"))


def test_the_reserve_doubles_and_so_do_the_commits_of_one_fsync(tmp_path: Path) -> None:
    """1, 2, 4 and so on up to the most; a short job reserves little, a long one flushes the directory seldom."""
    operations = Faulty()
    with Spool(tmp_path / "spool", operations=operations, max_reserved=8) as spool:
        for _ in range(1 + 2 + 4 + 8 + 8):
            store(spool)
        assert operations.calls.count("sync_directory") == 5
        assert operations.calls.count("create") == 23
        assert _parts(tmp_path / "spool") == []
        begin(spool).abandon()
        assert len(_parts(tmp_path / "spool")) == 7
    assert _parts(tmp_path / "spool") == []
    assert len(list((tmp_path / "spool" / "new").iterdir())) == 23


def test_items_stand_in_the_order_of_their_arrival_not_of_their_names_in_the_reserve(tmp_path: Path) -> None:
    """An id is given when the item begins."""
    with Spool(tmp_path / "spool") as spool:
        ids = [store(spool).id for _ in range(12)]
        assert [record.id for record in spool.arrivals(20)] == ids == sorted(ids)


def test_many_threads_share_a_reserve(tmp_path: Path) -> None:
    """Each item has a file of its own."""
    with Spool(tmp_path / "spool", max_reserved=4) as spool:
        found: list[str] = []
        threads = [
            threading.Thread(target=lambda: found.extend(store(spool).id for _ in range(20)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(set(found)) == 160
        for item_id in found:
            spool.verify(item_id)


def test_a_reserve_that_works_ahead_serves_many_threads_and_leaves_nothing(tmp_path: Path) -> None:
    """It is refilled from a thread of its own, which ends with it."""
    threads_before = threading.active_count()
    with Spool(tmp_path / "spool", gives_blocks=True, works_ahead=True) as spool:
        found: list[str] = []
        data_sets = (DATA_SET, DATA_SET * 3, DATA_SET * 10)

        def work(number: int) -> None:
            found.extend(store(spool, data_sets[(number + n) % 3]).id for n in range(60))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(set(found)) == 360
        for item_id in found:
            spool.verify(item_id)
    assert _parts(tmp_path / "spool") == []
    assert threading.active_count() == threads_before


def test_a_reserve_whose_thread_fails_is_filled_by_those_who_need_it(tmp_path: Path) -> None:
    """An error in the thread refuses nobody; an error of one's own does, and the next is served."""

    class Full(OperatingSystem):
        def __init__(self) -> None:
            self.full = False

        def create(self, path: str) -> int:
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().create(path)

    operations = Full()
    with Spool(tmp_path / "spool", operations=operations, works_ahead=True, max_reserved=4) as spool:
        for _ in range(6):
            store(spool)
        operations.full = True
        outcomes = [_outcome(spool) for _ in range(6)]
        assert SpoolFull in outcomes
        operations.full = False
        assert {_outcome(spool) for _ in range(6)} == {None}


def _outcome(spool: Spool) -> type[Exception] | None:
    try:
        store(spool)
    except SpoolError as error:
        return type(error)
    return None


def test_too_few_descriptors_make_a_small_reserve(tmp_path: Path) -> None:
    """What could be made is used; only when nothing can be made it is an error."""
    operations = Faulty()
    with Spool(tmp_path / "spool", operations=operations, max_reserved=8) as spool:
        store(spool)
        operations._at, operations._fail_with = len(operations.calls) + 2, errno.EMFILE
        store(spool)  # one of two was made
        operations._at = len(operations.calls) + 1
        with pytest.raises(SpoolError, match="Too many open files"):
            begin(spool)
        store(spool)


def test_a_child_has_a_reserve_of_its_own(tmp_path: Path) -> None:
    """A fork writes nothing into the files of its parent, and leaves them alone when it ends."""
    with Spool(tmp_path / "spool", max_reserved=8) as spool:
        for _ in range(4):
            store(spool)
        before = _parts(tmp_path / "spool")
        assert before
        pid = os.fork()
        if pid == 0:
            try:
                store(spool)
                spool.close()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        assert _parts(tmp_path / "spool") == before
        store(spool)
        assert len(spool.arrivals(10)) == 6


def _dead_part(root: Path) -> tuple[Path, str]:
    """A whole item that its writer could not give its name any more; and its id."""
    pid = os.fork()
    if pid == 0:
        try:
            store(Spool(root, operations=Faulty(_RENAME, kill="before"), max_reserved=1))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    (part,) = _parts(root)
    return part, part.stem


def test_a_whole_item_of_a_dead_writer_gets_its_name(tmp_path: Path) -> None:
    """It was flushed and perhaps acknowledged; its own id, not that of its place in the reserve."""
    root = tmp_path / "spool"
    _, stem = _dead_part(root)
    spool = Spool(root)
    recovery = spool.recover()
    assert (recovery.swept, recovery.waiting) == (0, 1)
    (record,) = spool.arrivals(10)
    assert record.id != stem
    assert spool.verify(record.id).data_set_bytes == len(DATA_SET)
    assert spool.recover().waiting == 1


@pytest.mark.parametrize("damage", ["data", "head", "short"])
def test_one_that_does_not_agree_with_its_head_is_put_away_and_not_deleted(
    tmp_path: Path, damage: str
) -> None:
    """It may have been acknowledged before its disk went bad: somebody has to look at it."""
    root = tmp_path / "spool"
    part, _ = _dead_part(root)
    raw = bytearray(part.read_bytes())
    if damage == "short":
        del raw[-10:]
    else:
        raw[-5 if damage == "data" else 1000] ^= 0xFF
    part.write_bytes(raw)
    spool = Spool(root)
    recovery = spool.recover()
    assert (recovery.swept, recovery.waiting) == (0, 0)
    assert spool.arrivals(10) == []
    assert spool.usage().corrupt == 1
    assert _parts(root) == []


def test_one_that_cannot_be_read_for_now_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO says nothing about what it holds; the next start finds it whole."""
    root = tmp_path / "spool"
    part, _ = _dead_part(root)
    really = Path.open

    def refuse(self: Path, *args: object, **options: object) -> object:
        if self == part:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))
        return really(self, *args, **options)  # type: ignore[call-overload]

    spool = Spool(root)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        assert spool.recover().waiting == 0
    assert _parts(root) == [part]
    assert spool.recover().waiting == 1
