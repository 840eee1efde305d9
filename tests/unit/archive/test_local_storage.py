"""Which folders are flushed: every one with a new name, each once, and none for nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from archive.disk import Disk
from archive.layout import Layout
from archive.storage import LocalStorage, Put

KEY, NEIGHBOUR = "data/p/1.2/1.2.3/1.dcm", "data/p/1.2/1.2.3/2.dcm"


class NotedDisk(Disk):
    """Notes the folders that are flushed, as keys."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.flushed: list[str] = []

    def sync_directory(self, path: Path) -> None:
        super().sync_directory(path)
        self.flushed.append(path.relative_to(self.root).as_posix())


@pytest.fixture
def disk(tmp_path: Path) -> NotedDisk:
    (tmp_path / "archive").mkdir()
    return NotedDisk(tmp_path / "archive")


@pytest.fixture
def storage(disk: NotedDisk) -> LocalStorage:
    return LocalStorage(Layout(disk.root), disk)


def wanted(tmp_path: Path) -> Put:
    path = tmp_path / "source"
    path.write_bytes(b"x")
    return Put(path, hashlib.sha256(b"x").hexdigest())


ALL = ["data/p/1.2/1.2.3", "data/p/1.2", "data/p", "data", "."]


def test_new_folders_are_flushed_from_the_leaves_up_and_known_ones_not_again(
    storage: LocalStorage, disk: NotedDisk, tmp_path: Path
) -> None:
    """The second file of a series costs one flush."""
    storage.put(KEY, wanted(tmp_path))
    assert disk.flushed == ALL

    disk.flushed.clear()
    storage.put(NEIGHBOUR, wanted(tmp_path))
    assert disk.flushed == ALL[:1]


def test_a_folder_that_another_process_made_again_is_flushed_again(
    storage: LocalStorage, disk: NotedDisk, tmp_path: Path
) -> None:
    """Its name is the same, and the disk may not have it yet."""
    storage.put(KEY, wanted(tmp_path))
    storage.delete(KEY)
    folder = storage.layout.resolve(KEY).parent
    folder.rename(tmp_path / "keeps its inode from being used again")
    folder.mkdir()
    disk.flushed.clear()

    storage.put(KEY, wanted(tmp_path))

    assert disk.flushed == ALL[:2]
