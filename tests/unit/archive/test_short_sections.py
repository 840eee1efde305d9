"""The section in which nobody else writes is short: no file is read, copied or flushed in it; and many are replaced together."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from archive import Archive, Policy, StoreOutcome
from archive.changing import recover
from archive.disk import Disk, Draft
from archive.storage import LocalStorage
from tests.support.archive_writing import KilledAt, aside_digests, check_whole, held_digest, instance, killed


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    opened = Archive.open(tmp_path / "archive", policy=Policy.REPLACE)
    yield opened
    opened.close()


class Watched(Disk):
    """Notes what is done while the index is locked for other writers; counts flushes of folders."""

    def __init__(self, archive: Archive) -> None:
        self.index = archive.layout.root / "index.sqlite"
        self.locked: list[str] = []
        self.flushed = 0

    def note(self, what: str) -> None:
        with closing(sqlite3.connect(self.index, timeout=0, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                self.locked.append(what)

    def draft(self, source: Path, target: Path, *, preface: bytes, digest_from: int) -> Draft:
        self.note("copy")
        return super().draft(source, target, preface=preface, digest_from=digest_from)

    def flush(self, draft: Draft) -> None:
        self.note("flush")
        super().flush(draft)

    def replace(self, temporary: Path, target: Path) -> None:
        self.note("name")
        super().replace(temporary, target)

    def sync_directory(self, path: Path) -> None:
        self.flushed += 1
        super().sync_directory(path)


def watched(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Watched:
    disk = archive.disk = Watched(archive)
    digest = LocalStorage.digest

    def noted(self: LocalStorage, key: str, offset: int = 0, *, fresh: bool = False) -> str:
        disk.note("read")
        return digest(self, key, offset, fresh=fresh)

    monkeypatch.setattr(LocalStorage, "digest", noted)
    return disk


def test_only_names_are_given_while_nobody_else_can_write(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a replacement, of a damaged file that is put back, and of a replacement that is undone."""
    old, new = (instance(tmp_path / "in", fill=fill) for fill in (1, 2))
    archive.store([old])
    disk = watched(archive, monkeypatch)

    assert archive.store([new])[0].outcome is StoreOutcome.REPLACED
    assert disk.locked == ["name"]
    os.truncate(archive.layout.root / archive.store([new])[0].relative_path, 700)
    assert archive.store([new])[0].outcome is StoreOutcome.ALREADY_THERE
    assert disk.locked == ["name", "name"]
    check_whole(archive)


def test_what_is_undone_is_copied_before_the_section(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whoever finds it: the old file is back."""
    old, new = (instance(tmp_path / "in", fill=fill) for fill in (1, 2))
    archive.store([old])

    def cut() -> None:
        again = Archive.open(archive.layout.root, policy=Policy.REPLACE)
        disk = again.disk = KilledAt(on="name flushed")
        named, flushed = disk.replace, disk.sync_directory

        def replace(temporary: Path, target: Path) -> None:
            named(temporary, target)
            monkeypatch.setattr(
                disk, "sync_directory", lambda path: (disk.step("name flushed"), flushed(path))
            )

        monkeypatch.setattr(disk, "replace", replace)
        again.store([new])

    assert killed(cut)
    disk = watched(archive, monkeypatch)
    assert recover(archive.writing_tools) == 1

    assert disk.locked == ["name"]
    assert held_digest(archive, old) == old.digest
    assert aside_digests(archive) == set()
    check_whole(archive)


def test_many_are_replaced_together(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other they would be flushed hundreds of times; in the order they came, and each on its own when one fails."""
    count = 60
    first = [instance(tmp_path / "in", number) for number in range(1, count + 1)]
    second = [instance(tmp_path / "in", number, fill=2) for number in range(1, count + 1)]
    third = instance(tmp_path / "in", 5, fill=3)
    assert {result.outcome for result in archive.store(first)} == {StoreOutcome.STORED}
    second[7].source.unlink()
    commits = []
    writing = archive._database.write
    monkeypatch.setattr(archive._database, "write", lambda: (commits.append(1), writing())[1])
    disk = watched(archive, monkeypatch)

    results = archive.store([*second, third])

    assert [
        number for number, result in enumerate(results) if result.outcome is not StoreOutcome.REPLACED
    ] == [7]
    assert results[7].outcome is StoreOutcome.FAILED
    # A copy of each has a folder of its own under conflicts/.
    assert disk.flushed < 2 * count + 30
    assert len(commits) < 20
    assert "copy" not in disk.locked
    assert held_digest(archive, third) == third.digest
    assert held_digest(archive, first[7]) == first[7].digest
    listed = {(each.sop_instance_uid, each.digest) for each in archive.conflicts()}
    assert len(listed) == count
    assert (third.sop_instance_uid, second[4].digest) in listed
    assert {digest for _, digest in listed} == aside_digests(archive)
    check_whole(archive)
