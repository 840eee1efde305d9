"""What an archive's folder says of itself, and how one is made where something is already."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from archive import Archive, Policy
from archive.initialising import initialise
from archive.root import FACTS, UseLock, mark_as_of_a_relay, read_facts
from dicomrelay.errors import ArchiveError, ConfigurationError, ServiceUnavailable
from tests.support.archive_writing import check_whole, held_digest, instance


def test_an_archive_of_a_newer_format_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    """Before its index is touched."""
    root = tmp_path / "archive"
    root.mkdir()
    (root / FACTS).write_text('{"format": 99, "policy": "something new"}')

    with pytest.raises(ArchiveError, match=r"newer version of dicomrelay \(format 99"):
        Archive.open(root)

    assert [path.name for path in root.iterdir()] == [FACTS]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "2"}'])
def test_damaged_facts_are_an_error_that_says_what_to_do(tmp_path: Path, text: str) -> None:
    """The policy is not guessed."""
    (tmp_path / FACTS).write_text(text)

    with pytest.raises(ArchiveError, match="move it away"):
        Archive.open(tmp_path)


def test_an_archive_that_says_nothing_yet_is_taken_and_says_it_from_then_on(tmp_path: Path) -> None:
    """It was made before there were facts."""
    archive = Archive.open(tmp_path / "archive")
    request = instance(tmp_path / "in")
    archive.store([request])
    archive.close()
    (tmp_path / "archive" / FACTS).unlink()

    again = Archive.open(tmp_path / "archive")

    facts = read_facts(tmp_path / "archive")
    assert facts is not None
    assert (facts.format, facts.policy) == (2, Policy.KEEP_FIRST)
    assert held_digest(again, request) == request.digest
    again.close()


def test_the_policy_of_the_folder_holds_unless_somebody_says_otherwise(tmp_path: Path) -> None:
    """It is kept with the archive, not with the index."""
    made = initialise(tmp_path / "archive", policy=Policy.REFUSE)
    (made.root / "index.sqlite").unlink()

    for said, expected in ((None, Policy.REFUSE), (Policy.REPLACE, Policy.REPLACE)):
        archive = Archive.open(made.root, policy=said)
        assert archive.policy is expected
        archive.close()


def test_a_new_archive_is_empty_and_for_our_user_only(tmp_path: Path) -> None:
    """In a folder that is not there."""
    made = initialise(tmp_path / "some" / "archive")

    assert (made.moved_to, made.left) == (None, ())
    assert json.loads((made.root / FACTS).read_text())["policy"] == "keep_first"
    assert {path.name for path in made.root.iterdir()} >= {"data", "conflicts", "index.sqlite", FACTS}
    assert {path.stat().st_mode & 0o077 for path in (made.root, *made.root.rglob("*"))} == {0}
    archive = Archive.open(made.root)
    check_whole(archive)
    archive.close()


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    """Whether it holds an archive or something else; and a file is no folder."""
    archive = initialise(tmp_path / "archive").root
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")

    with pytest.raises(ConfigurationError, match="holds an archive already"):
        initialise(archive)
    with pytest.raises(ConfigurationError, match=r"is not empty \(thesis.txt\)"):
        initialise(other)
    with pytest.raises(ConfigurationError, match="is a file"):
        initialise(other / "thesis.txt")

    assert [path.name for path in other.iterdir()] == ["thesis.txt"]


def test_force_moves_the_archive_aside_and_leaves_foreign_files(tmp_path: Path) -> None:
    """Nothing is deleted: the old one can be opened where it is now."""
    root = initialise(tmp_path / "archive").root
    archive = Archive.open(root)
    request = instance(tmp_path / "in")
    archive.store([request])
    archive.close()
    (root / "thesis.txt").write_text("mine")
    (root / "photos").mkdir()

    made = initialise(root, force=True)

    assert made.left == ("photos", "thesis.txt")
    assert (root / "thesis.txt").read_text() == "mine"
    new = Archive.open(root)
    assert held_digest(new, request) == ""
    new.close()
    assert made.moved_to is not None
    assert made.moved_to.parent == root
    old = Archive.open(made.moved_to)
    assert held_digest(old, request) == request.digest
    check_whole(old)
    old.close()
    again = initialise(root, force=True)
    assert again.moved_to not in (None, made.moved_to)


def test_force_does_nothing_to_an_archive_that_is_open(tmp_path: Path) -> None:
    """Its processes would write into what was moved."""
    root = initialise(tmp_path / "archive").root
    archive = Archive.open(root)

    with pytest.raises(ConfigurationError, match="open elsewhere"):
        initialise(root, force=True)

    check_whole(archive)
    archive.close()


def test_nobody_opens_what_one_has_alone(tmp_path: Path) -> None:
    """It is worth another try."""
    root = initialise(tmp_path / "archive").root
    with UseLock(root, alone=True), pytest.raises(ServiceUnavailable, match="being made anew"):
        Archive.open(root)

    Archive.open(root).close()


def test_that_it_is_a_relays_is_written_once_and_stays(tmp_path: Path) -> None:
    """Policy and time are those of before; opened again, it still says so. A folder that is no archive gets nothing."""
    root = initialise(tmp_path / "archive", policy=Policy.REPLACE).root
    before = read_facts(root)
    mark_as_of_a_relay(root)
    Archive.open(root).close()
    mark_as_of_a_relay(tmp_path)

    assert before is not None
    assert not before.of_a_relay
    assert read_facts(root) == dataclasses.replace(before, of_a_relay=True)
    assert not (tmp_path / FACTS).exists()
