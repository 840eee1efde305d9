"""A target without room for all of it: words, whole files, and nothing else; later the rest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from archive import Archive
from archive.exporting import export
from archive.json_index import write_index
from archive.values import Selection
from dicomrelay.errors import ArchiveError
from tests.support.exports import data_sets, instance, names, stored
from tests.support.small_disk import small_disk

ALL = Selection()
MIB = 1024 * 1024


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """Six instances of a mebibyte that does not shrink."""
    opened = Archive.open(tmp_path / "archive")
    noise = (os.urandom(MIB) for _ in range(6))
    paths = [
        instance(tmp_path / "in", 1, 1, number, PixelData=pixels, Rows=1024, Columns=512)
        for number, pixels in enumerate(noise, 1)
    ]
    stored(opened, paths)
    yield opened
    opened.close()


@pytest.mark.parametrize("form", ["hierarchy", "dicomdir"])
def test_a_folder_that_is_full(archive: Archive, tmp_path: Path, form: str) -> None:
    """Room for some: they are whole, and an export that is run when there is room brings the others."""
    options = {} if form == "hierarchy" else {form: True}
    held = data_sets(tmp_path / "in")
    with small_disk(tmp_path / "small", size_mb=4) as small:
        out = small / "out"
        with pytest.raises(ArchiveError, match="No space left") as raised:
            export(archive, ALL, out, **options)
        assert "P1" not in str(raised.value).removeprefix(str(out))
        assert not [name for name in names(out) if name.endswith(".part")]
        whole = data_sets(out)
        assert 1 <= len(whole) <= 3
        assert whole.items() <= held.items()
        shutil.copytree(out, tmp_path / "larger")
    report = export(archive, ALL, tmp_path / "larger", **options)
    assert report.is_whole
    assert data_sets(tmp_path / "larger") == held


def test_a_zip_file_without_room(archive: Archive, tmp_path: Path) -> None:
    """Nothing is left of it."""
    with small_disk(tmp_path / "small", size_mb=4) as small:
        with pytest.raises(ArchiveError, match="No space left"):
            export(archive, ALL, small / "out.zip", zip=True)
        assert names(small) == []


def test_an_index_without_room(archive: Archive, tmp_path: Path) -> None:
    """The old one stays."""
    with small_disk(tmp_path / "small", size_mb=1) as small:
        (small / "archive_index.json").write_text("old", "utf-8")
        with pytest.raises(OSError, match="No space"):
            (small / "filler").write_bytes(bytes(2 * MIB))
        with pytest.raises(ArchiveError, match="No space left"):
            write_index(archive, small, overwrite=True)
        assert (small / "archive_index.json").read_text("utf-8") == "old"
        assert names(small) == ["archive_index.json", "filler"]


def test_a_temporary_folder_without_room(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named as what is full: the target may have room."""
    with small_disk(tmp_path / "small", size_mb=1) as small:
        with pytest.raises(OSError, match="No space"):
            (small / "filler").write_bytes(bytes(2 * MIB))
        monkeypatch.setenv("TMPDIR", str(small))
        monkeypatch.setattr("tempfile.tempdir", str(small))
        with pytest.raises(ArchiveError, match="TMPDIR"):
            export(archive, ALL, tmp_path / "out", dicomdir=True)
        assert not (tmp_path / "out" / "DICOMDIR").exists()
