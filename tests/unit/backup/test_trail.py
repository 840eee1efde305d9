"""The audit trail in a backup joins the one of the home; nothing of either is lost."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from dicomrelay.audit import Entry, Kind, Party
from dicomrelay.audit.trail import Trail
from dicomrelay.backup import trail
from dicomrelay.errors import BackupDamaged

TODAY, BEFORE = "2026-11-22.jsonl", "2026-11-21.jsonl"


def a_trail(home: Path, **segments: str) -> Path:
    folder = home / "audit"
    folder.mkdir(parents=True)
    for name, text in segments.items():
        (folder / name).write_text(text)
    return folder


def backup_of(home: Path) -> dict[str, bytes]:
    return dict(trail.packed(home))


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("*.json*")}


def test_a_trail_comes_back_whole_but_for_a_line_under_way(tmp_path: Path) -> None:
    """With the place up to which the repository has heard it; said again nothing is written."""
    cursor = json.dumps({"segment": TODAY, "offset": 3})
    a_trail(tmp_path / "a", **{BEFORE: "1\n2\n", TODAY: "3\n4\n5", "shipped.json": cursor, "lock": ""})
    files = backup_of(tmp_path / "a")

    assert trail.restore(tmp_path / "b", files)
    assert texts(tmp_path / "b" / "audit") == {BEFORE: "1\n2\n", TODAY: "3\n4\n", "shipped.json": cursor}
    assert not trail.restore(tmp_path / "b", files)
    assert not trail.restore(tmp_path / "a", files)


def test_entries_of_the_same_day_stay_and_the_others_join_them(tmp_path: Path) -> None:
    """On a new machine the restore has begun a trail of its own; what it says is sent, and nothing of it passed over."""
    cursor = json.dumps({"segment": TODAY, "offset": 4})
    a_trail(tmp_path / "a", **{BEFORE: "1\n", TODAY: "2\n3\n", "shipped.json": cursor})
    there = a_trail(tmp_path / "b", **{TODAY: "restore\n"})
    files = backup_of(tmp_path / "a")

    assert trail.restore(tmp_path / "b", files)
    assert not trail.restore(tmp_path / "b", files)

    found = texts(there)
    assert json.loads(found.pop("shipped.json")) == {"segment": TODAY, "offset": 0}
    assert found == {BEFORE: "1\n", TODAY: "restore\n", "2026-11-22.1.jsonl": "2\n3\n"}


def test_a_home_keeps_its_place_and_what_came_since(tmp_path: Path) -> None:
    """A trail that is longer than the backup's is left alone; one that was cut short is made whole."""
    folder = a_trail(tmp_path / "a", **{BEFORE: "1\n2\n", TODAY: "3\n"})
    files = backup_of(tmp_path / "a")
    (folder / TODAY).write_text("3\n4\n")
    (folder / BEFORE).write_text("1\n")
    (folder / "shipped.json").write_text("{}")

    assert trail.restore(tmp_path / "a", files)

    assert texts(folder) == {BEFORE: "1\n2\n", TODAY: "3\n4\n", "shipped.json": "{}"}


def test_what_a_restore_joined_is_told_as_that(tmp_path: Path) -> None:
    """`audit check` sees two trails, each with its lines as they were written, and says what makes such a seam."""
    before, after = tmp_path / "a", tmp_path / "b"
    for home, entries in ((before, 5), (after, 1)):
        for _ in range(entries):
            Trail(home / "audit").write(Entry(Kind.QUERY, "find", Party("zoe")))
    trail.restore(after, backup_of(before))
    Trail(after / "audit").write(Entry(Kind.QUERY, "find", Party("zoe")))

    found = Trail(after / "audit").check()

    assert (found.lines, found.unlinked) == (7, 0)
    assert [(each.line, "restore" in each.words) for each in found.breaks] == [(1, True)]
    assert not Trail(before / "audit").check().breaks


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_root_restores_into_the_home_of_another_user_is_that_users(tmp_path: Path) -> None:
    """Its services could else write to no trail, and would do nothing that has to be recorded."""
    a_trail(tmp_path / "a", **{TODAY: "1\n", "shipped.json": json.dumps({"segment": TODAY, "offset": 2})})
    home = tmp_path / "b"
    home.mkdir()
    os.chown(home, 65_534, 65_534)

    assert trail.restore(home, backup_of(tmp_path / "a"))

    made = {path.name: path.stat().st_uid for path in (home / "audit", *(home / "audit").iterdir())}
    assert made == dict.fromkeys(("audit", "lock", TODAY, "shipped.json"), 65_534)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("../relay.toml.gz", gzip.compress(b"")),
        ("lock.gz", gzip.compress(b"")),
        ("2026-11-22.jsonl", b"plain"),
        ("2026-11-22.jsonl.gz", b"not packed"),
        ("2026-11-22.jsonl.gz", gzip.compress(b"x" * 100)[:-9]),
        ("2026-11-22.jsonl.gz", gzip.compress(bytes((64 << 20) + 1), 1)),
    ],
    # A packed file has its time in it: workers of pytest would not agree on the names of the tests.
    ids=["path", "lock", "unpacked", "not-packed", "cut", "too-large"],
)
def test_a_file_that_is_no_segment_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    """Before anything is written, and before it fills the memory."""
    with pytest.raises(BackupDamaged):
        trail.restore(tmp_path, {"2026-11-21.jsonl.gz": gzip.compress(b"1\n"), name: content})

    assert not (tmp_path / "audit").exists()
