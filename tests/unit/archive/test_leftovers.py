"""What an import leaves that is killed is removed by a later one, when it is nobody's any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from archive import Archive
from archive.importing import import_files
from tests.support.archive_writing import KilledAt, check_whole, killed, write_instance


def parts(root: Path) -> list[Path]:
    return sorted(root.rglob("*.part"))


def test_the_files_of_a_killed_import_are_removed_a_day_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not sooner: they could be a living one's. Nor without an import that was cut, for all names are read then."""
    root, folder = tmp_path / "archive", tmp_path / "in"
    for number in range(1, 4):
        write_instance(folder, number)

    def cut() -> None:
        archive = Archive.open(root)
        archive.disk = KilledAt(on="link")
        import_files(archive, [folder], workers=1)

    assert killed(cut)
    left = parts(root)
    assert len(left) == 3
    archive = Archive.open(root)
    changes = archive.writing_tools.changes

    assert import_files(archive, [folder], workers=1).problems == []
    assert parts(root) == left
    assert len(changes.old_imports(0)) == 1

    other = left[0].with_name("is no name of ours.part")
    other.touch()
    monkeypatch.setattr("archive.leftovers.DAY_S", 0.0)
    import_files(archive, [folder], workers=1)
    assert parts(root) == [other]
    assert changes.old_imports(0) == []

    young = left[0]
    young.touch()
    import_files(archive, [folder], workers=1)
    assert parts(root) == sorted([other, young])
    check_whole(archive, orphans=True)
    archive.close()
