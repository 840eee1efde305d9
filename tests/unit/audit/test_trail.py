"""The trail on a disk: whole lines, by many, for so long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest

from dicomrelay.audit import Audit, Entry, Kind, Outcome, Party, Thing, trail
from dicomrelay.audit.shipped import Place, Shipped
from dicomrelay.audit.trail import Keeping, Segment, Trail
from dicomrelay.errors import AuditError
from dicomrelay.settings import AuditSettings, Settings

DAY = date(2026, 11, 22)


def entry(number: int = 0) -> Entry:
    return Entry(Kind.QUERY, f"find {number}", Party("CT"))


def test_entries_come_back_in_their_order(tmp_path: Path) -> None:
    """For our user alone."""
    found = Trail(tmp_path / "audit")
    for number in range(3):
        found.write(entry(number), durable=number == 1)
    assert [each.what for each in found.entries()] == ["find 0", "find 1", "find 2"]
    (segment,) = found.segments()
    assert found.path(segment).stat().st_mode & 0o777 == 0o600
    assert found.path(segment).parent.stat().st_mode & 0o777 == 0o700


def test_a_torn_line_costs_itself_alone(tmp_path: Path) -> None:
    """The next writer ends it."""
    found = Trail(tmp_path)
    found.write(entry(0))
    with found.path(found.segments()[0]).open("ab") as file:
        file.write(b'{"id": "torn')
    found.write(entry(1))
    assert [each.what for each in found.entries()] == ["find 0", "find 1"]


@pytest.mark.parametrize("change", ["changed", "taken out", "put in", "exchanged", "segment"])
def test_what_is_done_to_lines_that_were_written_is_seen(
    tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one segment and over the end of one; what is torn, too old or removed for its age is none of it."""
    monkeypatch.setattr(trail, "SEGMENT_BYTES", 2500)
    found = Trail(tmp_path, today=lambda: DAY)
    for number in range(30):
        if number == 5:
            with found.path(found.segments()[0]).open("ab") as file:
                file.write(b'{"id": "torn')
        found.write(entry(number) if number != 9 else Entry(Kind.QUERY, "y" * 9000, Party("CT")))
    assert len(found.segments()) > 2
    whole = found.check()
    assert (whole.breaks, whole.lines, whole.unlinked) == ([], 31, 1)
    assert found.check(whole.last).seen
    assert not found.check("0" * 32).seen

    first, second = (found.path(each) for each in found.segments()[:2])
    lines = second.read_bytes().splitlines(keepends=True)
    if change == "changed":
        lines[1] = lines[1].replace(b"CT", b"XX")
    elif change == "taken out":
        del lines[1]
    elif change == "put in":
        lines.insert(1, lines[0])
    elif change == "exchanged":
        lines[0], lines[1] = lines[1], lines[0]
    if change == "segment":
        second.unlink()
    else:
        second.write_bytes(b"".join(lines))
    assert found.check().breaks
    if change == "segment":
        first.unlink()
        assert not found.check().breaks


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_root_writes_into_the_home_of_another_user_is_that_users(tmp_path: Path) -> None:
    """A command under sudo would else shut the services out of the trail, which then do nothing that has to be recorded."""
    os.chown(tmp_path, 65_534, 65_534)
    found = Trail(tmp_path / "audit")
    found.write(entry(), durable=True)
    owners = {path.stat().st_uid for path in (tmp_path / "audit", *(tmp_path / "audit").iterdir())}
    assert owners == {65_534}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("made", ["symbolic", "hard"])
@pytest.mark.parametrize("name", ["lock", f"{DAY}.jsonl"])
def test_root_gives_away_nothing_that_is_linked_into_a_home(tmp_path: Path, name: str, made: str) -> None:
    """Whoever owns the home could else have any file of the machine."""
    home, theirs = tmp_path / "home", tmp_path / "shadow"
    (home / "audit").mkdir(parents=True)
    theirs.write_bytes(b"root's\n")
    for path in (home, home / "audit"):
        os.chown(path, 65_534, 65_534)
    link = home / "audit" / name
    if made == "symbolic":
        link.symlink_to(theirs)
    else:
        link.hardlink_to(theirs)
    with pytest.raises(AuditError, match="cannot be written"):
        Trail(home / "audit", today=lambda: DAY).write(entry(), durable=True)
    assert (theirs.stat().st_uid, theirs.read_bytes()) == (0, b"root's\n")


def test_a_carriage_return_hides_nothing_that_comes_behind_it(tmp_path: Path) -> None:
    """Neither from the check, nor from who reads."""
    found = Trail(tmp_path, today=lambda: DAY)
    for number in range(9):
        found.write(entry(number))
    path = found.path(Segment(DAY))
    lines = path.read_bytes().split(b"\n")
    lines[3] = lines[3].replace(b",", b",\r", 1)
    lines[6] = lines[6].replace(b"CT", b"XX")
    path.write_bytes(b"\n".join(lines))
    assert [each.what for each in found.entries()] == [f"find {number}" for number in range(9)]
    checked = found.check()
    assert (checked.lines, [each.line for each in checked.breaks]) == (9, [5, 8])


@pytest.mark.parametrize("left", [b'{"id": "torn', b""])
def test_what_a_full_disk_leaves_at_the_end_of_a_day_is_no_change(tmp_path: Path, left: bytes) -> None:
    """A line without its end, or a file without a line: the next day's segment follows all the same."""
    days = [DAY]
    found = Trail(tmp_path, today=lambda: days[0])
    found.write(entry(0))
    days[0] = DAY + timedelta(days=1)
    found.path(Segment(days[0])).write_bytes(left)
    days[0] = DAY + timedelta(days=2)
    found.write(entry(1))
    checked = found.check()
    assert (checked.breaks, checked.lines, checked.unlinked) == ([], 2 + bool(left), int(bool(left)))


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    """Four, each with a trail of its own: a hundred lines, none mixed."""

    def work(name: str) -> None:
        for _ in range(25):
            Trail(tmp_path).write(Entry(Kind.QUERY, "x" * 3000, Party(name)))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert _writers(Trail(tmp_path)) == dict.fromkeys("abcd", 25)


def _writers(found: Trail) -> Counter[str]:
    """How many whole lines each has written."""
    (segment,) = found.segments()
    return Counter(json.loads(line)["who"]["id"] for line in found.path(segment).read_bytes().splitlines())


@pytest.mark.long
def test_processes_and_threads_write_whole_lines(tmp_path: Path) -> None:
    """Two processes of two threads each: a hundred lines, none mixed."""
    script = (
        "import sys, threading\nfrom pathlib import Path\nfrom dicomrelay.audit import Entry, Kind, Party\n"
        "from dicomrelay.audit.trail import Trail\n"
        "def work(name):\n    for number in range(25):\n"
        "        Trail(Path(sys.argv[1])).write(Entry(Kind.QUERY, 'x' * 3000, Party(name)))\n"
        "threads = [threading.Thread(target=work, args=(f'{sys.argv[2]}{n}',)) for n in range(2)]\n"
        "[each.start() for each in threads]\n[each.join() for each in threads]\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), name]) for name in "ab"]
    assert [each.wait(60) for each in processes] == [0, 0]
    assert _writers(Trail(tmp_path)) == {"a0": 25, "a1": 25, "b0": 25, "b1": 25}


def test_a_day_and_so_many_bytes_are_a_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes back writes on where it was."""
    monkeypatch.setattr(trail, "SEGMENT_BYTES", 400)
    today = [DAY]
    found = Trail(tmp_path, today=lambda: today[0])
    for number in range(4):
        found.write(entry(number))
    today[0] = DAY + timedelta(days=1)
    found.write(entry(4))
    today[0] = DAY - timedelta(days=9)
    found.write(entry(5))
    Trail(tmp_path, today=lambda: today[0]).write(entry(6))
    names = [segment.name for segment in found.segments()]
    assert names[0] == "2026-11-22.jsonl"
    assert names[1] == "2026-11-22.1.jsonl"
    assert names[-1] == "2026-11-23.jsonl"
    assert [each.what for each in found.entries()] == [f"find {number}" for number in range(7)]


def test_old_segments_go_once_they_were_heard(tmp_path: Path) -> None:
    """And, for their bytes, the oldest first, heard or not; today's never."""
    for age in (400, 380, 2, 1):
        (tmp_path / Segment(DAY - timedelta(days=age)).name).write_bytes(b"{}\n" * 1000)
    heard = {Segment(DAY - timedelta(days=400))}
    found = Trail(tmp_path, keeping=Keeping(366, 10_000), heard=heard.__contains__, today=lambda: DAY)
    found.write(entry())
    assert [(DAY - segment.day).days for segment in found.segments()] == [380, 2, 1, 0]

    today = DAY + timedelta(days=1)
    Trail(tmp_path, keeping=Keeping(366, 7_000), heard=heard.__contains__, today=lambda: today).write(entry())
    assert [(DAY - segment.day).days for segment in found.segments()] == [2, 1, 0, -1]


def test_a_segment_that_was_removed_meanwhile_is_not_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a process that had nothing to say: what it says now is the newest, and the shipper is far behind the old one."""
    monkeypatch.setattr(trail, "SEGMENT_BYTES", 300)
    keeping = Keeping(max_bytes=1000)
    idle, busy = Trail(tmp_path, keeping=keeping), Trail(tmp_path, keeping=keeping)
    idle.write(entry(0))
    for number in range(1, 12):
        busy.write(entry(number))
    left = busy.segments()
    assert left[0].number > 0

    idle.write(entry(12))

    assert idle.segments()[0] >= left[0]
    assert [each.what for each in idle.entries()][-1] == entry(12).what


def test_a_line_longer_than_a_batch_is_read_whole(tmp_path: Path) -> None:
    """Else the shipper would stand there until the next segment, and then pass the rest over."""
    found = Trail(tmp_path)
    for number in range(3):
        found.write(entry(number))
    (segment,) = found.segments()

    lines = found.lines(segment, 0, 10)

    assert [line for line, _ in lines] == [found.path(segment).read_bytes().splitlines(keepends=True)[0]]
    assert lines[0][1] == len(lines[0][0])


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """That names the folder."""
    (tmp_path / "audit").write_text("a file")
    with pytest.raises(AuditError, match=str(tmp_path / "audit")):
        Trail(tmp_path / "audit").write(entry())


def test_how_far_it_was_sent_survives(tmp_path: Path) -> None:
    """A damaged place counts as none."""
    shipped = Shipped(tmp_path)
    assert shipped.read() is None
    shipped.write(Place(Segment(DAY, 2), 77))
    assert shipped.read() == Place(Segment(DAY, 2), 77)
    assert shipped.is_behind(Segment(DAY, 1))
    assert not shipped.is_behind(Segment(DAY, 2))
    (tmp_path / "shipped.json").write_text('{"segment": "../../etc/passwd", "offset": 0}')
    assert shipped.read() is None


# ---- what the house says to it


def settings_of(home: Path, **audit: object) -> Settings:
    return Settings(home=home, audit=AuditSettings.model_validate(audit))


def test_an_action_is_there_before_it_is_done(tmp_path: Path) -> None:
    """And its outcome after it."""
    settings = settings_of(tmp_path)
    audit, found = Audit(settings), Trail(tmp_path / "audit")
    with audit.action(Party("anna"), "jobs.hold", [Thing("job", "j")]) as doing:
        (begun,) = found.entries()
        assert (begun.outcome, begun.actor.id) == (Outcome.BEGUN, "anna")
        doing.words = "3 held"
    first, second = found.entries()
    assert first.id == second.id
    assert (second.outcome, second.words, second.things) == (Outcome.SUCCESS, "3 held", (Thing("job", "j"),))


def test_an_action_that_fails_is_told_by_its_kind(tmp_path: Path) -> None:
    """What it says may name a file, and a file a patient."""
    audit = Audit(settings_of(tmp_path))

    def fail() -> None:
        with audit.action(Party("anna"), "jobs.hold"):
            raise RuntimeError("/archive/data/CANARY^PATIENT/1.2")

    with pytest.raises(RuntimeError):
        fail()
    last = [*Trail(tmp_path / "audit").entries()][-1]
    assert (last.outcome, last.words) == (Outcome.SERIOUS, "RuntimeError")
    assert "CANARY" not in Trail(tmp_path / "audit").path(Trail(tmp_path / "audit").segments()[0]).read_text()


def test_what_cannot_be_recorded_is_not_done(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By a person; what happens by itself goes on, and the log says so once."""
    (tmp_path / "audit").write_text("a file")
    audit, done = Audit(settings_of(tmp_path)), []

    def act() -> None:
        with audit.action(Party("anna"), "jobs.hold"):
            done.append(1)

    with pytest.raises(AuditError):
        act()
    assert not done
    for _ in range(3):
        audit.note(entry())


def test_looking_again_within_the_window_is_one_entry(tmp_path: Path) -> None:
    """Each by itself."""
    now = [0.0]
    audit = Audit(settings_of(tmp_path, access_window_s=60), clock=lambda: now[0])
    for at, key in ((0, "a"), (59, "a"), (59, "b"), (60, "a"), (61, "a")):
        now[0] = at
        audit.note_once(key, entry)
    assert len([*Trail(tmp_path / "audit").entries()]) == 3


def test_without_the_audit_all_goes_on(tmp_path: Path) -> None:
    """Nothing is written."""
    audit = Audit(settings_of(tmp_path, enabled=False))
    audit.note(entry())
    with audit.action(Party("anna"), "jobs.hold"):
        pass
    assert not (tmp_path / "audit").exists()
