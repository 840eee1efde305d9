"""Every invariant is broken on purpose, found, and mended or left for a person, as docs/design/integrity.md says."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from archive import Archive, StoreRequest
from dicomrelay.errors import ConfigurationError
from dicomrelay.runtime.home import HomeLock, spool_name
from dicomrelay.spool.layout import Identity, Layout
from tests.support.integrity import STUDY, Home, copy_of, rewrite, whole_home
from tests.support.markdown import ROOT
from tests.support.rooms import CT, EXPLICIT, rooms_at
from workers.integrity import Invariant, Severity
from workers.integrity.invariants import WORDS
from workers.integrity.repair import repair
from workers.integrity.tools import Choices

PAGE = ROOT / "docs" / "design" / "integrity.md"


@dataclass(frozen=True)
class Break:
    """A way to break an invariant; `mended` when repair leaves no fault behind."""

    invariant: Invariant
    do: Callable[[Home], object]
    words: str
    mended: bool = True
    read_data: bool = False
    note: bool = False


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    rewrite(path, bytes(content))


def _cut(path: Path) -> None:
    rewrite(path, path.read_bytes()[:-10])


def _swap(one: Path, two: Path) -> None:
    between = one.with_name("between")
    one.rename(between)
    two.rename(one)
    between.rename(two)


def _to_other_bucket(home: Home) -> None:
    path = home.item(f"{STUDY}.1")
    folder = path.parent.parent / "00000000"
    folder.mkdir()
    path.rename(folder / path.name)


def _corrupt(home: Home) -> None:
    path = home.settings.path("spool", "corrupt", f"{'0' * 28}.dcm")
    path.write_bytes(b"nobody knows")


def _whole_but_put_away(home: Home) -> None:
    path = home.item(f"{STUDY}.1")
    path.rename(home.settings.path("spool", "corrupt") / path.name)


def _died_writing(home: Home) -> None:
    layout = Layout(home.settings.path("spool"))
    writer = Identity(layout)
    (layout.new / f"{writer.next_id()}.part").write_bytes(b"half")
    token = layout.writers / writer.token
    writer.close()
    token.touch()  # as `kill -9` leaves it


def _damaged_report(home: Home) -> None:
    folder = home.settings.path("spool", "reports")
    folder.mkdir(mode=0o700)
    (folder / f"{'0' * 28}.json").write_text('{"sha256": "", "report": {}}\n')


def _forget(home: Home, uid: str) -> None:
    of = "(SELECT id FROM instances WHERE sop_instance_uid = :uid AND state = 'kept')"
    for table in ("stages", "deliveries"):
        home.sql(f"DELETE FROM {table} WHERE instance_id = {of}", uid=uid)
    home.sql("DELETE FROM instances WHERE sop_instance_uid = :uid AND state = 'kept'", uid=uid)


def _damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100:2000] = os.urandom(1900)
    path.write_bytes(bytes(content))


def _set_due(table: str, when: str, where: str) -> Callable[[Home], object]:
    return lambda home: home.sql(f"UPDATE {table} SET due_at = {when} WHERE {where}")


def _into_aside(home: Home) -> None:
    path = home.item(f"{STUDY}.1")
    path.rename(home.settings.path("spool", "aside") / path.name)


def _out_of_aside(home: Home) -> None:
    path = home.item(f"{STUDY}.5", "set_aside")
    kept = Layout(home.settings.path("spool")).bucket(path.stem)
    kept.mkdir(exist_ok=True)
    path.rename(kept / path.name)


def _old_part(home: Home) -> None:
    # Its age by the clock of the file system cannot be set; `_young` lets the check see it as old.
    (home.stored(f"{STUDY}.1").parent / ".0123456789abcdef.part").write_bytes(b"half")


def _aside(home: Home) -> Path:
    """Where the archive set aside what came under a UID that it holds."""
    ((offset, size, digest),) = home.sql(
        "SELECT data_set_offset, data_set_bytes, digest FROM instances WHERE state = 'set_aside'"
    )
    with closing(Archive.open(home.settings.archive_path)) as archive:
        archive.store(
            [
                StoreRequest(
                    source=home.item(f"{STUDY}.5", "set_aside"),
                    data_set_offset=offset,
                    data_set_bytes=size,
                    digest=digest,
                    sop_class_uid=CT,
                    sop_instance_uid=f"{STUDY}.5",
                    study_instance_uid=STUDY,
                    series_instance_uid=f"{STUDY}.1",
                    transfer_syntax_uid=EXPLICIT,
                    modality="CT",
                    may_link=False,
                )
            ]
        )
        (conflict,) = archive.conflicts()
    return home.settings.archive_path / conflict.relative_path


_ONE = f"WHERE sop_instance_uid = '{STUDY}.1' AND state = 'kept'"
_NOW = "CAST(strftime('%s', 'now') AS INTEGER) * 1000"
BREAKS = [
    Break(
        Invariant.SPOOL_IDENTITY,
        lambda h: h.settings.path("spool", "identity").write_bytes(b"\0\0\0"),
        "holds no name",
    ),
    Break(Invariant.SPOOL_IDENTITY, lambda h: h.settings.path("spool", "identity").unlink(), "is gone"),
    Break(
        Invariant.SPOOL_IDENTITY,
        lambda h: h.settings.path("spool", "identity").write_text("somebody-01234567\n"),
        "holds somebody-01234567, and the ledger knows",
    ),
    Break(
        Invariant.SPOOL_NAME,
        lambda h: (h.item(f"{STUDY}.1").parent / "notes.txt").write_text("x"),
        "is no item",
        mended=False,
    ),
    Break(Invariant.SPOOL_RECORD, lambda h: _cut(h.item(f"{STUDY}.1")), "bytes long"),
    Break(Invariant.SPOOL_RECORD, lambda h: rewrite(h.item(f"{STUDY}.1"), b""), "data set"),
    Break(Invariant.SPOOL_RECORD, lambda h: rewrite(h.item(f"{STUDY}.1"), bytes(9000)), "data set"),
    Break(
        Invariant.SPOOL_RECORD,
        lambda h: _swap(h.item(f"{STUDY}.1"), h.item(f"{STUDY}.2")),
        "holds the record of",
    ),
    Break(
        Invariant.SPOOL_BYTES,
        lambda h: _flip(h.item(f"{STUDY}.1")),
        "not the one that was received",
        read_data=True,
    ),
    Break(Invariant.SPOOL_PLACE, _to_other_bucket, "lies in kept/00000000/"),
    Break(Invariant.SPOOL_SOURCE, lambda h: _cut(h.theirs), "shorter", mended=False),
    Break(Invariant.SPOOL_SOURCE, lambda h: _flip(h.theirs), "not the one", mended=False, read_data=True),
    Break(Invariant.SPOOL_SOURCE, lambda h: (h.theirs).unlink(), "No such file", mended=False),
    Break(Invariant.SPOOL_CORRUPT, _corrupt, "was put away", mended=False),
    Break(Invariant.SPOOL_CORRUPT, _whole_but_put_away, "was put away"),
    Break(Invariant.SPOOL_LEFTOVERS, _died_writing, "its writer is dead", note=True),
    Break(Invariant.SPOOL_REPORTS, _damaged_report, "not as it was written", mended=False),
    Break(Invariant.LEDGER_DATABASE, lambda h: h.settings.path("db", "ledger.sqlite").unlink(), "gone"),
    Break(
        Invariant.LEDGER_DATABASE,
        lambda h: h.settings.path("db", "ledger.sqlite").write_bytes(b"nonsense" * 999),
        "not a database",
    ),
    Break(
        Invariant.LEDGER_DATABASE, lambda h: h.settings.path("db", "ledger.sqlite").write_bytes(b""), "empty"
    ),
    Break(Invariant.LEDGER_KNOWN, lambda h: _forget(h, f"{STUDY}.1"), "does not know it"),
    Break(Invariant.LEDGER_BYTES, lambda h: h.item(f"{STUDY}.1").unlink(), "the archive has it"),
    Break(Invariant.LEDGER_BYTES, lambda h: h.item(f"{STUDY}.5", "set_aside").unlink(), "lost"),
    Break(
        Invariant.LEDGER_FACTS,
        lambda h: h.sql(f"UPDATE instances SET data_set_offset = 1 {_ONE}"),
        "another offset",
    ),
    Break(Invariant.LEDGER_ASIDE, _into_aside, "lies in aside/"),
    Break(Invariant.LEDGER_ASIDE, _out_of_aside, "lies in kept/"),
    Break(Invariant.LEDGER_RELEASED, lambda h: h.release(f"{STUDY}.1"), "only takes room", note=True),
    Break(
        Invariant.LEDGER_COUNTS,
        lambda h: h.sql(f"UPDATE instances SET open_deliveries = 0 {_ONE}"),
        "says 1 deliveries, 0",
    ),
    Break(Invariant.LEDGER_DUE, _set_due("transfers", "NULL", "state = 'ready'"), "never due"),
    Break(Invariant.LEDGER_DUE, _set_due("transfers", f"{_NOW} + 999999999999", "state = 'ready'"), "due in"),
    Break(Invariant.LEDGER_DUE, _set_due("stages", "1", "stage = 'archive'"), "is done, and due"),
    Break(
        Invariant.LEDGER_WAY,
        lambda h: h.sql("UPDATE transfers SET state = 'done', due_at = NULL"),
        "its deliveries are not",
    ),
    Break(
        Invariant.LEDGER_WAY,
        lambda h: h.sql("UPDATE deliveries SET transfer_id = NULL"),
        "nobody will make one",
    ),
    Break(
        Invariant.LEDGER_STAGES,
        lambda h: h.sql(f"UPDATE instances SET archive_path = '' {_ONE}"),
        "nobody will do it",
    ),
    Break(
        Invariant.LEDGER_STAGES,
        lambda h: h.sql("DELETE FROM stages WHERE stage = 'frames'"),
        "look for its frames",
    ),
    Break(
        Invariant.LEDGER_EVIDENCE,
        lambda h: h.sql("UPDATE evidence SET at = at + 1 WHERE number = 2"),
        "row 2",
        mended=False,
    ),
    Break(
        Invariant.LEDGER_EVIDENCE,
        lambda h: h.sql("DELETE FROM evidence WHERE number > 3"),
        "the end was cut off",
        mended=False,
    ),
    Break(Invariant.ARCHIVE_INDEX, lambda h: (h.settings.archive_path / "index.sqlite").unlink(), "gone"),
    Break(Invariant.ARCHIVE_INDEX, lambda h: _damage(h.settings.archive_path / "index.sqlite"), ""),
    Break(
        Invariant.ARCHIVE_AGREES,
        lambda h: h.sql(f"UPDATE instances SET archive_path = 'data/x' {_ONE}"),
        "another path",
    ),
    Break(Invariant.ARCHIVE_FILE, lambda h: h.stored(f"{STUDY}.1").unlink(), "is gone"),
    Break(Invariant.ARCHIVE_FILE, lambda h: _cut(h.stored(f"{STUDY}.1")), "bytes, not"),
    Break(Invariant.ARCHIVE_BYTES, lambda h: _flip(h.stored(f"{STUDY}.1")), "other bytes", read_data=True),
    Break(
        Invariant.ARCHIVE_KNOWN,
        lambda h: h.index(f"DELETE FROM archive_instances WHERE sop_instance_uid = '{STUDY}.1'"),
        "does not know",
    ),
    Break(
        Invariant.ARCHIVE_FRAMES, lambda h: shutil.rmtree(h.settings.archive_path / "frames"), "frame index"
    ),
    Break(Invariant.ARCHIVE_ASIDE, lambda h: _aside(h).unlink(), "its file is gone", mended=False),
    Break(Invariant.ARCHIVE_ASIDE, lambda h: _cut(_aside(h)), "bytes, not", mended=False),
    Break(Invariant.ARCHIVE_ASIDE, lambda h: _flip(_aside(h)), "other bytes", mended=False, read_data=True),
    Break(Invariant.ARCHIVE_LEFTOVERS, _old_part, "for an hour", note=True),
    Break(
        Invariant.ARCHIVE_UNLISTED,
        lambda h: (h.item(f"{STUDY}.1").unlink(), _forget(h, f"{STUDY}.1")),
        "archive only",
        note=True,
    ),
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with whole_home(tmp_path_factory.mktemp("template")) as home:
        yield home


@pytest.fixture
def home(template: Home, tmp_path: Path) -> Iterator[Home]:
    """A home in which everything is right, to be broken."""
    content = template.theirs.read_bytes()
    yield copy_of(template, tmp_path)
    template.theirs.write_bytes(content)


@pytest.fixture(autouse=True)
def old_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are two hours older than they are: the age of a name cannot be set."""
    really = time.time
    monkeypatch.setattr("workers.integrity.archive_check.time.time", lambda: really() + 7200)


def test_the_page_has_a_row_for_every_invariant_and_the_code_has_its_words() -> None:
    """The table of the design page and the enum are one list, in one order."""
    rows = re.findall(r"^\| `([a-z.]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)

    assert rows == [invariant.value for invariant in Invariant]
    assert set(WORDS) == set(Invariant)


def test_every_invariant_is_broken_below() -> None:
    """None is only a sentence."""
    assert {broken.invariant for broken in BREAKS} == set(Invariant)


def test_nothing_is_found_where_nothing_is_wrong(home: Home) -> None:
    """Not a fault, not a note, with every byte read; and repair has nothing to do."""
    assert home.findings(read_data=True) == []
    assert home.repair(read_data=True) == []


@pytest.mark.parametrize("broken", BREAKS, ids=lambda each: f"{each.invariant.value}-{each.words[:12]}")
def test_what_is_broken_is_found_and_mended_or_left_for_a_person(broken: Break, home: Home) -> None:
    """One finding of the right kind at least; after repair no fault, unless the page says that a person must look."""
    broken.do(home)
    found = [each for each in home.findings(read_data=broken.read_data) if each.invariant is broken.invariant]
    assert [each for each in found if broken.words in each.words]
    assert all((each.severity is Severity.NOTE) == broken.note for each in found)
    before = _files(home)
    rehearsed = home.repair(read_data=broken.read_data, dry_run=True)
    assert rehearsed
    assert not any(mended.done for mended in rehearsed)
    assert _files(home) == before

    mended = home.repair(read_data=broken.read_data)

    assert broken.invariant in {each.finding.invariant for each in mended}
    left = home.faults(read_data=broken.read_data)
    assert (left == []) == broken.mended, left
    if broken.mended:
        again = home.repair(read_data=broken.read_data)
        assert [each for each in again if each.finding.severity is Severity.FAULT] == []


def _files(home: Home) -> dict[str, int]:
    """What is in spool and archive, by size."""
    roots = (home.settings.path("spool"), home.settings.archive_path / "data")
    return {str(path): path.stat().st_size for root in roots for path in root.rglob("*.dcm")}


def test_swapped_names_are_put_right_in_the_spool_and_in_the_archive(home: Home) -> None:
    """Both go to where nothing is read from, are recognised there by what they hold, and come back under their own names."""
    _swap(home.stored(f"{STUDY}.1"), home.stored(f"{STUDY}.2"))
    for number in (1, 2):
        home.item(f"{STUDY}.{number}").unlink()

    assert {each for each, _ in home.faults(read_data=True)} >= {Invariant.ARCHIVE_BYTES}
    home.repair(read_data=True)

    assert home.faults(read_data=True) == []
    assert not list((home.settings.archive_path / "lost+found").iterdir())


def test_what_is_lost_is_said_to_be_lost_and_is_not_tried_for_ever(tmp_path: Path) -> None:
    """Without an archive the only copy is gone: its delivery is listed as refused, and check goes on to say so."""
    with whole_home(tmp_path, archive=False) as gone:
        gone.item(f"{STUDY}.1").unlink()
        (mended,) = gone.repair()

        assert not mended.done
        assert "lost" in mended.words
        states = gone.sql(
            "SELECT d.state FROM deliveries d JOIN instances i ON i.id = d.instance_id "
            "WHERE i.sop_instance_uid = :u",
            u=f"{STUDY}.1",
        )
        assert states == [("refused",)]
        assert [each for each, _ in gone.faults()] == [Invariant.LEDGER_BYTES]


def test_nothing_that_was_acknowledged_is_deleted(home: Home) -> None:
    """Whatever was damaged is still there afterwards, in corrupt/ or lost+found/, byte for byte."""
    for number in range(3):
        _flip(home.item(f"{STUDY}.{number}"))
        _flip(home.stored(f"{STUDY}.{number + 3}"))
    before = sorted(path.read_bytes() for path in _all(home))
    home.repair(read_data=True)
    after = {path.read_bytes() for path in _all(home)}

    assert set(before) <= after
    assert home.faults(read_data=True) == []


def _all(home: Home) -> list[Path]:
    return [path for path in home.settings.home.rglob("*.dcm") if path.is_file()]


def test_repair_beside_a_writer_leaves_a_lost_database_alone(home: Home) -> None:
    """Its processes hold the old one: exit code 2, and what to stop."""
    home.settings.path("db", "ledger.sqlite").unlink()
    writer = Identity(Layout(home.settings.path("spool")))
    with pytest.raises(ConfigurationError, match="Stop it, run `dicomrelay repair`"):
        home.repair()
    assert not home.settings.path("db", "ledger.sqlite").exists()
    writer.close()
    home.repair()
    assert home.faults() == []


def test_two_repairs_do_not_meet(home: Home) -> None:
    """The second says that the first is at it."""
    home.item(f"{STUDY}.1").unlink()
    first = repair(home.settings, Choices())
    next(first)
    with pytest.raises(ConfigurationError, match="another `dicomrelay repair`"):
        home.repair()
    first.close()


def test_a_live_writers_files_are_no_leftovers(home: Home) -> None:
    """Its lock says that it lives."""
    layout = Layout(home.settings.path("spool"))
    writer = Identity(layout)
    (layout.new / f"{writer.next_id()}.part").write_bytes(b"half")
    assert home.findings() == []
    writer.close()


def test_a_spool_gets_its_old_name_back_and_no_other(home: Home) -> None:
    """What is registered under it would be nobody's work."""
    path = home.settings.path("spool", "identity")
    name = path.read_text()
    path.write_text("")

    (mended,) = home.repair()

    assert mended.done
    assert path.read_text() == name


def test_a_name_that_nobody_knows_is_not_guessed(home: Home) -> None:
    """Items of two names in one spool: a person has to say which it is."""
    path = home.settings.path("spool", "identity")
    path.write_text("")
    home.sql(f"UPDATE instances SET host = 'other-01234567' {_ONE}")

    (mended,) = home.repair()

    assert not mended.done
    assert "other-01234567" in mended.words
    assert path.read_text() == ""


def test_a_new_name_is_made_where_the_ledger_knows_nothing(tmp_path: Path) -> None:
    """And not beside a relay that still goes by the old one."""
    with rooms_at(tmp_path / "home") as (rooms, _):
        settings = rooms.settings
    path = settings.path("spool", "identity")
    path.write_bytes(b"\xff")
    lock = HomeLock(settings)
    lock.take()
    with pytest.raises(ConfigurationError, match="lost its name"):
        list(repair(settings, Choices()))
    lock.release()

    (mended,) = repair(settings, Choices())

    assert mended.done
    assert spool_name(settings) == path.read_text().strip()
