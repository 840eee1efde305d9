"""The files of an `archive_index.json` into an archive, on both databases; and what does not agree."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archive import Archive
from archive.import_batch import FileOutcome
from archive.index_import import IndexMismatch, import_index
from archive.json_index import write_index
from archive.values import Selection
from dicomrelay.errors import ConfigurationError
from tests.support.exports import data_sets, instance, names, stored

STORED, THERE = FileOutcome.STORED, FileOutcome.ALREADY_THERE


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The folder of an archive with an index: three studies, four instances."""
    archive = Archive.open(tmp_path / "old")
    source = tmp_path / "in"
    stored(archive, [instance(source, *place) for place in ((1, 1, 1), (1, 1, 2), (2, 1, 1), (3, 1, 1))])
    write_index(archive, archive.layout.root)
    archive.close()
    return tmp_path / "old"


@pytest.fixture
def archive(empty_url: str, tmp_path: Path) -> Iterator[Archive]:
    opened = Archive.open(tmp_path / "new", database_url=empty_url)
    yield opened
    opened.close()


def edited(folder: Path) -> tuple[Path, dict[str, Any]]:
    path = folder / "archive_index.json"
    return path, json.loads(path.read_text("utf-8"))


def held(archive: Archive) -> set[str]:
    return {stored.sop_instance_uid for stored in archive.select(Selection())}


def test_an_archive_comes_over_whole(archive: Archive, old: Path, tmp_path: Path) -> None:
    """Files as they were; a second time nothing is stored twice."""
    told: list[tuple[int, int]] = []
    report = import_index(archive, old / "archive_index.json", on_progress=lambda *now: told.append(now))

    assert (report.entries, report.said_entries, report.counts) == (4, 4, {STORED: 4})
    assert report.mismatches == []
    assert report.agrees
    assert told == [(4, 4)]
    assert data_sets(archive.layout.root / "data") == data_sets(tmp_path / "in")
    again = import_index(archive, old / "archive_index.json")
    assert (again.counts, again.agrees) == ({THERE: 4}, True)


def test_the_root_may_be_elsewhere(archive: Archive, old: Path, tmp_path: Path) -> None:
    """The index alone, and the files somewhere else."""
    moved = (old / "archive_index.json").rename(tmp_path / "index.json")

    assert import_index(archive, moved, old).agrees


def test_what_does_not_agree_is_told(archive: Archive, old: Path) -> None:
    """Each thing by its key, and the file wins; what the index leaves out, and how a name ends, is no matter."""
    path, index = edited(old)
    first, second, third = index["patients"]
    index["fileCount"] = 7
    first["patientName"] = "Smith^Ann"
    study = first["studies"][0]
    study["studyDate"] = "19990101"
    study["series"][0]["modality"] = "MR"
    study["series"][0]["instances"][1]["fileSize"] = 1
    second["patientName"] = "doe^2^^"
    second["studies"][0]["series"][0]["instances"][0]["sopInstanceUID"] = "9.9"
    third["studies"][0]["studyInstanceUID"] = "8.8"
    third["patientID"] = ""
    path.write_text(json.dumps(index), "utf-8")
    told: list[IndexMismatch] = []
    report = import_index(archive, path, on_mismatch=told.append)

    assert {(each.field, each.said, each.found) for each in told if each.field != "fileSize"} == {
        ("patientName", "smith^ann", "doe^1"),
        ("studyDate", "19990101", "20240110"),
        ("modality", "MR", "CT"),
        ("sopInstanceUID", "9.9", "1.2.2.1.1"),
        ("studyInstanceUID", "8.8", "1.2.3"),
    }
    assert [each.sop_instance_uid for each in told if each.field == "fileSize"] == ["1.2.1.1.2"]
    assert (report.mismatch_count, report.mismatches, report.agrees) == (6, told, False)
    assert (report.said_entries, report.entries) == (7, 4)
    assert held(archive) == {"1.2.1.1.1", "1.2.1.1.2", "1.2.2.1.1", "1.2.3.1.1"}


@pytest.mark.parametrize(
    "hostile", ["../in/1.1.1.dcm", "/etc/passwd", "data/../../in/1.1.1.dcm", "", "link/1.1.1.dcm", "a\0b"]
)
def test_a_path_that_leaves_the_root_is_not_opened(
    archive: Archive, old: Path, tmp_path: Path, hostile: str
) -> None:
    """Though there is a file."""
    (old / "link").symlink_to(tmp_path / "in")
    path, index = edited(old)
    index["patients"][0]["studies"][0]["series"][0]["instances"][0]["filePath"] = hostile
    path.write_text(json.dumps(index), "utf-8")
    report = import_index(archive, path)

    assert (report.outside, report.gone, report.counts) == (1, 0, {STORED: 3})
    assert not report.agrees
    assert "1.2.1.1.1" not in held(archive)


def test_a_name_that_no_file_system_has_is_told_of_its_entry(archive: Archive, old: Path) -> None:
    """And the rest comes."""
    path, index = edited(old)
    index["patients"][0]["studies"][0]["series"][0]["instances"][0]["filePath"] = "data/" + "x" * 3000
    path.write_text(json.dumps(index), "utf-8")
    report = import_index(archive, path)

    assert (report.outside, report.gone, report.counts) == (0, 1, {STORED: 3})
    [told] = [each for each in report.mismatches if each.field == "filePath"]
    assert "File name too long" in told.found


def test_files_that_are_gone_or_no_instances(archive: Archive, old: Path) -> None:
    """They are told, and the rest comes."""
    files = [old / name for name in names(old) if name.startswith("data/")]
    files[0].unlink()
    files[1].write_bytes(b"not DICOM")
    report = import_index(archive, old / "archive_index.json")

    assert report.gone == 1
    assert report.counts[STORED] == 2
    assert sum(report.counts.values()) == 3
    assert [Path(each.path) for each in report.problems] == [files[1]]
    assert not report.agrees


def test_an_archive_does_not_import_itself(archive: Archive, tmp_path: Path) -> None:
    """Its files are where they should be: that is a rebuild."""
    stored(archive, [instance(tmp_path / "in", 1, 1, 1)])
    write_index(archive, archive.layout.root)
    with pytest.raises(ConfigurationError, match="rebuild"):
        import_index(archive, archive.layout.root / "archive_index.json")
