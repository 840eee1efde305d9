"""`dicomrelay archive` where its index is a server's, its disk is small, it is interrupted, or beside a relay at work."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from archive.root import mark_as_of_a_relay
from tests.support.archive_command import ArchiveCommand, header_values, sample_files, sample_folder
from tests.support.integrity import PACS, STUDY, Home, whole_home
from tests.support.postgresql import running_server
from tests.support.processes import environment, until
from tests.support.small_disk import small_disk

INSTANCES = header_values(sample_folder())


@pytest.mark.postgresql
def test_the_index_of_the_home_may_be_in_postgresql(relay: ArchiveCommand, filled: Path) -> None:
    """The same answers as from the file; made anew and removed from there too."""
    with running_server() as server:
        relay.home.mkdir()
        (relay.home / "relay.toml").write_text(f'[database]\nurl = "{server.create_database()}"\n')
        relay.good("init", "--json")
        relay.good("import", sample_folder(), "-r", "--workers", "2")
        found = relay.good("query", "--patient-name", "DOE*", "--sort", "StudyInstanceUID", "--json").json
        same = relay.good(
            "query", "-a", filled, "--patient-name", "DOE*", "--sort", "StudyInstanceUID", "--json"
        ).json
        difference = relay.good("diff", filled)
        tree = relay.good("list").out
        rebuilt = relay.good("rebuild-index", "--json")
        checked = relay.good("check", "--verify-files")
        named = relay.good("stats", "-a", relay.home / "archive", "--json")
        removed = relay.good("remove", "--patient-id", "77654033", "--reason", "test", "--yes", "--json")

    assert found == same
    assert "no difference" in difference.err
    assert tree == relay.good("list", "-a", filled).out
    assert rebuilt.json["instances"] == named.json["instances"] == len(INSTANCES)
    assert "0 faults" in checked.err
    assert removed.json["removed"] == removed.json["selected"] > 0
    assert not (relay.home / "archive" / "index.sqlite").exists()


@pytest.mark.postgresql
def test_an_index_that_does_not_answer_is_exit_code_3(relay: ArchiveCommand) -> None:
    """And its password is not shown."""
    (relay.home / "archive").mkdir(parents=True)
    (relay.home / "relay.toml").write_text('[database]\nurl = "postgresql://me:secret@127.0.0.1:1/none"\n')
    told = relay("stats", "--json")

    assert told.code == 3
    assert "secret" not in told.err + told.out


def test_a_full_disk_is_told_and_what_is_stored_is_whole(relay: ArchiveCommand, tmp_path: Path) -> None:
    """Exit code 1 and the system's words; with room the import goes on where it was."""
    (source := tmp_path / "source").mkdir()
    for name in (
        "CT_small.dcm",
        "MR_small.dcm",
        "examples_rgb_color.dcm",
        "examples_palette.dcm",
        "liver_1frame.dcm",
    ):
        shutil.copy(sample_files(name)[0], source)
    with small_disk(tmp_path / "disk", size_mb=2):
        place = tmp_path / "disk" / "archive"
        relay.good("init", "-p", place)
        (tmp_path / "disk" / "ballast").write_bytes(bytes(shutil.disk_usage(place).free - 300_000))
        full = relay("import", "-a", place, source, "--json")
        (tmp_path / "disk" / "ballast").unlink()
        checked = relay.good("check", "-a", place, "--verify-files")
        on = relay.good("import", "-a", place, source, "--json")
        left = list(place.rglob("*.part"))

    assert full.code in {1, 3}
    assert "No space left on device" in full.err or "full" in full.err
    assert "0 faults" in checked.err
    assert on.json["stored"] + on.json["already_there"] == 5
    assert left == []


@pytest.mark.slow
@pytest.mark.long
def test_an_interrupted_import_goes_on(relay: ArchiveCommand, tmp_path: Path) -> None:
    """Ctrl-C is exit code 130; what was told as stored is there, and the next import stores the rest."""
    (source := tmp_path / "source").mkdir()
    template = sample_files("CT_small.dcm")[0].read_bytes()
    uid = _uid(template)
    for number in range(3000):
        other = uid[: -len(f"{number:04}") or None] + f"{number:04}".encode()
        (source / f"{number:04}.dcm").write_bytes(template.replace(uid, other))
    relay.good("init", "-p", tmp_path / "a")
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "dicomrelay", "archive", "import", source, "-a", tmp_path / "a", "--verbose"],
            stdout=output, stderr=output, env=environment({}),
        )  # fmt: skip
        until(lambda: b"stored: " in log.read_bytes(), seconds=60, what="the first file is stored")
        process.send_signal(signal.SIGINT)
        code = process.wait(60)
    told = {line.split()[1] for line in log.read_text().splitlines() if line.startswith("stored: ")}
    there = relay.good("stats", "-a", tmp_path / "a", "--json").json["instances"]
    rest = relay.good("import", "-a", tmp_path / "a", source, "--json").json

    assert code == 130, log.read_text()[-500:]
    assert "run it again to go on" in log.read_text()
    assert len(told) <= there < 3000
    assert rest["stored"] == 3000 - there
    assert rest["already_there"] == there


def _uid(content: bytes) -> bytes:
    """The SOP Instance UID as it stands in the file, in meta and data set."""
    start = content.index(b"\x08\x00\x18\x00UI") + 8
    length = int.from_bytes(content[start - 2 : start], "little")
    return content[start : start + length].rstrip(b"\0")


def forget_what_is_aside(home: Home) -> None:
    """As if somebody had decided."""
    with closing(sqlite3.connect(home.settings.path("db", "ledger.sqlite"))) as database, database:
        database.execute("DELETE FROM instances WHERE state = 'set_aside'")
    for path in home.settings.path("spool", "aside").glob("*"):
        path.unlink()


def test_the_archive_of_a_relay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Retention asks its ledger: what is delivered goes, with a tombstone, and `dicomrelay check` knows why it is gone."""
    with whole_home(tmp_path) as home:
        relay = ArchiveCommand(home.settings.home, monkeypatch, capsys)
        bounds = "[archive.retention]\nmin_days = 0\nmax_bytes = 1\n"
        (relay.home / "relay.toml").write_text(f"{PACS}{bounds}")
        there = relay.good("query", "--level", "instance", "--json").json
        mark_as_of_a_relay(home.settings.archive_path)
        elsewhere = ArchiveCommand(tmp_path / "elsewhere", monkeypatch, capsys)
        strange = (
            "retention",
            "-a",
            home.settings.archive_path,
            "--max-bytes",
            "1",
            "--undocumented",
            "--yes",
        )
        strangers = elsewhere(*strange)
        warned = relay.good("remove", "--study-uid", STUDY, "--dry-run")
        unknown = elsewhere.good(
            "remove", "-a", home.settings.archive_path, "--study-uid", STUDY, "--dry-run", "--json"
        )
        undelivered = relay.good("retention", "--yes", "--json").json
        for number in range(7):
            home.release(f"{STUDY}.{number}")
        in_conflict = relay.good("retention", "--yes", "--json").json
        forget_what_is_aside(home)
        refused = relay("retention")
        rehearsed = relay.good("retention", "--dry-run", "--verbose")
        gone = relay.good("retention", "--yes", "--json").json
        tombs = relay.good("remove", "--list", "--json").json
        checked = relay.run("check", "--json").json

    assert len(there) == 7
    assert (undelivered["studies"], undelivered["stay"]["undelivered"]) == (0, 1)
    assert (strangers.code, "is the archive of a relay" in strangers.err) == (2, True)
    assert "7 instances of this are not delivered everywhere" in warned.err
    assert unknown.json["undelivered"] is None
    assert "not known here: name the relay" in unknown.err
    assert (in_conflict["studies"], in_conflict["stay"]["conflict"]) == (0, 1)
    assert refused.code == 2
    assert "this would remove 1 study with 7 instances" in refused.err
    assert rehearsed.out.startswith(f"goes  {STUDY}  7 instances")
    assert (gone["studies"], gone["instances"]) == (1, 7)
    assert {each["removed_by"] for each in tombs} == {"retention"}
    assert len(tombs) == 7
    assert not [
        each for each in checked["invariants"] if each["name"].startswith("archive.") and each["faults"]
    ]
