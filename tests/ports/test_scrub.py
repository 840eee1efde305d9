"""The scrub, on both databases: a flipped bit is found always, nothing is told that is not so, and a crash costs one batch."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from archive import Archive, StoreOutcome
from archive.checking import CheckLevel, Fault, Finding, check
from archive.index.health import Damage
from archive.scrub import NOTE, Position, Rate, Scrub, Step, position_of, read_position
from dicomrelay.errors import ServiceUnavailable
from tests.support.archive import pydicom_file, request_for

FAST = Rate(round_days=1e-9)
FILES = 40
# Preamble, prefix and the beginning of the file meta.
HEAD_BYTES = 300


@pytest.fixture
def archive(empty_url: str, tmp_path: Path) -> Iterator[Archive]:
    opened = Archive.open(tmp_path / "archive", database_url=empty_url)
    requests = []
    ds = dcmread(pydicom_file("CT_small.dcm"))
    for number in range(FILES):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number + 1}"
        ds.SeriesInstanceUID = f"1.2.{number % 3}"
        path = tmp_path / f"{number}.dcm"
        ds.save_as(path)
        requests.append(request_for(path))
    assert {result.outcome for result in opened.store(requests)} == {StoreOutcome.STORED}
    yield opened
    opened.close()


def scrub(archive: Archive, *, owner: str = "one", rate: Rate = FAST, stop_after: float = 1e9) -> Scrub:
    """A scrub that does not wait; it is stopped after so many seconds that it would have waited."""
    waited = 0.0

    def pause(seconds: float) -> bool:
        nonlocal waited
        waited += seconds
        return waited > stop_after

    return Scrub(archive.health, archive.storage, rate=rate, owner=owner, pause=pause)


def round_of(archive: Archive, owner: str = "one") -> list[Step]:
    """All steps until the round is over."""
    runner = scrub(archive, owner=owner)
    steps = []
    for _ in range(50):
        steps.append(runner.step())
        if steps[-1].is_over:
            return steps
    raise AssertionError("the round does not end")


def files(archive: Archive) -> list[Path]:
    return sorted((archive.layout.root / "data").rglob("*.dcm"))


def flip(path: Path, bit: int) -> None:
    """One bit of a file."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def damage(archive: Archive) -> dict[str, str | None]:
    return {entry.stored.sop_instance_uid: entry.damage for entry in archive.health.damaged()}


def test_a_flipped_bit_is_found_always(archive: Archive) -> None:
    """One random bit of each of all files but one, wherever in the file: all of them are found, and the one is not."""
    choose = random.Random(4711)
    whole = files(archive)[7]
    for path in files(archive):
        if path != whole:
            # Every second one in what is in front of the data set, whose digest does not cover it.
            end = HEAD_BYTES if choose.random() < 0.5 else path.stat().st_size
            flip(path, choose.randrange(8 * end))

    steps = round_of(archive)

    found = [each for step in steps for each in step.found]
    assert {each.damage for each in found} == {Damage.DIGEST}
    assert len(found) == len({each.sop_instance_uid for each in found}) == FILES - 1
    assert whole.stem not in {each.sop_instance_uid for each in found}
    assert set(damage(archive).values()) == {"digest"}
    assert steps[-1].position.damaged == FILES - 1


def test_a_file_that_is_gone_or_of_another_size_is_found(archive: Archive) -> None:
    """And told in words."""
    gone, short, long, *_ = files(archive)
    gone.unlink()
    short.write_bytes(short.read_bytes()[:-1])
    long.write_bytes(long.read_bytes() + b"x")

    steps = round_of(archive)

    assert damage(archive) == {gone.stem: "gone", short.stem: "size", long.stem: "size"}
    assert all(each.words.startswith("its file") for step in steps for each in step.found)


def test_damage_is_told_once_and_forgotten_when_it_is_mended(archive: Archive, tmp_path: Path) -> None:
    """The next round does not say it again; when the file was put back, it says that."""
    path = files(archive)[3]
    flip(path, 8 * 5000)
    assert len([each for step in round_of(archive) for each in step.found]) == 1
    assert [each for step in round_of(archive) for each in step.found] == []

    flip(path, 8 * 5000)
    steps = round_of(archive)

    assert [uid for step in steps for uid in step.mended] == [path.stem]
    assert damage(archive) == {}


def test_every_file_is_looked_at_once_a_round(archive: Archive) -> None:
    """And when that was is written down."""
    steps = round_of(archive)

    position = steps[-1].position
    assert (position.round, position.files, position.damaged) == (1, FILES, 0)
    assert position.bytes == sum(path.stat().st_size for path in files(archive))
    assert all(entry.checked_ms for entry in archive.health.after(0, 1000))
    assert round_of(archive)[-1].position.round == 2


def test_the_next_round_waits_for_its_time(archive: Archive) -> None:
    """A round takes round_days, also when its bytes are read sooner."""
    slow = scrub(archive, rate=Rate(round_days=30))
    while not slow.step().is_over:
        pass

    step = slow.step()

    assert 29 * 86_400 < step.wait_s <= 30 * 86_400
    assert step.position.round == 1


def test_the_rate_is_held(archive: Archive) -> None:
    """As many seconds as there are bytes for."""
    waited = []

    def pause(seconds: float) -> bool:
        waited.append(seconds)
        return False

    runner = Scrub(
        archive.health, archive.storage, rate=Rate(30, bytes_per_s=10_000), owner="one", pause=pause
    )
    while not runner.step().is_over:
        pass

    total = sum(path.stat().st_size for path in files(archive))
    assert sum(waited) == pytest.approx(total / 10_000)


@pytest.mark.parametrize(
    ("days", "limit", "total", "expected"),
    [
        (30, None, 0, 100_000),
        (1, None, 86_400 * 5_000_000, 5_000_000),
        (30, 1000, 10**15, 1000),
        (30, 10**9, 30 * 86_400 * 10**6, 10**6),
    ],
)
def test_a_round_is_spread_over_its_days(days: float, limit: int | None, total: int, expected: float) -> None:
    """Not slower than 100 kB/s, unless bytes_per_s says so."""
    assert Rate(days, limit).of(total) == pytest.approx(expected)


def test_who_stops_goes_on_where_it_was(archive: Archive) -> None:
    """What was looked at is written down, another process takes over at once, and no file is left out."""
    size = files(archive)[0].stat().st_size
    first = scrub(archive, rate=Rate(30, bytes_per_s=size), stop_after=10.5)

    step = first.step()

    assert 9 <= step.position.files <= 11
    assert not step.is_over
    steps = round_of(archive, owner="another")
    assert steps[-1].position.files == FILES


def test_a_crash_repeats_one_batch(archive: Archive) -> None:
    """Who died holds the round for its lease, and then another one looks at the same files."""
    flip(files(archive)[0], 8 * 5000)
    runner = scrub(archive)
    looked: list[object] = []
    record = archive.health.record

    def dying(rows: object, **options: object) -> bool:
        looked.append(rows)
        if len(looked) == 2:
            raise KeyboardInterrupt
        return record(rows, **options)  # type: ignore[arg-type]

    archive.health.record = dying  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        runner.step()
    archive.health.record = record  # type: ignore[method-assign]

    other = scrub(archive, owner="another")
    assert 0 < other.step().wait_s <= 900
    _let_the_lease_run_out(archive)
    steps = round_of(archive, owner="another")
    assert len([each for step in steps for each in step.found]) == 1
    assert steps[-1].position.files == FILES


def _let_the_lease_run_out(archive: Archive) -> None:
    note = archive.health.note(NOTE)
    position = read_position(note)
    over = '"until_ms": 1}'
    assert note is not None
    after = note.replace(f'"until_ms": {position.until_ms}}}', over)
    assert after.endswith(over)
    assert archive.health.record((), name=NOTE, before=note, after=after)


def test_two_at_once_do_the_work_once(archive: Archive) -> None:
    """The second waits; who lost the round to another writes nothing."""
    one, two = scrub(archive, owner="one"), scrub(archive, owner="two")
    note = archive.health.note(NOTE)
    one.step()

    assert two.step().wait_s > 0
    assert not archive.health.record((), name=NOTE, before=note, after="{}")
    assert position_of(archive.health).owner == "one"


def test_a_storage_that_is_away_is_no_damage(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scrub stops, and nothing is said of any file."""

    def away(*_: object, **__: object) -> None:
        raise ServiceUnavailable("s3://b does not answer")

    monkeypatch.setattr(archive.storage, "stat", away)

    with pytest.raises(ServiceUnavailable):
        scrub(archive).step()

    assert damage(archive) == {}
    assert position_of(archive.health).after == 0


def test_a_note_of_another_version_is_a_new_beginning() -> None:
    """What cannot be read is not trusted."""
    for note in (None, "", "{", "[]", '{"what": 1}', "7"):
        assert read_position(note) == Position()


def findings(archive: Archive, *levels: CheckLevel) -> dict[str, set[Fault]]:
    """Faults by what they are about."""
    found: dict[str, set[Fault]] = {}
    each: Finding
    # An hour later: nothing is young.
    for each in check(archive, levels, now_s=archive.health.now_ms() / 1000 + 4000):
        found.setdefault(each.about, set()).add(each.fault)
    return found


def test_an_archive_that_is_well_has_no_findings(archive: Archive) -> None:
    """At every level."""
    assert findings(archive, *CheckLevel) == {}


def test_each_level_finds_its_own(archive: Archive, tmp_path: Path) -> None:
    """The cheaper ones do not see what they do not read, and say nothing wrong."""
    gone, short, flipped, other, head, *_ = files(archive)
    gone.unlink()
    short.write_bytes(short.read_bytes()[:-2])
    flip(flipped, 8 * 6000)
    ds = dcmread(other)
    ds.SOPInstanceUID = ds.SOPInstanceUID[:-1] + "7"  # of the same length
    ds.save_as(other)
    flip(head, 8 * 129)
    orphan = gone.with_name("9.9.9.dcm")
    shutil.copy(other, orphan)
    part = gone.with_name(".0123456789abcdef0123456789abcdef.part")
    part.write_bytes(b"x")

    sizes = {gone.stem: {Fault.MISSING}, short.stem: {Fault.SIZE}}
    assert findings(archive, CheckLevel.INDEX) == {}
    assert findings(archive, CheckLevel.SIZES) == sizes
    assert findings(archive, CheckLevel.ORPHANS) == {orphan.name: {Fault.ORPHAN}, part.name: {Fault.LEFTOVER}}
    assert findings(archive, CheckLevel.DIGESTS) == {
        **sizes,
        flipped.stem: {Fault.DIGEST},
        other.stem: {Fault.DIGEST},
        head.stem: {Fault.DIGEST},
    }
    assert findings(archive, CheckLevel.DICOM) == {
        **sizes,
        other.stem: {Fault.DISAGREES},
        head.stem: {Fault.NOT_DICOM},
    }
    round_of(archive)
    assert set(findings(archive, CheckLevel.INDEX)) == {
        gone.stem, short.stem, flipped.stem, other.stem, head.stem,
    }  # fmt: skip


def test_what_is_young_is_not_an_orphan(archive: Archive) -> None:
    """Files come before their rows."""
    files(archive)[0].with_name("9.9.9.dcm").write_bytes(b"x")

    assert list(check(archive, [CheckLevel.ORPHANS])) == []


def test_findings_name_no_patient(archive: Archive) -> None:
    """What is told has no path; the key is for whoever mends."""
    files(archive)[0].unlink()

    [finding] = check(archive, [CheckLevel.SIZES])

    assert finding.is_fault
    assert "1CT1" not in f"{finding.about}{finding.words}"
    assert "1CT1" in finding.key
