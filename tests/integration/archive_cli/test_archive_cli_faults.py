"""`dicomrelay archive` where something is wrong, in terminals of several widths, and what it never says."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from rich.cells import cell_len

from dicomrelay.cli.main import cli
from tests.support.archive_command import ArchiveCommand, header_values, sample_files, sample_folder
from tests.support.markdown import ROOT, blocks, prose
from tests.support.processes import environment

INSTANCES = header_values(sample_folder())
# Every command that needs an archive, with what else it cannot be without.
COMMANDS = (
    ("import", "x.dcm"), ("query",), ("list",), ("stats",), ("export", "--all", "-o", "out"), ("diff", "/tmp"), ("check",),
    ("scrub",), ("conflicts", "list"), ("conflicts", "show", "1.2"), ("remove", "--sop-uid", "1.2", "--reason", "x", "--yes"),
    ("retention", "--max-bytes", "1"), ("export-index",), ("rebuild-index",),
)  # fmt: skip
READS = [
    words
    for words in COMMANDS
    if words[0] in {"query", "list", "stats", "check", "conflicts"} and words[-1] != "1.2"
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: "-".join(words[:2]))
def test_every_command_refuses_what_is_no_archive(
    relay: ArchiveCommand, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Nothing there, a file, somebody's folder, no archive in the home: exit code 2, and nothing is made."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "letter.txt").write_text("mine")
    for folder in (tmp_path / "nowhere", tmp_path / "file", tmp_path / "folder"):
        told = relay(*words, "--archive", folder)
        assert told.code == 2, told.err
        assert str(folder) in told.err
    home = relay(*words, "--json")

    assert home.code == 2
    assert home.json["kind"] == "ConfigurationError"
    assert not (tmp_path / "nowhere").exists()
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["letter.txt"]
    assert not relay.home.exists()


def test_a_folder_is_told_what_it_is_instead(relay: ArchiveCommand, tmp_path: Path) -> None:
    """Of another program, or without its index."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "archive_index.json").write_text("{}")
    (tmp_path / "files" / "data").mkdir(parents=True)

    assert "import-index" in relay("query", "-a", tmp_path / "old").err
    assert "rebuild-index" in relay("query", "-a", tmp_path / "files").err


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: "-".join(words[:2]))
def test_an_archive_of_a_newer_version_is_left_alone(
    relay: ArchiveCommand, filled: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Its format or its index says so: exit code 1, `update dicomrelay`, and not a byte is changed."""
    for name in ("format", "index"):
        shutil.copytree(filled, tmp_path / name)
    facts = json.loads((tmp_path / "format" / "archive.json").read_text())
    (tmp_path / "format" / "archive.json").write_text(json.dumps({**facts, "format": 99}))
    with sqlite3.connect(tmp_path / "index" / "index.sqlite") as database:
        database.execute("UPDATE archive_version SET version_num = '9999'")
    database.close()
    for folder in (tmp_path / "format", tmp_path / "index"):
        if words == ("rebuild-index",) and folder.name == "index":
            continue  # makes the index anew, whatever the old one was
        told = relay(*words, "--archive", folder)
        assert told.code == 1, told.err
        assert "update dicomrelay" in told.err


@contextmanager
def read_only(place: Path) -> Iterator[None]:
    """The folder on a file system that is read-only, as long as the block lasts."""
    if os.geteuid() != 0 or subprocess.run(["mount", "--bind", place, place], check=False).returncode:
        pytest.skip("nothing may be mounted here")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
        yield
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("words", READS, ids=lambda words: "-".join(words[:2]))
def test_a_read_only_archive_can_be_read(
    relay: ArchiveCommand, filled: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """With the same answers as one that can be written."""
    shutil.copytree(filled, tmp_path / "a%20 ?")
    before = relay(*words, "-a", tmp_path / "a%20 ?")
    with read_only(tmp_path / "a%20 ?"):
        read = relay(*words, "-a", tmp_path / "a%20 ?")

    assert (read.code, read.out) == (0, before.out), read.err


@pytest.mark.parametrize(
    "words",
    [
        ("import", sample_files("CT_small.dcm")[0]),
        ("remove", "--patient-id", "77654033", "--reason", "x", "--yes"),
        ("scrub",),
        ("export-index",),
        ("rebuild-index",),
        ("init", "--force"),
    ],
    ids=lambda words: "-".join(map(str, words[:2]))[-30:],
)
def test_what_would_write_to_a_read_only_archive_says_so(
    relay: ArchiveCommand, filled: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """In words, and nothing is changed."""
    place = tmp_path / "a"
    shutil.copytree(filled, place)
    with read_only(place):
        told = relay(*words, "-p" if words[0] == "init" else "-a", place)

    assert told.code in {1, 2, 3}, told.err
    assert "read-only" in told.err.lower() or "readonly" in told.err.lower()
    assert "Traceback" not in told.err
    assert relay.good("stats", "-a", place, "--json").json["instances"] == len(INSTANCES)


def test_a_read_only_index_that_was_in_use_is_not_believed(
    relay: ArchiveCommand, filled: Path, tmp_path: Path
) -> None:
    """What was written last is in its log, which is not read there: words instead of an old answer."""
    place = tmp_path / "a"
    shutil.copytree(filled, place)
    (place / "index.sqlite-wal").write_bytes(b"x" * 100)
    with read_only(place):
        told = relay("stats", "-a", place)

    assert told.code == 1
    assert "its index was in use" in told.err


@pytest.mark.parametrize("columns", [80, 160])
@pytest.mark.parametrize(
    "words",
    [("query",), ("query", "--level", "series"), ("query", "--level", "instance"), ("list",), ("list", "--show-instances"),
     ("list", "-f", "table"), ("stats",), ("query", "--level", "patient")],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else str(value),
)  # fmt: skip
def test_what_is_shown_fits_the_terminal(
    relay: ArchiveCommand, filled: Path, columns: int, words: tuple[str, ...]
) -> None:
    """No line is wider than it, and no UID is cut."""
    told = relay.in_terminal(columns, *words, "-a", filled)

    assert told.code == 0, told.out
    assert max(cell_len(line) for line in told.lines) <= columns or words == ("stats",)
    wanted = {
        "--show-instances": "SOPInstanceUID",
        "instance": "SOPInstanceUID",
        "series": "SeriesInstanceUID",
    }
    keyword = wanted.get(words[-1], "StudyInstanceUID")
    if words[0] != "stats" and words[-1] not in {"patient", "table"}:
        shown = {word for line in told.lines for word in line.split()}
        assert {each[keyword] for each in INSTANCES} <= shown


def test_import_in_a_terminal_shows_a_bar(relay: ArchiveCommand, tmp_path: Path) -> None:
    """And the summary behind it."""
    relay.good("init", "-p", tmp_path / "a")
    told = relay.in_terminal(80, "import", "-a", tmp_path / "a", sample_folder(), "-r")

    assert told.code == 0, told.out
    assert f"{len(INSTANCES)} stored" in told.out


def test_no_patient_is_named_where_nobody_asked(relay: ArchiveCommand, filled: Path, tmp_path: Path) -> None:
    """Standard error of every command, good or bad: not one name, not one id."""
    shutil.copytree(filled, tmp_path / "a")
    next((tmp_path / "a" / "data").rglob("*.dcm")).unlink()
    said = ""
    for words in (
        ("query",), ("list",), ("stats",), ("check", "--verify-files"), ("export", "--all", "-o", tmp_path / "out"),
        ("diff", filled), ("scrub",), ("conflicts", "list"), ("rebuild-index",), ("export-index", "-o", tmp_path / "i.json"),
        ("import", sample_folder(), "-r"), ("retention", "--max-bytes", "1", "--undocumented", "--dry-run"),
    ):  # fmt: skip
        said += relay(*words, "-a", tmp_path / "a").err
    said = said.replace(str(sample_folder()), "")

    assert "instance" in said
    for each in INSTANCES:
        assert each["PatientName"] not in said
        assert each["PatientID"] not in said


def test_an_option_of_the_group_is_told_where_it_goes(relay: ArchiveCommand, tmp_path: Path) -> None:
    """`--archive` before the command."""
    told = relay("--archive", tmp_path, "list")

    assert told.code == 2
    assert "--archive goes behind the command: dicomrelay archive COMMAND --archive" in told.err


@pytest.mark.parametrize("words", [("list", "--show-instances"), ("stats", "--json"), ("query", "--help")])
def test_whoever_stops_reading_is_no_fault(
    relay: ArchiveCommand, filled: Path, words: tuple[str, ...]
) -> None:
    """`… | head -1` ends without a word of complaint, and with the code of a program that SIGPIPE ended."""
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "w") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "dicomrelay", "archive", *words, "-a", str(filled), "--home", str(relay.home)],
            stdout=pipe, stderr=subprocess.PIPE, text=True, timeout=60, check=False, env=environment({}),
        )  # fmt: skip

    assert done.returncode == 141
    assert done.stderr == ""


@pytest.mark.parametrize(
    "words", [("query",), ("list",), ("stats", "--json"), ("query", "-f", "csv"), ("query", "--help")]
)
def test_output_on_a_full_disk_is_told_in_a_sentence(
    relay: ArchiveCommand, filled: Path, words: tuple[str, ...]
) -> None:
    """`… > /dev/full`: exit code 1, and no traceback."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dicomrelay", "archive", *words, "-a", str(filled), "--home", str(relay.home)],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False, env=environment({}),
        )  # fmt: skip

    assert done.returncode == 1
    assert "standard output cannot be written" in done.stderr
    assert "No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def every_command(group: click.Group, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Commands below a group, by the words that call them."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from every_command(found, *names, name)
        else:
            yield (*names, name), found


def the_group() -> click.Group:
    group = cli.get_command(click.Context(cli), "archive")
    assert isinstance(group, click.Group)
    return group


def test_every_command_has_help_with_examples(relay: ArchiveCommand) -> None:
    """That can be pasted: each is understood as it stands."""
    commands = dict(every_command(the_group()))
    for words, command in commands.items():
        assert "Examples:" in (command.epilog or ""), words
        assert f"Usage: dicomrelay archive {' '.join(words)} " in relay(*words, "--help").out.replace(
            "--home", " "
        )
        for line in (command.epilog or "").replace("\b", "").splitlines()[1:]:
            if line.strip().startswith("dicomrelay"):
                given = shlex.split(line.strip())
                assert given[: 2 + len(words)] == ["dicomrelay", "archive", *words], line
                command.make_context("x", given[2 + len(words) :])


def test_what_the_pages_say_is_understood() -> None:
    """`dicomrelay archive X …` of every page, with its options; nothing is run."""
    commands = dict(every_command(the_group()))
    understood = 0
    for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        lines = [line.removeprefix("$ ") for block in blocks(page) for line in block.text.splitlines()]
        lines += re.findall(r"`(dicomrelay archive [^`\n]+)`", prose(page))
        for line in lines:
            if line.startswith("dicomrelay archive ") and not {"…", "[OPTIONS]"} & set(line.split()):
                given = shlex.split(line, comments=True)[2:]
                words = next((each for each in commands if tuple(given[: len(each)]) == each), None)
                assert words is not None or given[0] in {"COMMAND", "conflicts"}, f"{page.name}: {line}"
                if words is not None and len(given) > len(words):
                    commands[words].make_context("x", given[len(words) :])
                    understood += 1

    assert understood > 20
