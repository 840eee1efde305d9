"""Storing: durable, idempotent, never over another instance's bytes."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from archive import Archive, StoreOutcome, StoreRequest
from archive.disk import Disk, Draft, digest_of
from archive.index.database import open_database
from archive.layout import Layout
from dicomrelay.errors import InstanceNotFound, ServiceUnavailable
from dicomrelay.spool.operations import OperatingSystem
from tests.support.archive import pydicom_file, request_for
from tests.support.archive_writing import in_memory

CANARY = "CANARY-4711"
NAMES = ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "image_dfl.dcm")


class Crash(BaseException):
    """The process dies here: nothing of ours catches it."""


class FailingDisk(Disk):
    """Fails the k-th operation, before or after it was done; counts them all."""

    def __init__(self, *, fail_at: int = 0, after: bool = False, error: BaseException | None = None) -> None:
        self.count = 0
        self.names: list[str] = []
        self._fail_at, self._after, self._error = fail_at, after, error

    def _do(self, name: str, *args: object, **kwargs: object) -> object:
        self.count += 1
        self.names.append(name)
        if self.count == self._fail_at and not self._after and self._error:
            raise self._error
        result = getattr(Disk, name)(self, *args, **kwargs)
        if self.count == self._fail_at and self._after and self._error:
            raise self._error
        return result

    def make_directory(self, path: Path) -> None:
        self._do("make_directory", path)

    def sync_directory(self, path: Path) -> None:
        self._do("sync_directory", path)

    def link(self, source: Path, target: Path) -> bool:
        return bool(self._do("link", source, target))

    def draft(self, source: Path, target: Path, *, preface: bytes, digest_from: int) -> Draft:
        made = self._do("draft", source, target, preface=preface, digest_from=digest_from)
        assert isinstance(made, Draft)
        return made

    def flush(self, draft: Draft) -> None:
        self._do("flush", draft)

    def remove(self, path: Path) -> None:
        self._do("remove", path)


class PathsFail(FailingDisk):
    """Fails the k-th operation with an error that names its last path, as the system's do."""

    def _do(self, name: str, *args: object, **kwargs: object) -> object:
        paths = [str(argument) for argument in args]
        self._error = OSError(28, "No space left on device", paths[-1])
        return super()._do(name, *args, **kwargs)


def opened(root: Path, disk: Disk | None = None) -> Archive:
    """The archive at a root as a new process opens it."""
    root.mkdir(exist_ok=True)
    return Archive(Layout(root), open_database(f"sqlite:///{root / 'index.sqlite'}"), disk or Disk())


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    made = opened(tmp_path / "archive")
    yield made
    made.close()


@pytest.fixture
def requests() -> list[StoreRequest]:
    return [request_for(pydicom_file(name)) for name in NAMES]


def other_bytes(request: StoreRequest, folder: Path) -> StoreRequest:
    """The same SOP Instance UID with one bit of its data set changed."""
    data = bytearray(request.source.read_bytes())
    data[-1] ^= 1
    path = folder / "other.dcm"
    path.write_bytes(data)
    return dataclasses.replace(request, source=path, digest=digest_of(path, offset=request.data_set_offset))


def check_stored(archive: Archive, requests: list[StoreRequest]) -> None:
    """Each instance is where the index says, with its bytes, and nothing else is under data/."""
    paths = set()
    for request in requests:
        found = archive.find(
            request.study_instance_uid, request.series_instance_uid, request.sop_instance_uid
        )
        path = archive.path_of(found)
        assert digest_of(path, offset=found.data_set_offset) == request.digest == found.digest
        assert path.stat().st_size == found.file_bytes == found.data_set_offset + found.data_set_bytes
        paths.add(path)
    files = {path for path in (archive.layout.root / "data").rglob("*") if path.is_file()}
    assert {path for path in files if path.suffix != ".part"} == paths


def test_a_batch_is_stored_under_paths_that_say_what_it_is(
    archive: Archive, requests: list[StoreRequest]
) -> None:
    """data/PATIENT_ID/STUDY_UID/SERIES_UID/SOP_INSTANCE_UID.dcm, byte for byte."""
    results = archive.store(requests)

    assert [result.outcome for result in results] == [StoreOutcome.STORED] * len(NAMES)
    first = requests[0]
    assert results[0].relative_path == (
        f"data/1CT1/{first.study_instance_uid}/{first.series_instance_uid}/{first.sop_instance_uid}.dcm"
    )
    assert (archive.layout.root / results[0].relative_path).read_bytes() == first.source.read_bytes()
    check_stored(archive, requests)


def test_storing_again_changes_nothing(archive: Archive, requests: list[StoreRequest]) -> None:
    """At-least-once delivery to the archive is harmless."""
    before = archive.store(requests)
    again = archive.store(requests + requests)

    assert {result.outcome for result in again} == {StoreOutcome.ALREADY_THERE}
    assert [r.relative_path for r in again] == [r.relative_path for r in before] * 2
    check_stored(archive, requests)


def test_other_bytes_under_the_same_uid_are_a_conflict(
    archive: Archive, requests: list[StoreRequest], tmp_path: Path
) -> None:
    """Whichever comes first stays; the second is told, in the same batch as well as later."""
    changed = other_bytes(requests[0], tmp_path)

    together = archive.store([requests[0], changed])
    later = archive.store([changed])

    assert [result.outcome for result in together] == [StoreOutcome.STORED, StoreOutcome.CONFLICT]
    assert later[0].outcome is StoreOutcome.CONFLICT
    assert requests[0].sop_instance_uid in later[0].reason
    assert not later[0].relative_path
    check_stored(archive, requests[:1])


def test_a_link_stands_for_a_copy_where_it_is_allowed(archive: Archive, tmp_path: Path) -> None:
    """From spool to archive on one file system no byte is copied; without leave, all are."""
    linked, copied = tmp_path / "a.dcm", tmp_path / "b.dcm"
    linked.write_bytes(pydicom_file("CT_small.dcm").read_bytes())
    copied.write_bytes(pydicom_file("MR_small.dcm").read_bytes())

    results = archive.store([request_for(linked, may_link=True), request_for(copied)])

    paths = [archive.layout.resolve(result.relative_path) for result in results]
    assert paths[0].samefile(linked)
    assert not paths[1].samefile(copied)
    assert paths[1].read_bytes() == copied.read_bytes()


def test_a_copy_is_made_where_linking_does_not_work(tmp_path: Path) -> None:
    """Another device, too many links, not permitted: the instance is stored all the same."""

    class NoLinks(Disk):
        def link(self, source: Path, target: Path) -> bool:
            return False

    archive = opened(tmp_path / "archive", NoLinks())
    request = request_for(pydicom_file("CT_small.dcm"), may_link=True)

    [result] = archive.store([request])

    assert result.outcome is StoreOutcome.STORED
    check_stored(archive, [request])
    archive.close()


def test_a_data_set_without_file_meta_gets_one(archive: Archive, tmp_path: Path) -> None:
    """What lies in the archive is a Part 10 file whatever came."""
    original = request_for(pydicom_file("CT_small.dcm"))
    bare = tmp_path / "bare"
    bare.write_bytes(original.source.read_bytes()[original.data_set_offset :])
    request = dataclasses.replace(original, source=bare, data_set_offset=0)

    [result] = archive.store([request])

    again = request_for(archive.layout.resolve(result.relative_path))
    assert result.outcome is StoreOutcome.STORED
    assert again.data_set_offset > 0
    assert (again.digest, again.transfer_syntax_uid) == (original.digest, original.transfer_syntax_uid)


def test_a_source_that_is_not_what_was_announced_fails_alone(
    archive: Archive, requests: list[StoreRequest], tmp_path: Path
) -> None:
    """Gone, of another size, of another digest: each says so, the others are stored, nothing is left behind."""
    gone = dataclasses.replace(requests[0], source=tmp_path / "gone.dcm")
    longer = dataclasses.replace(requests[1], data_set_bytes=requests[1].data_set_bytes + 2)
    changed = dataclasses.replace(requests[2], digest="0" * 64)

    results = archive.store([gone, longer, changed, requests[3]])

    assert [result.outcome for result in results] == [StoreOutcome.FAILED] * 3 + [StoreOutcome.STORED]
    assert "gone.dcm" in results[0].reason
    assert f"{longer.data_set_offset + longer.data_set_bytes} were announced" in results[1].reason
    assert "another digest" in results[2].reason
    assert not list(archive.layout.root.rglob("*.part"))
    check_stored(archive, requests[3:])


def test_an_unreadable_data_set_is_archived_all_the_same(archive: Archive, tmp_path: Path) -> None:
    """The archive keeps what was acknowledged; what pydicom cannot read has no attributes, and says so."""
    path = tmp_path / "odd.dcm"
    good = request_for(pydicom_file("CT_small.dcm"))
    path.write_bytes(good.source.read_bytes()[: good.data_set_offset] + b"\x08" + b"\x00" * 7 + b"SQ" * 50)
    request = dataclasses.replace(
        good,
        source=path,
        data_set_bytes=path.stat().st_size - good.data_set_offset,
        digest=digest_of(path, offset=good.data_set_offset),
        transfer_syntax_uid="1.2.840.10008.1.2.1.99",
    )

    [result] = archive.store([request])

    assert result.outcome is StoreOutcome.STORED
    assert "cannot be read" in result.reason
    assert result.relative_path.startswith("data/NO_PATIENT_ID/")
    check_stored(archive, [request])


def test_a_file_that_is_gone_is_put_back(archive: Archive, requests: list[StoreRequest]) -> None:
    """A row without its file does not make a later copy be thrown away."""
    [first] = archive.store(requests[:1])
    archive.layout.resolve(first.relative_path).unlink()

    [result] = archive.store(requests[:1])

    assert result.outcome is StoreOutcome.ALREADY_THERE
    check_stored(archive, requests[:1])


@pytest.mark.parametrize("may_link", [False, True])
@pytest.mark.parametrize("left", [0, 200, 20_000])
def test_a_truncated_file_is_replaced_by_a_fresh_copy(
    archive: Archive, requests: list[StoreRequest], left: int, may_link: bool
) -> None:
    """The index knows digest and size and the file disagrees: it is our own damage, and no conflict."""
    [first] = archive.store(requests[:1])
    path = archive.layout.resolve(first.relative_path)
    os.truncate(path, left)

    [result] = archive.store([dataclasses.replace(requests[0], may_link=may_link)])

    assert (result.outcome, result.relative_path) == (StoreOutcome.ALREADY_THERE, first.relative_path)
    assert path.read_bytes() == requests[0].source.read_bytes()
    assert path.stat().st_nlink == 1
    assert not list(archive.layout.root.rglob("*.part"))
    check_stored(archive, requests[:1])


@pytest.mark.parametrize("is_gone", [False, True])
def test_an_instance_put_back_behind_another_file_meta_is_found_at_its_new_offset(
    archive: Archive, requests: list[StoreRequest], tmp_path: Path, is_gone: bool
) -> None:
    """The same data set may come again from another sender: the index learns where it begins now."""
    request = requests[0]
    [first] = archive.store([request])
    path = archive.layout.resolve(first.relative_path)
    os.truncate(path, 1000)
    if is_gone:
        path.unlink()
    bare = tmp_path / "bare"
    bare.write_bytes(request.source.read_bytes()[request.data_set_offset :])

    results = archive.store([dataclasses.replace(request, source=bare, data_set_offset=0)] * 2)

    assert {result.outcome for result in results} == {StoreOutcome.ALREADY_THERE}
    assert path.stat().st_size != request.source.stat().st_size
    check_stored(archive, [request])


def test_a_truncated_file_stays_until_its_copy_is_whole(tmp_path: Path, requests: list[StoreRequest]) -> None:
    """What cannot be copied fails and says why; the next try puts it back."""
    archive = opened(tmp_path / "archive")
    [first] = archive.store(requests[:1])
    path = archive.layout.resolve(first.relative_path)
    os.truncate(path, 1000)
    failing = FailingDisk(fail_at=1, error=OSError(28, "No space left on device"))
    archive.disk = failing

    [failed] = archive.store(requests[:1])
    [result] = archive.store(requests[:1])

    assert failing.names[0] == "draft"
    assert (failed.outcome, "No space left" in failed.reason) == (StoreOutcome.FAILED, True)
    assert result.outcome is StoreOutcome.ALREADY_THERE
    check_stored(archive, requests[:1])
    archive.close()


def test_other_bytes_do_not_take_the_place_of_a_truncated_file(
    archive: Archive, requests: list[StoreRequest], tmp_path: Path
) -> None:
    """Damage gives no leave to file another image under the same UID."""
    [first] = archive.store(requests[:1])
    path = archive.layout.resolve(first.relative_path)
    os.truncate(path, 1000)

    [result] = archive.store([other_bytes(requests[0], tmp_path)])

    assert result.outcome is StoreOutcome.CONFLICT
    assert path.stat().st_size == 1000


def test_reasons_name_the_instance_and_never_the_patient(tmp_path: Path) -> None:
    """They reach logs: a path in the archive holds the patient id."""
    source = tmp_path / "canary.dcm"
    ds = dcmread(pydicom_file("CT_small.dcm"))
    ds.PatientID = CANARY
    ds.save_as(source)
    request = request_for(source)
    changed = other_bytes(request, tmp_path)
    reasons = []
    for number in range(1, len(operations(tmp_path, [request])) + 1):
        failing = opened(tmp_path / f"failing-{number}", PathsFail(fail_at=number))
        reasons += [result.reason for result in failing.store([request])]
        failing.close()
    archive = opened(tmp_path / "archive")
    [stored] = archive.store([request])
    reasons += [result.reason for result in archive.store([changed])]
    with archive._database.write() as work:
        work.connection.exec_driver_sql("DELETE FROM archive_instances")
    reasons += [result.reason for result in archive.store([changed])]
    archive.close()

    assert CANARY in stored.relative_path
    assert len([reason for reason in reasons if request.sop_instance_uid in reason]) > 5
    assert all(reason and CANARY not in reason for reason in reasons)


def test_everything_is_for_our_user_only(tmp_path: Path, requests: list[StoreRequest]) -> None:
    """Folders 0700 and files 0600 wherever the archive is and whatever the process is masked with; the index too."""
    linked = tmp_path / "linked.dcm"
    linked.write_bytes(requests[1].source.read_bytes())
    linked.chmod(0o600)
    before = os.umask(0)
    try:
        archive = Archive.open(tmp_path / "elsewhere" / "archive")
        results = archive.store([requests[0], request_for(linked, may_link=True), *requests[2:]])
        for result in results:
            archive.prepare_frames(result.relative_path)
        modes = {path: path.stat().st_mode & 0o777 for path in archive.layout.root.rglob("*")}
        archive.close()
    finally:
        os.umask(before)

    assert archive.layout.root.stat().st_mode & 0o777 == 0o700
    assert {path.suffix for path in modes} >= {".dcm", ".frames", ".inflated", ".sqlite"}
    assert {oct(mode) for path, mode in modes.items() if path.is_dir()} == {"0o700"}
    assert {path.name: oct(mode) for path, mode in modes.items() if path.is_file() and mode != 0o600} == {}


def test_files_are_flushed_as_the_spool_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through its operations, which know where fsync does not reach the disk."""
    flushed: list[str] = []
    for name in ("sync_data", "sync_directory"):
        real = getattr(OperatingSystem, name)

        def watched(self: OperatingSystem, fd: int, name: str = name, real: Any = real) -> None:
            flushed.append(name)
            real(self, fd)

        monkeypatch.setattr(OperatingSystem, name, watched)
    archive = opened(tmp_path / "archive")

    [result] = archive.store([request_for(pydicom_file("image_dfl.dcm"))])
    stored = flushed.copy()
    archive.prepare_frames(result.relative_path)
    archive.close()

    assert (stored.count("sync_data"), stored.count("sync_directory")) == (1, 5)
    # The inflated data set and the frame index; four folders above them and the one they are in.
    assert flushed[len(stored) :].count("sync_data") == 2
    assert flushed[-1] == "sync_directory"


def test_a_copy_is_flushed_when_it_is_whole_and_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that a power cut leaves is one of a whole file: of a Part 10 file, and of a data set behind a new preface."""
    whole = request_for(pydicom_file("CT_small.dcm"))
    behind = request_for(pydicom_file("MR_small.dcm"))
    bare = tmp_path / "bare"
    bare.write_bytes(behind.source.read_bytes()[behind.data_set_offset :])
    archive = opened(tmp_path / "archive")
    flushed: dict[int, tuple[int, set[int]]] = {}
    real = OperatingSystem.sync_data

    def watched(self: OperatingSystem, fd: int) -> None:
        named = {path.stat().st_ino for path in archive.layout.root.rglob("*.dcm")}
        status = os.fstat(fd)
        flushed[status.st_ino] = (status.st_size, named)
        real(self, fd)

    monkeypatch.setattr(OperatingSystem, "sync_data", watched)
    results = archive.store([whole, dataclasses.replace(behind, source=bare, data_set_offset=0)])
    archive.close()

    assert [result.outcome for result in results] == [StoreOutcome.STORED] * 2
    for result in results:
        file = archive.layout.resolve(result.relative_path).stat()
        size_then, named_then = flushed[file.st_ino]
        assert size_then == file.st_size
        assert file.st_ino not in named_then


def test_a_file_in_the_way_is_never_overwritten(
    archive: Archive, requests: list[StoreRequest], tmp_path: Path
) -> None:
    """Other bytes under the name but not in the index: somebody's image. It stays."""
    request = requests[0]
    changed = other_bytes(request, tmp_path)
    path = archive.layout.resolve(
        Layout.instance(
            "1CT1", request.study_instance_uid, request.series_instance_uid, request.sop_instance_uid
        )
    )
    path.parent.mkdir(parents=True)
    path.write_bytes(changed.source.read_bytes())

    [result] = archive.store([request])

    assert result.outcome is StoreOutcome.CONFLICT
    assert path.read_bytes() == changed.source.read_bytes()
    with pytest.raises(InstanceNotFound):
        archive.find(request.study_instance_uid, request.series_instance_uid, request.sop_instance_uid)


def operations(tmp_path: Path, requests: list[StoreRequest]) -> list[str]:
    """The operations that storing takes."""
    disk = FailingDisk()
    archive = opened(tmp_path / "counted", disk)
    archive.store(requests)
    archive.close()
    return disk.names


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    with in_memory(tmp_path) as folder:
        yield folder


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_at_any_operation_loses_nothing(
    memory: Path, requests: list[StoreRequest], after: bool
) -> None:
    """The next process stores the same batch again: every instance is there once, and in the index."""
    source = shutil.copy(requests[1].source, memory)  # where it can be linked from
    requests = [requests[0], dataclasses.replace(requests[1], source=Path(source), may_link=True)]
    names = operations(memory, requests)
    assert {"make_directory", "sync_directory", "link", "draft", "flush"} <= set(names)

    for fail_at in range(1, len(names) + 1):
        root = memory / f"crash-{fail_at}"
        dying = opened(root, FailingDisk(fail_at=fail_at, after=after, error=Crash()))
        with pytest.raises(Crash):
            dying.store(requests)
        dying.close()

        archive = opened(root)
        results = archive.store(requests)
        assert {result.outcome for result in results} == {StoreOutcome.STORED}
        check_stored(archive, requests)
        archive.close()
        shutil.rmtree(root)


def test_an_error_at_any_operation_is_said_and_can_be_tried_again(
    memory: Path, requests: list[StoreRequest]
) -> None:
    """What is said to be stored is in the index with its bytes; what failed is stored by the next try."""
    requests = requests[:2]
    for fail_at in range(1, len(operations(memory, requests)) + 1):
        root = memory / f"error-{fail_at}"
        failing = opened(root, FailingDisk(fail_at=fail_at, error=OSError(28, "No space left on device")))
        results = failing.store(requests)
        stored = [
            request
            for request, result in zip(requests, results, strict=True)
            if result.outcome is StoreOutcome.STORED
        ]
        assert len(stored) < len(requests)
        assert all(
            "No space left" in result.reason for result in results if result.outcome is StoreOutcome.FAILED
        )
        check_stored(failing, stored)

        again = failing.store(requests)
        assert {result.outcome for result in again} <= {StoreOutcome.STORED, StoreOutcome.ALREADY_THERE}
        check_stored(failing, requests)
        failing.close()
        shutil.rmtree(root)


def test_every_folder_with_a_new_name_is_flushed_before_the_index_knows(
    tmp_path: Path, requests: list[StoreRequest]
) -> None:
    """Once for a batch, and again only where something new is."""
    flushed: list[Path] = []
    first = requests[0]

    class Watching(Disk):
        def sync_directory(self, path: Path) -> None:
            with pytest.raises(InstanceNotFound):
                archive.find(first.study_instance_uid, first.series_instance_uid, first.sop_instance_uid)
            flushed.append(path)
            super().sync_directory(path)

    archive = opened(tmp_path / "archive", Watching())
    [result] = archive.store(requests[:1])
    leaf = archive.layout.resolve(result.relative_path).parent
    chain = [leaf, *leaf.parents[:3], archive.layout.root]

    assert flushed == chain
    flushed.clear()
    archive.store(requests[:1])
    assert flushed == []
    archive.close()


def test_the_index_being_down_is_an_error_and_the_batch_can_be_stored_later(
    tmp_path: Path, requests: list[StoreRequest]
) -> None:
    """Files may be in place already; nobody is told that they are stored."""
    archive = opened(tmp_path / "archive")
    with archive._database.write() as work:
        work.connection.exec_driver_sql("ALTER TABLE archive_series RENAME TO elsewhere")

    with pytest.raises(ServiceUnavailable, match="does not work"):
        archive.store(requests)

    with archive._database.write() as work:
        work.connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO archive_series")
    assert {result.outcome for result in archive.store(requests)} == {StoreOutcome.STORED}
    check_stored(archive, requests)
    archive.close()


def test_a_file_that_cannot_be_looked_at_is_called_so(
    archive: Archive, requests: list[StoreRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was flushed well, and another try may do."""

    def stale(*_: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(archive.storage, "stats", stale)
        results = archive.store(requests)
    assert {result.reason for result in results} == {
        "what was put there cannot be looked at: Stale file handle"
    }
    assert {result.outcome for result in archive.store(requests)} == {StoreOutcome.STORED}
