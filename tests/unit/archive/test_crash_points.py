"""Every step of storing, replacing and removing is cut by kill -9: what is left is whole once the archive is opened again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from archive import Archive, Policy, StoreOutcome
from archive.changing import recover
from archive.disk import Disk
from archive.index.database import open_database
from archive.layout import Layout
from archive.rebuild import rebuild_index
from archive.removal import remove
from archive.values import Selection
from tests.support.archive_writing import (
    STUDY,
    KilledAt,
    aside_digests,
    check_whole,
    held_digest,
    in_memory,
    instance,
    killed,
)

_MOST_STEPS = 200


# Of which a half may be there.
_WRITES = frozenset({"draft", "write"})


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    with in_memory(tmp_path) as folder:
        yield folder


def each_step(
    folder: Path, prepare: Callable[[Archive], object], work: Callable[[Archive], object], *, torn: bool
) -> Iterator[Path]:
    """Roots of archives that were prepared, and killed at each step of some work in turn: those that write, where it is torn."""
    prepared = folder / "prepared"
    archive = Archive.open(prepared)
    prepare(archive)
    archive.close()
    steps = _steps(folder, prepared, work)
    assert len(steps) > 5, "it takes no steps"
    assert len(steps) < _MOST_STEPS
    for at, name in enumerate(steps, 1):
        if torn and name not in _WRITES:
            continue
        root = folder / f"archive-{at}"
        shutil.copytree(prepared, root)

        def child(root: Path = root, at: int = at) -> None:
            work(KilledAt(at, torn=torn).watch(Archive.open(root)))

        assert killed(child), f"step {at}, {name}, is not made again"
        yield root
        shutil.rmtree(root)


def _steps(folder: Path, prepared: Path, work: Callable[[Archive], object]) -> list[str]:
    """Those of the work when nothing cuts it, in a child as it is when it is cut."""
    root, told = folder / "whole", folder / "steps"
    shutil.copytree(prepared, root)

    def child() -> None:
        disk = KilledAt()
        work(disk.watch(Archive.open(root)))
        told.write_text("\n".join(disk.steps))

    assert not killed(child)
    shutil.rmtree(root)
    return told.read_text().split("\n")


@pytest.fixture(params=[False, True], ids=["before", "torn"])
def torn(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_a_batch_that_is_cut_is_stored_by_the_next_try(tmp_path: Path, torn: bool) -> None:
    """Files without rows are all that is left; nothing is there twice, nothing by half."""
    requests = [instance(tmp_path / "in", number, series=number % 2) for number in range(1, 5)]
    requests[1] = replace(requests[1], may_link=True)

    for root in each_step(tmp_path, lambda _: None, lambda archive: archive.store(requests), torn=torn):
        archive = Archive.open(root)
        check_whole(archive, orphans=True)
        again = archive.store(requests)
        assert {result.outcome for result in again} <= {StoreOutcome.STORED, StoreOutcome.ALREADY_THERE}
        for part in (root / "data").rglob("*.part"):
            part.unlink()
        check_whole(archive)
        assert [held_digest(archive, request) for request in requests] == [r.digest for r in requests]
        archive.close()


def test_what_is_set_aside_is_whole_or_not_there(tmp_path: Path, torn: bool) -> None:
    """keep_first: the first is served all the time, and the second is listed once it comes again."""
    first, second = (instance(tmp_path / "in", fill=fill) for fill in (1, 2))

    for root in each_step(
        tmp_path, lambda archive: archive.store([first]), lambda archive: archive.store([second]), torn=torn
    ):
        archive = Archive.open(root)
        check_whole(archive, orphans=True)
        assert held_digest(archive, first) == first.digest
        assert aside_digests(archive) <= {second.digest}
        [result] = archive.store([second])
        assert result.outcome is StoreOutcome.CONFLICT
        assert aside_digests(archive) == {second.digest}
        assert [conflict.digest for conflict in archive.conflicts()] == [second.digest]
        archive.close()


@pytest.mark.parametrize("patient_id", ["P1", "P2"], ids=["in place", "elsewhere"])
def test_a_replacement_is_done_or_undone(tmp_path: Path, torn: bool, patient_id: str) -> None:
    """One of the two is served, whole; the other is set aside and listed when it was held."""
    old = instance(tmp_path / "in", fill=1)
    new = instance(tmp_path / "in", fill=2, patient_id=patient_id)

    def work(archive: Archive) -> None:
        archive.policy = Policy.REPLACE
        archive.store([new])

    outcomes = set()
    for root in each_step(tmp_path, lambda archive: archive.store([old]), work, torn=torn):
        archive = Archive.open(root, policy=Policy.REPLACE)
        for part in (root / "data").rglob("*.part"):
            part.unlink()
        check_whole(archive, orphans=True)
        served = held_digest(archive, old)
        outcomes.add(served)
        listed = [conflict.digest for conflict in archive.conflicts()]
        assert listed == ([old.digest] if served == new.digest else [])
        assert set(listed) <= aside_digests(archive)

        [result] = archive.store([new])
        assert result.outcome in (StoreOutcome.REPLACED, StoreOutcome.ALREADY_THERE)
        check_whole(archive)
        assert held_digest(archive, new) == new.digest
        assert aside_digests(archive) == {old.digest}
        assert [conflict.digest for conflict in archive.conflicts()] == [old.digest]
        archive.close()
    assert outcomes == ({old.digest} if torn else {old.digest, new.digest})


def test_a_removal_is_done_whole_or_not_at_all(tmp_path: Path, torn: bool) -> None:
    """Row, file, frame index and tombstone go together, and what is not removed stays."""
    stays = instance(tmp_path / "in", 9, study=f"{STUDY}.9")
    goes = [instance(tmp_path / "in", number) for number in (1, 2)]

    def prepare(archive: Archive) -> None:
        for result in archive.store([stays, *goes]):
            archive.prepare_frames(result.relative_path)

    def work(archive: Archive) -> None:
        remove(archive, Selection(study_uids=(STUDY,)), reason="asked for", by="test")

    seen = set()
    for root in each_step(tmp_path, prepare, work, torn=torn):
        archive = Archive.open(root)
        check_whole(archive)
        assert held_digest(archive, stays) == stays.digest
        there = {held_digest(archive, request) != "" for request in goes}
        assert len(there) == 1
        seen |= there
        tombstones = sorted(tomb.sop_instance_uid for tomb in archive.tombstones())
        assert tombstones == ([] if there == {True} else sorted(r.sop_instance_uid for r in goes))
        assert len(list((root / "data").rglob("*.dcm"))) == (3 if there == {True} else 1)
        assert len(list((root / "removed").glob("*.json"))) == (there == {False})
        work(archive)
        assert len(list((root / "data").rglob("*.dcm"))) == 1
        check_whole(archive)
        archive.close()
    assert seen == ({False} if torn else {True, False})


def test_a_recovery_can_be_cut_at_any_step(tmp_path: Path) -> None:
    """Whoever comes next finds what is left of it."""
    goes = [instance(tmp_path / "in", number) for number in (1, 2, 3)]

    left = tmp_path / "left"
    archive = Archive.open(left)
    archive.store(goes)
    archive.close()

    def leave_a_change() -> None:
        archive = Archive.open(left)
        # Its rows are gone by now: this is for the file of its tombstones.
        KilledAt(on="make_directory").watch(archive)
        remove(archive, Selection(study_uids=(STUDY,)), reason="asked for", by="test")

    assert killed(leave_a_change)
    for at in range(1, _MOST_STEPS):
        root = tmp_path / f"recovered-{at}"
        shutil.copytree(left, root)

        def child(root: Path = root, at: int = at) -> None:
            archive = _unrecovered(root)
            KilledAt(at).watch(archive)
            recover(archive.writing_tools)

        is_killed = killed(child)
        archive = Archive.open(root)
        check_whole(archive)
        assert not list((root / "data").rglob("*.dcm"))
        assert len(list(archive.tombstones())) == len(goes)
        archive.close()
        shutil.rmtree(root)
        if not is_killed:
            assert at > 5
            return
    raise AssertionError("it never came to its end")


def test_a_rebuild_that_is_cut_leaves_the_old_index_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole in either case; and the next one comes to its end."""
    first, second = (instance(tmp_path / "in", fill=fill) for fill in (1, 2))
    gone = instance(tmp_path / "in", 7)
    prepared = tmp_path / "prepared"
    archive = Archive.open(prepared)
    archive.store([first, second, gone, *(instance(tmp_path / "in", number) for number in (2, 3))])
    remove(archive, Selection(sop_instance_uids=(gone.sop_instance_uid,)), reason="a", by="b")
    archive.close()

    def whole(root: Path) -> None:
        archive = Archive.open(root)
        check_whole(archive)
        assert archive.inventory().count() == 3
        assert held_digest(archive, first) == first.digest
        assert [conflict.digest for conflict in archive.conflicts()] == [second.digest]
        assert [tomb.sop_instance_uid for tomb in archive.tombstones()] == [gone.sop_instance_uid]
        archive.close()

    for at in range(1, _MOST_STEPS):
        root = tmp_path / f"rebuilt-{at}"
        shutil.copytree(prepared, root)

        def child(root: Path = root, at: int = at) -> None:
            dying = KilledAt(at)
            dying.watch_all()
            monkeypatch.setattr("archive.rebuild.Disk", lambda: dying)
            rebuild_index(root, workers=1)

        is_killed = killed(child)
        whole(root)
        report = rebuild_index(root, workers=1)
        assert (report.instances, report.stopped, report.problems) == (3, "", [])
        whole(root)
        assert not list(root.glob("index.rebuilding*"))
        shutil.rmtree(root)
        if not is_killed:
            assert at > 5
            return
    raise AssertionError("it never came to its end")


def _unrecovered(root: Path) -> Archive:
    """An archive that is opened without a look at what others left."""
    return Archive(Layout(root), open_database(f"sqlite:///{root / 'index.sqlite'}"), Disk())
