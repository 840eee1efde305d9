"""What an archive does with other bytes, removals and rebuilds, with its index in SQLite and in PostgreSQL."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from archive import Archive, Policy, StoreOutcome, StoreRequest
from archive.attributes import Level
from archive.index.database import open_database
from archive.index.search import SearchQuery
from archive.rebuild import rebuild_index
from archive.rebuild_rows import RebuildReport
from archive.removal import remove
from archive.values import Selection
from dicomrelay.errors import ConfigurationError, InstanceNotFound
from tests.support.archive_writing import STUDY, aside_digests, check_whole, held_digest, instance


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def archive(root: Path, empty_url: str) -> Iterator[Archive]:
    opened = Archive.open(root, database_url=empty_url)
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "in"


def outcomes(archive: Archive, *requests: StoreRequest) -> list[StoreOutcome]:
    return [result.outcome for result in archive.store(requests)]


def test_by_default_what_comes_first_is_kept_and_the_rest_set_aside(archive: Archive, folder: Path) -> None:
    """Each other one once, however often it comes; nothing is lost, and all of it is listed."""
    first, second, third = (instance(folder, fill=fill) for fill in (1, 2, 3))

    assert outcomes(archive, first, second) == [StoreOutcome.STORED, StoreOutcome.CONFLICT]
    assert outcomes(archive, third, second, first, third) == [
        StoreOutcome.CONFLICT,
        StoreOutcome.CONFLICT,
        StoreOutcome.ALREADY_THERE,
        StoreOutcome.CONFLICT,
    ]

    assert held_digest(archive, first) == first.digest
    assert aside_digests(archive) == {second.digest, third.digest}
    listed = list(archive.conflicts(first.sop_instance_uid))
    assert [(each.digest, each.kept_digest) for each in listed] == [
        (second.digest, first.digest),
        (third.digest, first.digest),
    ]
    for each in listed:
        kept = archive.layout.resolve(each.relative_path)
        assert kept.stat().st_size == each.file_bytes
        assert kept.stat().st_mode & 0o777 == 0o600
    check_whole(archive)


def test_what_is_set_aside_and_damaged_since_is_set_aside_again(archive: Archive, folder: Path) -> None:
    """The same bytes that come again mend their copy."""
    first, second = (instance(folder, fill=fill) for fill in (1, 2))
    outcomes(archive, first, second)
    [listed] = archive.conflicts()
    os.truncate(archive.layout.resolve(listed.relative_path), 900)

    assert outcomes(archive, second) == [StoreOutcome.CONFLICT]

    assert aside_digests(archive) == {second.digest}
    assert list(archive.conflicts()) == [listed]


def test_refuse_writes_nothing_and_lists_it(archive: Archive, folder: Path) -> None:
    """Whoever sent it has it still."""
    archive.policy = Policy.REFUSE
    first, second = (instance(folder, fill=fill) for fill in (1, 2))

    results = archive.store([first, second])

    assert [result.outcome for result in results] == [StoreOutcome.STORED, StoreOutcome.CONFLICT]
    assert "refused" in results[1].reason
    assert aside_digests(archive) == set()
    [listed] = archive.conflicts()
    assert (listed.digest, listed.relative_path) == (second.digest, "")


def test_what_was_refused_and_is_set_aside_later_is_listed_once(archive: Archive, folder: Path) -> None:
    """With where it is."""
    first, second = (instance(folder, fill=fill) for fill in (1, 2))
    archive.policy = Policy.REFUSE
    outcomes(archive, first, second)
    archive.policy = Policy.KEEP_FIRST
    outcomes(archive, second)

    [listed] = archive.conflicts()

    assert listed.relative_path.endswith(f"/{second.digest}.dcm")


def test_replace_serves_the_last_and_sets_the_one_before_aside(archive: Archive, folder: Path) -> None:
    """Path, row, counters and frame index are those of the new one; back and forth is possible."""
    archive.policy = Policy.REPLACE
    first, second = (instance(folder, fill=fill) for fill in (1, 2))

    [stored] = archive.store([first])
    archive.prepare_frames(stored.relative_path)
    [replaced] = archive.store([second])

    assert (replaced.outcome, replaced.relative_path) == (StoreOutcome.REPLACED, stored.relative_path)
    assert held_digest(archive, second) == second.digest
    assert aside_digests(archive) == {first.digest}
    assert not list((archive.layout.root / "frames").rglob("*.frames"))
    check_whole(archive)
    assert outcomes(archive, first, first, second) == [
        StoreOutcome.REPLACED,
        StoreOutcome.ALREADY_THERE,
        StoreOutcome.REPLACED,
    ]
    assert held_digest(archive, second) == second.digest
    assert aside_digests(archive) == {first.digest, second.digest}
    check_whole(archive)


def test_replace_in_one_batch_serves_the_last(archive: Archive, folder: Path) -> None:
    """As if they had come one after the other."""
    archive.policy = Policy.REPLACE
    first, second = (instance(folder, fill=fill) for fill in (1, 2))

    assert outcomes(archive, first, second) == [StoreOutcome.STORED, StoreOutcome.REPLACED]

    assert held_digest(archive, second) == second.digest


def test_replace_files_the_new_one_where_it_belongs(archive: Archive, folder: Path) -> None:
    """Of another patient: the old path is gone with its folders, and so is the patient who has nothing left."""
    archive.policy = Policy.REPLACE
    old, new = instance(folder, fill=1), instance(folder, fill=2, patient_id="P2")
    archive.store([old])

    [replaced] = archive.store([new])

    assert replaced.outcome is StoreOutcome.REPLACED
    assert replaced.relative_path.startswith("data/P2/")
    assert not (archive.layout.root / "data/P1").exists()
    assert aside_digests(archive) == {old.digest}
    [study] = archive.search(SearchQuery(Level.STUDY, {})).rows
    assert study["patient_id"] == "P2"
    check_whole(archive)


def test_replace_sets_a_damaged_file_aside_under_the_digest_that_it_has(
    archive: Archive, folder: Path
) -> None:
    """It is not what was archived, and is not called so."""
    archive.policy = Policy.REPLACE
    first, second = (instance(folder, fill=fill) for fill in (1, 2))
    [stored] = archive.store([first])
    path = archive.layout.resolve(stored.relative_path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)

    assert outcomes(archive, second) == [StoreOutcome.REPLACED]

    [listed] = archive.conflicts()
    assert "damaged" in listed.reason
    assert aside_digests(archive) == {listed.digest}
    assert listed.digest not in (first.digest, second.digest)
    assert held_digest(archive, second) == second.digest


def test_a_file_in_the_way_that_no_row_knows_is_never_replaced(archive: Archive, folder: Path) -> None:
    """It is somebody's image: the new one is set aside."""
    archive.policy = Policy.REPLACE
    first, second = (instance(folder, fill=fill) for fill in (1, 2))
    [stored] = archive.store([first])
    with archive._database.write() as work:
        work.connection.exec_driver_sql("DELETE FROM archive_instances")

    assert outcomes(archive, second) == [StoreOutcome.CONFLICT]

    assert archive.layout.resolve(stored.relative_path).read_bytes() == first.source.read_bytes()
    assert aside_digests(archive) == {second.digest}


def test_removed_is_row_file_and_frames_and_a_tombstone_stays(archive: Archive, folder: Path) -> None:
    """The folders of the patient go with the last file; another study stays."""
    goes = [instance(folder, number) for number in (1, 2, 3)]
    stays = instance(folder, 1, study=f"{STUDY}.9", patient_id="P9")
    for result in archive.store([*goes, stays]):
        archive.prepare_frames(result.relative_path)
    told = []

    count = remove(
        archive,
        Selection(study_uids=(STUDY,)),
        reason="wrong patient",
        by="somebody",
        on_progress=lambda *done: told.append(done),
    )

    assert count == 3
    assert told[-1][0] == 3
    assert not (archive.layout.root / "data/P1").exists()
    assert [path.parts[-2] for path in (archive.layout.root / "frames").rglob("*.frames")] == [f"{STUDY}.9.1"]
    with pytest.raises(InstanceNotFound):
        archive.find(STUDY, f"{STUDY}.1", goes[0].sop_instance_uid)
    tombs = list(archive.tombstones())
    assert {tomb.sop_instance_uid for tomb in tombs} == {request.sop_instance_uid for request in goes}
    assert {(tomb.reason, tomb.removed_by) for tomb in tombs} == {("wrong patient", "somebody")}
    assert held_digest(archive, stays) == stays.digest
    check_whole(archive)


def test_what_was_removed_and_comes_again_is_stored_again(archive: Archive, folder: Path) -> None:
    """The tombstone stays as history, also after a second removal."""
    request = instance(folder)
    selection = Selection(sop_instance_uids=(request.sop_instance_uid,))
    outcomes(archive, request)
    remove(archive, selection, reason="one", by="a")

    assert outcomes(archive, request) == [StoreOutcome.STORED]
    assert held_digest(archive, request) == request.digest
    remove(archive, selection, reason="two", by="a")

    assert [tomb.reason for tomb in archive.tombstones(request.sop_instance_uid)] == ["one", "two"]
    assert remove(archive, selection, reason="three", by="a") == 0


@pytest.mark.parametrize(("reason", "by"), [("", "a"), ("  ", "a"), ("a", ""), ("x" * 1001, "a")])
def test_nothing_is_removed_without_a_reason(archive: Archive, folder: Path, reason: str, by: str) -> None:
    """Nor without somebody who says so."""
    request = instance(folder)
    outcomes(archive, request)

    with pytest.raises(ConfigurationError, match="1 to 1000 characters"):
        remove(archive, Selection(study_uids=(STUDY,)), reason=reason, by=by)

    assert held_digest(archive, request) == request.digest


def test_everything_is_never_removed(archive: Archive, folder: Path) -> None:
    """A selection that was left empty is a mistake."""
    outcomes(archive, instance(folder))

    with pytest.raises(ConfigurationError, match="nothing is named"):
        remove(archive, Selection(), reason="a", by="b")


def rows(archive: Archive) -> list[dict[str, object]]:
    """What a search at the instance level answers, without when it was stored."""
    found = archive.search(SearchQuery(Level.INSTANCE, {}, limit=1000)).rows
    without = [
        {name: value for name, value in row.items() if name not in ("key", "stored_ms")} for row in found
    ]
    return sorted(without, key=lambda row: str(row["sop_instance_uid"]))


def test_an_index_is_made_from_the_files_alone(
    archive: Archive, root: Path, folder: Path, empty_url: str
) -> None:
    """Instances, conflicts and tombstones; counters too."""
    requests = [instance(folder, number, series=number % 3) for number in range(1, 20)]
    other = instance(folder, 1, series=1, fill=9)
    outcomes(archive, *requests, other)
    remove(archive, Selection(sop_instance_uids=(requests[4].sop_instance_uid,)), reason="why", by="who")
    before, tombs = rows(archive), list(archive.tombstones())
    archive.close()
    _destroy(root, empty_url)

    report = rebuild_index(root, database_url=empty_url, workers=1)

    again = Archive.open(root, database_url=empty_url)
    assert (report.instances, report.conflicts, report.tombstones, report.stopped) == (18, 1, 1, "")
    assert report.problems == []
    assert rows(again) == before
    assert list(again.tombstones()) == tombs
    [conflict] = again.conflicts()
    assert (conflict.digest, conflict.kept_digest) == (other.digest, requests[0].digest)
    assert outcomes(again, *requests[:2], other) == [
        StoreOutcome.ALREADY_THERE,
        StoreOutcome.ALREADY_THERE,
        StoreOutcome.CONFLICT,
    ]
    check_whole(again)
    again.close()


def _destroy(root: Path, url: str) -> None:
    """The index is lost."""
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        for each in path.parent.glob(f"{path.name}*"):
            each.unlink()
        return
    database = open_database(url)
    with database.write() as work:
        for table in ("instances", "series", "studies", "patients", "conflicts", "tombstones", "meta"):
            work.connection.exec_driver_sql(f"DELETE FROM archive_{table}")
    database.dispose()


def test_what_files_do_not_tell_is_taken_over(
    archive: Archive, root: Path, folder: Path, empty_url: str
) -> None:
    """When an instance was stored, and facts of the archive as a whole."""
    outcomes(archive, instance(folder))
    with archive._database.write() as work:
        work.connection.exec_driver_sql("UPDATE archive_instances SET stored_ms = 1234")
        work.connection.exec_driver_sql("INSERT INTO archive_meta (name, value) VALUES ('a fact', 'true')")
    archive.close()

    rebuild_index(root, database_url=empty_url, workers=1)

    again = Archive.open(root, database_url=empty_url)
    with again._database.read() as work:
        run = work.connection.exec_driver_sql
        assert run("SELECT stored_ms FROM archive_instances").scalar_one() == 1234
        assert run("SELECT value FROM archive_meta WHERE name = 'a fact'").scalar_one() == "true"
    again.close()


def _interrupted_rebuild(root: Path, url: str) -> RebuildReport:
    """One that is stopped after its first round of 200 files."""
    asked = iter([False, True])
    return rebuild_index(root, database_url=url, workers=1, should_stop=lambda: next(asked))


def test_a_rebuild_that_is_interrupted_goes_on(
    archive: Archive, root: Path, folder: Path, empty_url: str
) -> None:
    """The old index serves meanwhile; what was read is not read again."""
    requests = [instance(folder, number) for number in range(1, 450)]
    outcomes(archive, *requests)
    before = rows(archive)
    archive.close()

    report = _interrupted_rebuild(root, empty_url)
    assert (report.instances, report.stopped) == (200, "interrupted")
    between = Archive.open(root, database_url=empty_url)
    assert rows(between) == before
    between.close()
    report = rebuild_index(root, database_url=empty_url, workers=1)

    assert (report.resumed, report.instances, report.stopped) == (200, 449, "")
    again = Archive.open(root, database_url=empty_url)
    assert rows(again) == before
    check_whole(again)
    again.close()


def test_a_rebuild_that_was_interrupted_begins_anew_when_a_file_is_gone_since(
    archive: Archive, root: Path, folder: Path, empty_url: str
) -> None:
    """Rows never outlive their files."""
    requests = [instance(folder, number) for number in range(1, 250)]
    outcomes(archive, *requests)
    archive.close()
    _interrupted_rebuild(root, empty_url)
    again = Archive.open(root, database_url=empty_url)
    remove(again, Selection(sop_instance_uids=(requests[0].sop_instance_uid,)), reason="a", by="b")
    again.close()

    report = rebuild_index(root, database_url=empty_url, workers=1)

    assert (report.resumed, report.instances) == (0, 248)


def test_a_rebuild_that_was_interrupted_begins_anew_when_a_file_was_replaced_since(
    archive: Archive, root: Path, folder: Path, empty_url: str
) -> None:
    """By one of the same size: the new index has the digest that its file has."""
    requests = [instance(folder, number) for number in range(1, 250)]
    outcomes(archive, *requests)
    archive.close()
    _interrupted_rebuild(root, empty_url)
    again = Archive.open(root, database_url=empty_url, policy=Policy.REPLACE)
    new = instance(folder, 1, fill=9)
    assert outcomes(again, new) == [StoreOutcome.REPLACED]
    again.close()

    report = rebuild_index(root, database_url=empty_url, workers=1)

    assert (report.resumed, report.instances) == (0, 249)
    rebuilt = Archive.open(root, database_url=empty_url)
    assert held_digest(rebuilt, new) == new.digest
    check_whole(rebuilt)
    with rebuilt._database.read() as work, pytest.raises(DBAPIError):
        work.connection.exec_driver_sql("SELECT 1 FROM archive_rebuild_files")
    rebuilt.close()


def test_what_came_after_an_interruption_is_taken_over(
    archive: Archive, root: Path, folder: Path, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rebuild is cut when all is copied; the old index serves on, and what it was told then is not lost."""
    outcomes(archive, *(instance(folder, fill=fill) for fill in (1, 2)))
    archive.close()

    def cut(*_: object) -> None:
        raise OSError("cut")

    with monkeypatch.context() as patch:
        patch.setattr("archive.rebuild.IndexPlace.take_place", cut)
        with pytest.raises(OSError, match="cut"):
            rebuild_index(root, database_url=empty_url, workers=1)
    again = Archive.open(root, database_url=empty_url, policy=Policy.REFUSE)
    outcomes(again, instance(folder, fill=3))
    listed = list(again.conflicts())
    again.close()

    rebuild_index(root, database_url=empty_url, workers=1)

    rebuilt = Archive.open(root, database_url=empty_url)
    assert list(rebuilt.conflicts()) == listed
    assert len(listed) == 2
    rebuilt.close()


def test_a_rebuild_names_what_it_cannot_take(
    archive: Archive, root: Path, folder: Path, empty_url: str
) -> None:
    """No DICOM, and a second file of one UID: they stay, and are not in the index."""
    request = instance(folder)
    [stored] = archive.store([request])
    path = archive.layout.resolve(stored.relative_path)
    (path.parent / "notes.txt").write_text("no image")
    shutil.copy(path, path.parent / "zz-copy.dcm")
    (path.parent / ".0123456789abcdef0123456789abcdef.part").write_bytes(b"half")
    archive.close()

    report = rebuild_index(root, database_url=empty_url, workers=1)

    assert report.instances == 1
    assert {Path(problem.key).name: problem.reason for problem in report.problems} == {
        "notes.txt": "is no instance: not a DICOM file: no DICM prefix at byte 128, and no data set that begins at byte 0",
        "zz-copy.dcm": "is a second file of its SOP Instance UID, with the same bytes",
    }


def test_a_rebuild_wants_the_archive_for_itself(archive: Archive, root: Path, empty_url: str) -> None:
    """Others would write into an index that is on its way out."""
    with pytest.raises(ConfigurationError, match="open elsewhere"):
        rebuild_index(root, database_url=empty_url)
    archive.close()

    rebuild_index(root, database_url=empty_url, workers=1)

    Archive.open(root, database_url=empty_url).close()


def test_what_the_scrub_found_damaged_is_mended_by_the_next_copy(archive: Archive, folder: Path) -> None:
    """A flipped bit does not change the size: the mark of the scrub is believed, and the file looked at."""
    request = instance(folder)
    [stored] = archive.store([request])
    path = archive.layout.resolve(stored.relative_path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with archive._database.write() as work:
        work.connection.exec_driver_sql("UPDATE archive_instances SET damage = 'digest'")

    assert outcomes(archive, request, request) == [StoreOutcome.ALREADY_THERE] * 2

    assert held_digest(archive, request) == request.digest


def test_the_same_instance_that_was_put_back_keeps_its_counters(archive: Archive, folder: Path) -> None:
    """A damaged file is mended by the next copy, behind whatever file meta that has."""
    request = instance(folder)
    [stored] = archive.store([request])
    os.truncate(archive.layout.resolve(stored.relative_path), 700)
    bare = folder / "bare"
    bare.write_bytes(request.source.read_bytes()[request.data_set_offset :])

    assert outcomes(archive, replace(request, source=bare, data_set_offset=0)) == [StoreOutcome.ALREADY_THERE]

    check_whole(archive)
