"""What a contestant leaves is emptied at once and deleted at the end."""

from __future__ import annotations

from pathlib import Path

from benchmarks.folders import emptied, folder_in


def test_files_are_emptied_and_not_deleted(tmp_path: Path) -> None:
    """Their room comes back and their inodes stay: a deleted one would slow the next contestant down."""
    with emptied(tmp_path) as folder:
        deep = folder / "storage" / "a" / "file"
        deep.parent.mkdir(parents=True)
        deep.write_bytes(bytes(9000))
    assert deep.stat().st_size == 0


def test_each_contestant_has_an_empty_folder_of_its_own(tmp_path: Path) -> None:
    """Nobody opens what another has left."""
    with emptied(tmp_path) as first:
        (first / "file").touch()
    with emptied(tmp_path) as second:
        assert second != first
        assert list(second.iterdir()) == []


def test_a_run_leaves_nothing(tmp_path: Path) -> None:
    """The folder of a whole run goes with everything in it."""
    with folder_in(tmp_path / "place") as folder, emptied(folder) as inner:
        (inner / "file").touch()
    assert list((tmp_path / "place").iterdir()) == []
