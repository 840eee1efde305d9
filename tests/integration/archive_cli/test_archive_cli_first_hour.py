"""What somebody meets in the first hour with `dicomrelay archive`, and on call: each of it said, and nothing hidden."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import config, dcmread

from tests.support.archive_command import ArchiveCommand, header_values, sample_files, sample_folder
from tests.support.archives import write_study
from tests.support.processes import environment

INSTANCES = header_values(sample_folder())


@pytest.fixture
def archive(filled: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(filled, tmp_path / "archive")
    return tmp_path / "archive"


@pytest.mark.parametrize(
    "words",
    [("import", ""), ("import", "x", "-a", ""), ("export", "--all", "-o", ""), ("init", "--path", ""), ("stats", "-a", ""),
     ("import-index", ""), ("import-index", "x", "--root", " "), ("export-index", "-o", "")],
    ids="-".join,
)  # fmt: skip
def test_an_empty_path_is_not_the_current_folder(
    relay: ArchiveCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """A variable of a script that is not set: exit code 2, and nothing is made or read here."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    told = relay(*words)

    assert told.code == 2
    assert "is empty: name a file or a folder" in told.err
    assert list(here.iterdir()) == []


def test_a_date_that_is_none_is_not_removed_by_a_range(
    relay: ArchiveCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What says `notadate` or `041231` is in no range; what ACR-NEMA wrote is in that of its day."""
    monkeypatch.setattr(config.settings, "writing_validation_mode", config.IGNORE)
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.IGNORE)
    relay.good("init", "-p", tmp_path / "a")
    for number, date in enumerate(("20031231", "2004.12.31", "041231", "notadate")):
        (path,) = write_study(tmp_path / "in", study=f"1.2.{number}", instances=1)
        data_set = dcmread(path)
        data_set.StudyDate = date
        data_set.save_as(path)
    relay.good("import", tmp_path / "in", "-a", tmp_path / "a")

    asked = ("--study-date", "-20040101", "--reason", "old", "--yes")
    assert relay.good("remove", "-a", tmp_path / "a", *asked, "--json").json["removed"] == 1
    dates = {row["StudyDate"] for row in relay.good("query", "-a", tmp_path / "a", "--json").json}
    assert dates == {"20041231", "041231", "notadate"}
    assert "Study dates: 2004-12-31\n" in relay.good("stats", "-a", tmp_path / "a").out


def test_a_bare_star_removes_nothing(relay: ArchiveCommand, archive: Path) -> None:
    """It asks for everything, also for what has no name: `remove` does not do that; `query` does."""
    told = relay("remove", "-a", archive, "--patient-name", "*", "--reason", "x", "--yes")

    assert told.code == 2
    assert "a bare * is everything" in told.err
    assert len(
        relay.good("query", "-a", archive, "--level", "instance", "--patient-name", "*", "--json").json
    ) == len(INSTANCES)


def test_a_level_above_a_filter_is_told_with_a_way_out(relay: ArchiveCommand, archive: Path) -> None:
    """By the options that were given."""
    told = relay("query", "-a", archive, "--level", "patient", "--study-date", "20010101-")
    series = relay("query", "-a", archive, "--level", "study", "--key", "StationName=x")

    assert (told.code, series.code) == (2, 2)
    assert (
        "--study-date: patients cannot be searched by it: leave --level patient out, or say --level study"
        in told.err
    )
    assert "--key StationName: studies cannot be searched by it" in series.err
    assert relay.good("query", "-a", archive, "--modality", "CT", "--level", "study", "--json").json


def test_a_lost_index_is_made_anew_and_not_imported(relay: ArchiveCommand, archive: Path) -> None:
    """Also where an index for other programs was written beside it."""
    relay.good("export-index", "-a", archive, "-o", archive.parent / "archive_index.json")
    shutil.copy(archive.parent / "archive_index.json", archive)
    for path in archive.glob("index.sqlite*"):
        path.unlink()
    told = relay("stats", "-a", archive)

    assert told.code == 2
    assert "archive rebuild-index" in told.err
    assert "import-index" not in told.err


def test_what_is_no_index_leaves_no_archive(relay: ArchiveCommand, tmp_path: Path) -> None:
    """Text, JSON of something else, and half an index."""
    for content in ("hello", "[]", '{"patients": [{"patientId": "1"'):
        (tmp_path / "archive_index.json").write_text(content)
        told = relay("import-index", tmp_path / "archive_index.json", "-a", tmp_path / "new")
        assert told.code in {1, 2}, told.err
        assert not (tmp_path / "new").exists()


def test_files_that_are_too_young_to_be_judged_are_counted(relay: ArchiveCommand, archive: Path) -> None:
    """A disk that was full leaves such: `check` does not hide them."""
    for number in range(3):
        next((archive / "data").rglob("*.dcm")).with_name(f"1.2.3.{number}.dcm").write_bytes(b"x")
    told = relay.good("check", "-a", archive)

    assert "3 files without a row are younger than an hour: not judged" in told.out
    assert relay.good("check", "-a", archive, "--json").json["not_judged"] == 3


def test_retention_says_what_is_too_young_for_it(relay: ArchiveCommand, archive: Path) -> None:
    """`min_days` of the settings holds with options, too."""
    studies = len({each["StudyInstanceUID"] for each in INSTANCES})
    for options in (("--max-bytes", "1"), ("--older-than", "0.00000001")):
        told = relay.good("retention", "-a", archive, *options, "--undocumented", "--dry-run")
        assert f"{studies} stay though a bound would let them go" in told.err
        assert f"{studies} of them younger than archive.retention.min_days (1 day)" in told.err
    told = relay.good("retention", "-a", archive, "--max-bytes", "1", "--dry-run", "--json")
    assert told.json["stay"]["young"] == studies
    assert "archive.retention.min_days" in relay("retention", "--help").out


def test_made_up_studies_and_links_are_told(relay: ArchiveCommand, tmp_path: Path) -> None:
    """One without a Study Instance UID stands somewhere; a link to a folder has one line."""
    relay.good("init", "-p", tmp_path / "a")
    (path,) = write_study(tmp_path / "in", instances=1)
    data_set = dcmread(path)
    data_set.StudyInstanceUID = ""
    data_set.save_as(path)
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "a")

    told = relay.good("import", tmp_path / "in", "-r", "-a", tmp_path / "a", "--verbose")
    again = relay.good("import", tmp_path / "in", "-r", "-a", tmp_path / "a", "--json").json

    assert "1 file without a Study Instance UID" in told.err
    assert told.err.count("linked: is a link to a folder, and is not followed") == 1
    assert (again["made_up_studies"], again["already_there"], again["skipped"]) == (1, 1, 1)


def test_numbers_of_one_are_no_plural(relay: ArchiveCommand, tmp_path: Path) -> None:
    relay.good("init", "-p", tmp_path / "a")
    relay.good("import", *sample_files("CT_small.dcm"), "-a", tmp_path / "a")
    relay.good("remove", "-a", tmp_path / "a", "--patient-id", "1CT1", "--reason", "x", "--yes")
    assert "1 instance removed:" in relay.good("stats", "-a", tmp_path / "a").out


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupted_import_says_what_it_does(relay: ArchiveCommand, tmp_path: Path, times: int) -> None:
    """At the first Ctrl-C that it finishes, at the second it ends; with JSON of what was done."""
    relay.good("init", "-p", tmp_path / "a")
    for number in range(12):
        write_study(tmp_path / "in", study=f"1.2.{number}", instances=200)
    words = (
        "import",
        tmp_path / "in",
        "-a",
        tmp_path / "a",
        "--home",
        relay.home,
        "--json",
        "--workers",
        "1",
        "--verbose",
    )
    with subprocess.Popen(
        [sys.executable, "-m", "dicomrelay", "archive", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment({}),
    ) as process:  # fmt: skip
        assert process.stderr is not None
        # What it says of each file fills the pipe: it cannot be done before it is read.
        said = process.stderr.readline()
        for _ in range(times):
            os.kill(process.pid, signal.SIGINT)
            while times == 2 and "once more ends at once" not in said:
                said += process.stderr.readline()
        out, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "finishing what is under way" in said + err
    assert out, said + err
    done = json.loads(out)
    assert (done["exit_code"], done["stopped"]) == (130, "interrupted")
    assert done["stored"] < 2400
    assert relay.good("stats", "-a", tmp_path / "a", "--json").json["instances"] >= done["stored"]
