"""What was set aside is looked at as what is served is; counters are held against the rows, and trouble of ours is no damage."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from archive import Archive, StoreOutcome
from archive.checking import CheckLevel, Fault, check
from archive.committing import CommitmentDesk
from archive.file_reading import read_request
from archive.index.entries import NewInstance
from archive.scrub import Rate, Scrub, Step
from archive.stored_reading import read_stored
from dicomrelay.errors import ServiceUnavailable
from tests.support.archive_writing import STUDY, instance, write_instance


@pytest.fixture
def archive(empty_url: str, tmp_path: Path) -> Iterator[Archive]:
    opened = Archive.open(tmp_path / "archive", database_url=empty_url)
    requests = [instance(tmp_path / "in", number, fill=fill) for fill in (1, 2) for number in (1, 2, 3)]
    outcomes = [result.outcome for result in opened.store(requests)]
    assert outcomes == [StoreOutcome.STORED] * 3 + [StoreOutcome.CONFLICT] * 3
    yield opened
    opened.close()


def aside(archive: Archive) -> list[Path]:
    return [archive.layout.resolve(each.relative_path) for each in archive.conflicts()]


def found(archive: Archive, *levels: CheckLevel) -> set[tuple[Fault, str]]:
    return {(each.fault, each.about) for each in check(archive, levels, now_s=4e9)}


def round_of(archive: Archive) -> list[Step]:
    scrub = Scrub(archive.health, archive.storage, rate=Rate(1e-9), owner="one", pause=lambda _: False)
    steps = [scrub.step()]
    while not steps[-1].is_over:
        steps.append(scrub.step())
        assert len(steps) < 10
    return steps


def test_what_was_set_aside_is_checked_as_what_is_served(archive: Archive) -> None:
    """Presence, size, digest; and what lies there without a row."""
    assert found(archive, *CheckLevel) == set()
    gone, short, flipped = aside(archive)
    gone.unlink()
    os.truncate(short, short.stat().st_size - 2)
    flipped.write_bytes(flipped.read_bytes()[:-1] + b"\xff")
    (gone.parent / "unknown.dcm").write_bytes(b"x")
    (gone.parent / ".0123456789abcdef0123456789abcdef.part").write_bytes(b"x")
    of = {number: (Fault.ASIDE, f"{STUDY}.1.{number}") for number in (1, 2, 3)}

    assert found(archive, CheckLevel.INDEX) == set()
    assert found(archive, CheckLevel.SIZES) == {of[1], of[2]}
    assert found(archive, CheckLevel.DIGESTS) == {of[1], of[2], of[3]}
    assert found(archive, CheckLevel.ORPHANS) == {
        (Fault.ORPHAN, "unknown.dcm"),
        (Fault.LEFTOVER, ".0123456789abcdef0123456789abcdef.part"),
    }
    assert all(each.is_fault for each in check(archive, [CheckLevel.DIGESTS]))


def test_the_scrub_goes_round_what_was_set_aside(archive: Archive) -> None:
    """Each round tells of it: nothing else remembers it."""
    assert [each for step in round_of(archive) for each in step.found] == []
    aside(archive)[1].unlink()

    for _ in range(2):
        steps = round_of(archive)
        [told] = [each for step in steps for each in step.found]
        assert (told.sop_instance_uid, told.damage) == (f"{STUDY}.1.2", "gone")
        assert steps[-1].position.damaged == 1


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE])
def test_what_our_machine_lacks_is_no_damage(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Neither the scrub nor a check says anything of a file."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(archive.storage, "chunks", refused)
        with pytest.raises(ServiceUnavailable, match=os.strerror(code)):
            round_of(archive)
        with pytest.raises(ServiceUnavailable):
            found(archive, CheckLevel.DIGESTS)
    assert list(archive.health.damaged()) == []
    with monkeypatch.context() as patch:
        patch.setattr(
            archive.storage, "chunks", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EIO, "x"))
        )
        assert {step.damage for each in round_of(archive) for step in each.found} == {"unreadable"}


@pytest.mark.parametrize("is_empty", [False, True])
def test_a_file_system_that_is_not_mounted_is_no_damage(archive: Archive, is_empty: bool) -> None:
    """Its folder is gone, or nothing is in it: that is told once, and not of each file."""
    (archive.layout.root / "data").rename(archive.layout.root / "away")
    if is_empty:
        (archive.layout.root / "data").mkdir()

    with pytest.raises(ServiceUnavailable, match="is its file system mounted"):
        round_of(archive)
    with pytest.raises(ServiceUnavailable):
        found(archive, CheckLevel.SIZES)
    [stored, *_] = archive.instances(STUDY)
    with pytest.raises(ServiceUnavailable):
        CommitmentDesk._digest(CommitmentDesk(archive), stored)

    assert list(archive.health.damaged()) == []


def test_counters_are_held_against_what_is_below_them(archive: Archive) -> None:
    """Of each study and series; the sum may be right."""
    with archive._database.write() as work:
        work.connection.exec_driver_sql("UPDATE archive_studies SET instance_count = 99, modalities = 'MR'")
    assert found(archive, CheckLevel.INDEX) == {(Fault.COUNTERS, STUDY)}
    with archive._database.write() as work:
        work.connection.exec_driver_sql("UPDATE archive_series SET byte_count = 1")
    assert found(archive, CheckLevel.INDEX) == {(Fault.COUNTERS, STUDY), (Fault.COUNTERS, f"{STUDY}.1")}


def test_a_uid_of_several_values_is_read_in_one_way(archive: Archive, tmp_path: Path) -> None:
    """As it stands: by an import, by a rebuild, and by a check."""
    path = write_instance(tmp_path / "odd", 9)
    ds = dcmread(path)
    ds.StudyInstanceUID = [f"{STUDY}.8", f"{STUDY}.9"]
    ds.save_as(path)
    [result] = archive.store([read_request(path)])
    assert result.outcome is StoreOutcome.STORED
    [stored] = archive.inventory().known([ds.SOPInstanceUID]).values()
    assert stored.study_instance_uid == f"{STUDY}.8\\{STUDY}.9"

    assert found(archive, *CheckLevel) == set()
    [listed] = archive.storage.list(f"{stored.relative_path.rpartition('/')[0]}")
    [read] = read_stored(archive.storage, listed)
    assert isinstance(read, NewInstance)
    assert read.request.study_instance_uid == stored.study_instance_uid
