"""What check and repair say is so when they say it: one file under two names, rehearsals, a folder that is gone."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.integrity import STUDY, Home, copy_of, rewrite, whole_home
from workers.integrity import Finding, Invariant, Severity
from workers.integrity.repair import repair
from workers.integrity.tools import Choices, Mended

UID = f"{STUDY}.1"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with whole_home(tmp_path_factory.mktemp("template")) as home:
        yield home


@pytest.fixture
def home(template: Home, tmp_path: Path) -> Home:
    """A home in which everything is right, to be broken."""
    return copy_of(template, tmp_path)


@pytest.fixture(autouse=True)
def old_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are two hours older than they are: the age of a name cannot be set."""
    really = time.time
    monkeypatch.setattr("workers.integrity.archive_check.time.time", lambda: really() + 7200)


def _flip_in_place(path: Path) -> None:
    """One bit on the disk: of every name that the file has."""
    with path.open("r+b") as file:
        file.seek(-1, 2)
        (last,) = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))


def _flip_one_name(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    rewrite(path, bytes(content))


def test_a_database_whose_folder_is_gone_is_rebuilt(home: Home) -> None:
    """`db/` went with the database: the folder is made, all is registered, and nothing is said to be mended before it is."""
    shutil.rmtree(home.settings.path("db"))
    lines = repair(home.settings, Choices())
    first = next(lines)
    there = home.settings.path("db", "ledger.sqlite").exists()
    rest = list(lines)

    assert (first.finding.invariant, first.done, there) == (Invariant.LEDGER_DATABASE, True, True)
    assert all(each.done for each in rest)
    assert home.sql("SELECT count(*) FROM instances") == [(8,)]
    assert home.faults(read_data=True) == []


def test_one_flipped_bit_under_two_names_is_said_to_be_one_file(home: Home) -> None:
    """Spool and archive are hard links of one file by default: neither can mend the other, and both findings say so."""
    item, stored = home.item(UID), home.stored(UID)
    assert item.samefile(stored)
    _flip_in_place(item)

    words = dict(home.faults(read_data=True))

    assert set(words) == {Invariant.SPOOL_BYTES, Invariant.ARCHIVE_BYTES}
    assert "its file in the archive is this same file (a hard link)" in words[Invariant.SPOOL_BYTES]
    assert "its spool item is this same file (a hard link)" in words[Invariant.ARCHIVE_BYTES]
    assert all("send the instance again" in each for each in words.values())


def test_one_truncated_file_under_two_names_is_said_to_be_one_file(home: Home) -> None:
    """Also where the bytes are not read, and the record cannot be trusted."""
    item = home.item(UID)
    with item.open("r+b") as file:
        file.truncate(item.stat().st_size - 10)
    words = dict(home.faults())

    assert "this same file (a hard link)" in words[Invariant.SPOOL_RECORD]
    assert "this same file (a hard link)" in words[Invariant.ARCHIVE_FILE]


def test_a_copy_of_its_own_is_no_second_name(home: Home) -> None:
    """Then the other one is whole, and mends it."""
    _flip_one_name(home.item(UID))
    ((invariant, words),) = home.faults(read_data=True)

    assert (invariant, "hard link" in words) == (Invariant.SPOOL_BYTES, False)
    home.repair(read_data=True)
    assert home.faults(read_data=True) == []


def test_what_is_lost_with_both_names_is_not_said_to_be_in_the_archive(home: Home) -> None:
    """Its words do not contradict each other; after the repair check says lost, and the rehearsal had said it too."""
    _flip_in_place(home.item(UID))
    rehearsed = home.repair(read_data=True, dry_run=True)
    mended = home.repair(read_data=True)
    (lost,) = [each for each in mended if each.finding.invariant is Invariant.LEDGER_BYTES]
    left = dict(home.faults())

    assert lost.finding.words == "lost: its spool item is gone, and nobody else has it"
    assert lost.words == "listed as lost; send the instance again"
    assert "the archive has it" not in left[Invariant.LEDGER_BYTES]
    assert _shape(rehearsed) == _shape(mended)


def test_what_only_reading_shows_is_said_when_it_was_read(home: Home) -> None:
    """The archive's file has its size, and other bytes: not the archive's word, but why it is lost, is what repair says."""
    home.item(UID).unlink()
    _flip_in_place(home.stored(UID))
    ((_, before),) = home.faults()
    (lost,) = home.repair()

    assert before == "its spool item is gone; the archive has it"
    assert lost.words == "the archive's file holds other bytes: listed as lost; send the instance again"


def _shape(all_mended: list[Mended]) -> Counter[tuple[Invariant, Severity, bool]]:
    return Counter((m.finding.invariant, m.finding.severity, m.done or m.would) for m in all_mended)


def _swap(one: Path, two: Path) -> None:
    between = one.with_name("between")
    one.rename(between)
    two.rename(one)
    between.rename(two)


def _not_an_instance(home: Home) -> None:
    (home.stored(UID).parent / "notes.txt").write_text("x")


def _lost_without_archive(home: Home) -> None:
    home.item(UID).unlink()
    home.stored(UID).unlink()


@pytest.mark.parametrize(
    "broken",
    [
        lambda home: _flip_in_place(home.item(UID)),
        lambda home: _flip_one_name(home.item(UID)),
        lambda home: _flip_one_name(home.stored(UID)),
        lambda home: home.item(UID).unlink(),
        lambda home: home.stored(UID).unlink(),
        lambda home: home.stored(f"{STUDY}.6").unlink(),
        lambda home: _swap(home.stored(UID), home.stored(f"{STUDY}.2")),
        lambda home: home.settings.path("spool", "corrupt", f"{'0' * 28}.dcm").write_bytes(b"x"),
        lambda home: home.item(UID).rename(home.settings.path("spool", "corrupt") / home.item(UID).name),
        lambda home: home.sql("UPDATE evidence SET at = at + 1 WHERE number = 2"),
        lambda home: home.release(UID),
        lambda home: home.sql("UPDATE instances SET open_deliveries = 0"),
        _not_an_instance,
        _lost_without_archive,
    ],
)
def test_a_rehearsal_promises_what_repair_does(broken: object, home: Home) -> None:
    """Finding by finding the same decision: what would be mended is, and what would be left is left."""
    assert callable(broken)
    broken(home)
    rehearsed = home.repair(read_data=True, dry_run=True)
    mended = home.repair(read_data=True)

    assert rehearsed
    assert _shape(rehearsed) == _shape(mended)


def test_what_was_put_away_is_judged_when_the_ledger_is_rebuilt(home: Home) -> None:
    """Its instance lives on in the archive: a note, no fault, though no ledger could say so when the repair began."""
    _flip_one_name(home.item(UID))
    home.repair(read_data=True)
    assert home.faults(read_data=True) == []
    for path in home.settings.path("db").glob("ledger.sqlite*"):
        path.unlink()

    left: list[Finding] = [each.finding for each in home.repair() if not each.done]

    assert [(each.invariant, each.severity) for each in left] == [(Invariant.SPOOL_CORRUPT, Severity.NOTE)]
    assert home.faults(read_data=True) == []
