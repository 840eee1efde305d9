"""The receiver's folder: names, what is kept once or beside, and what a failing disk leaves."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from dicomrelay.cli.receiving.folder import FileLayout, Keeping, Kept, OutputFolder
from dicomrelay.dicom.part10 import FileMeta, parse_file_meta
from dicomrelay.dicom.scan import Header
from dicomrelay.errors import ConfigurationError, SpoolError, SpoolFull
from tests.support.data_sets import CT_IMAGE_STORAGE, ENCODERS, EXPLICIT, IMPLICIT
from tests.support.disk import Disk


def data_set(uid: str, *, more: bytes = b"") -> bytes:
    patient = ENCODERS[EXPLICIT].element(0x00100020, b"LO", b"../ID 1")
    return ENCODERS[EXPLICIT].identity(uid, between=patient) + more


def put(
    folder: OutputFolder, uid: str, data: bytes = b"", *, syntax: str = EXPLICIT, study: str = "1.2.3.4"
) -> Kept:
    data = data or data_set(uid)
    part = folder.begin(FileMeta(CT_IMAGE_STORAGE, uid, syntax))
    part.write([memoryview(data[:10]), memoryview(b""), memoryview(data[10:])])
    return folder.keep(part, Header(CT_IMAGE_STORAGE, uid, study, "1.2.3.4.5", "CT"))


def files(root: Path) -> list[str]:
    return sorted(
        str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != "lock"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[OutputFolder]:
    opened = OutputFolder(tmp_path / "out")
    yield opened
    opened.close()


def test_a_file_has_exactly_the_bytes_that_came_behind_a_meta_of_ours(folder: OutputFolder) -> None:
    """Readable by its owner alone; nothing else is left."""
    kept = put(folder, "1.2.3")

    path = folder.root / kept.relative
    content = path.read_bytes()
    assert kept == Kept("1.2.3.dcm", Keeping.NEW)
    assert content[parse_file_meta(content).data_set_offset :] == data_set("1.2.3")
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.root.stat().st_mode & 0o777 == 0o700
    assert files(folder.root) == ["1.2.3.dcm"]


@pytest.mark.parametrize(
    ("layout", "place"),
    [
        (FileLayout.FLAT, "1.2.3.dcm"),
        (FileLayout.STUDY, "1.2.3.4/1.2.3.4.5/1.2.3.dcm"),
        (FileLayout.PATIENT, "_ID_1~33ef2f9ed8ca35e7b2c4b3e4/1.2.3.4/1.2.3.4.5/1.2.3.dcm"),
    ],
)
def test_a_layout_makes_safe_names_under_the_folder(tmp_path: Path, layout: FileLayout, place: str) -> None:
    """A patient's id that climbs becomes one harmless component."""
    folder = OutputFolder(tmp_path / "out", layout=layout)
    kept = put(folder, "1.2.3")
    folder.close()

    first, _, rest = kept.relative.partition("~")
    assert first == place.partition("~")[0]
    assert rest.partition("/")[2] == place.partition("~")[2].partition("/")[2]
    assert (folder.root / kept.relative).is_file()
    assert set(os.listdir(tmp_path)) == {"out"}


def test_a_study_without_a_uid_has_a_folder_all_the_same(tmp_path: Path) -> None:
    """Derived from the instance's, as in the archive."""
    folder = OutputFolder(tmp_path / "out", layout=FileLayout.STUDY)
    kept = put(folder, "1.2.3", study="")
    folder.close()

    assert kept.relative.startswith("2.25.")


def test_the_same_bytes_are_kept_once_and_others_beside(folder: OutputFolder) -> None:
    """The second version too is recognised when it comes again; another transfer syntax is another version."""
    other = data_set("1.2.3", more=ENCODERS[EXPLICIT].element(0x00091001, b"LO", b"more"))
    kept = [
        put(folder, "1.2.3"),
        put(folder, "1.2.3"),
        put(folder, "1.2.3", other),
        put(folder, "1.2.3", other),
    ]
    kept.append(put(folder, "1.2.3", syntax=IMPLICIT))

    assert [(each.relative, each.keeping.value) for each in kept] == [
        ("1.2.3.dcm", "new"),
        ("1.2.3.dcm", "again"),
        ("1.2.3_2.dcm", "beside"),
        ("1.2.3_2.dcm", "again"),
        ("1.2.3_3.dcm", "beside"),
    ]
    assert files(folder.root) == ["1.2.3.dcm", "1.2.3_2.dcm", "1.2.3_3.dcm"]


def test_a_file_of_somebody_else_is_never_replaced(folder: OutputFolder) -> None:
    """Whatever it is."""
    (folder.root / "1.2.3.dcm").write_text("a letter", "utf-8")

    assert put(folder, "1.2.3").relative == "1.2.3_2.dcm"
    assert (folder.root / "1.2.3.dcm").read_text("utf-8") == "a letter"


def test_many_threads_with_one_uid_keep_every_version_once(folder: OutputFolder) -> None:
    """Eight threads, two versions of one instance: two files."""
    versions = [
        data_set("1.2.3"),
        data_set("1.2.3", more=ENCODERS[EXPLICIT].element(0x00091001, b"LO", b"x")),
    ]
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        for _ in range(10):
            put(folder, "1.2.3", versions[number % 2])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert files(folder.root) == ["1.2.3.dcm", "1.2.3_2.dcm"]


def test_the_bytes_are_durable_before_the_name_and_the_name_before_the_answer(tmp_path: Path) -> None:
    """Without --no-flush; with it no flush is asked for."""
    disk, lazy = Disk(), Disk()
    for name, operations in (("a", disk), ("b", lazy)):
        folder = OutputFolder(tmp_path / name, flush=operations is disk, operations=operations)
        put(folder, "1.2.3")
        folder.close()

    assert [call for call in disk.calls if call.startswith("sync")] == ["sync_data", "sync_directory"]
    assert set(lazy.calls) == {"create", "head", "write"}


@pytest.mark.parametrize(
    ("failing", "error", "kind"),
    [
        ("write", errno.ENOSPC, SpoolFull),
        ("write", errno.EIO, SpoolError),
        ("sync_data", errno.ENOSPC, SpoolFull),
        ("sync_data", errno.EIO, SpoolError),
    ],
)
def test_a_failing_disk_leaves_nothing_half(
    tmp_path: Path, failing: str, error: int, kind: type[SpoolError]
) -> None:
    """No part, no name; and the next instance is kept when the disk is well again."""
    disk = Disk(failing, error)
    folder = OutputFolder(tmp_path / "out", operations=disk)

    with pytest.raises(kind) as raised:
        put(folder, "1.2.3")
    assert type(raised.value) is kind
    assert files(folder.root) == []

    disk.failing = ""
    assert put(folder, "1.2.3").keeping is Keeping.NEW
    folder.close()


def test_a_name_that_may_not_be_durable_is_no_success_and_takes_nothing_from_others(tmp_path: Path) -> None:
    """The file stays: somebody who sent the same may have been answered meanwhile. Sent again it is flushed again."""
    disk = Disk("sync_directory", errno.EIO)
    folder = OutputFolder(tmp_path / "out", operations=disk)

    with pytest.raises(SpoolError):
        put(folder, "1.2.3")
    assert files(folder.root) == ["1.2.3.dcm"]

    disk.failing = ""
    disk.calls.clear()
    assert put(folder, "1.2.3").keeping is Keeping.AGAIN
    assert [call for call in disk.calls if call.startswith("sync")] == [
        "sync_data", "sync_data", "sync_directory",
    ]  # fmt: skip
    folder.close()


def test_what_was_kept_without_a_flush_is_flushed_before_it_is_answered_for(tmp_path: Path) -> None:
    """By a receiver that did not flush, or by somebody who copied it there."""
    lazy = OutputFolder(tmp_path / "out", flush=False)
    put(lazy, "1.2.3")
    lazy.close()

    class Watching(Disk):
        flushed: ClassVar[list[int]] = []

        def sync_data(self, fd: int) -> None:
            super().sync_data(fd)
            self.flushed.append(os.fstat(fd).st_ino)

    folder = OutputFolder(tmp_path / "out", operations=Watching())
    kept = (tmp_path / "out" / "1.2.3.dcm").stat().st_ino
    assert put(folder, "1.2.3").keeping is Keeping.AGAIN
    assert kept in Watching.flushed
    folder.close()


def test_a_pipe_under_an_instances_name_is_not_waited_for(tmp_path: Path) -> None:
    """It is somebody's, and no instance."""
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / "1.2.3.dcm")
    folder = OutputFolder(tmp_path / "out")
    assert put(folder, "1.2.3").keeping is Keeping.BESIDE
    folder.close()


def test_under_the_mark_nothing_is_begun(tmp_path: Path) -> None:
    """A700, before the disk is full."""
    folder = OutputFolder(tmp_path / "out", min_free_bytes=1 << 60)

    with pytest.raises(
        SpoolFull, match=f"--output {folder.root}: fewer than {1 << 60} bytes are free"
    ) as raised:
        put(folder, "1.2.3")
    assert "gateway" not in str(raised.value)  # whose mark is another one
    folder.close()
    assert files(folder.root) == []


def test_where_there_are_no_links_nothing_is_written_over(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on FAT."""

    def no_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    other = data_set("1.2.3", more=ENCODERS[EXPLICIT].element(0x00091001, b"LO", b"more"))
    (folder.root / "1.2.4.dcm").write_text("a letter", "utf-8")

    kept = [put(folder, "1.2.3"), put(folder, "1.2.3"), put(folder, "1.2.3", other), put(folder, "1.2.4")]

    assert [each.keeping for each in kept] == [Keeping.NEW, Keeping.AGAIN, Keeping.BESIDE, Keeping.BESIDE]
    assert files(folder.root) == ["1.2.3.dcm", "1.2.3_2.dcm", "1.2.4.dcm", "1.2.4_2.dcm"]
    assert (folder.root / "1.2.4.dcm").read_text("utf-8") == "a letter"


def test_a_lock_that_goes_with_its_holder_is_nobody_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder ends, and another begins, while a third has opened the first's lock file: the third is refused."""
    first = OutputFolder(tmp_path / "out")
    second: list[OutputFolder] = []
    flock = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        first.close()
        second.append(OutputFolder(tmp_path / "out"))
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(ConfigurationError, match="at work there"):
        OutputFolder(tmp_path / "out")
    second[0].close()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_somebody_took_away_is_made_again(tmp_path: Path) -> None:
    """A study that was moved while its next instances come."""
    folder = OutputFolder(tmp_path / "out", layout=FileLayout.STUDY)
    put(folder, "1.2.3")
    (folder.root / "1.2.3.4").rename(tmp_path / "elsewhere")

    assert put(folder, "1.2.6").keeping is Keeping.NEW
    folder.close()
    assert files(folder.root) == ["1.2.3.4/1.2.3.4.5/1.2.6.dcm"]


def test_parts_of_a_dead_receiver_are_removed_and_a_living_one_is_left_alone(tmp_path: Path) -> None:
    """One receiver a folder."""
    first = OutputFolder(tmp_path / "out")
    part = first.begin(FileMeta(CT_IMAGE_STORAGE, "1.2.3", EXPLICIT))
    with pytest.raises(ConfigurationError, match="another `receive` or `get` is at work there"):
        OutputFolder(tmp_path / "out")
    assert Path(part.path).exists()
    first.close()

    OutputFolder(tmp_path / "out").close()
    assert files(tmp_path / "out") == []


def test_a_folder_that_cannot_be_made_is_a_mistake_in_words(tmp_path: Path) -> None:
    """The option is named."""
    (tmp_path / "file").touch()

    with pytest.raises(ConfigurationError, match=r"--output .*/file/out: cannot be written"):
        OutputFolder(tmp_path / "file" / "out")


def test_a_work_folder_that_somebody_removed_is_made_again(folder: OutputFolder) -> None:
    """With its lock: the next instance is kept, and no other process comes in."""
    put(folder, "1.2.3")
    shutil.rmtree(folder.root / ".receiving")

    assert put(folder, "1.2.4") == Kept("1.2.4.dcm", Keeping.NEW)
    assert files(folder.root) == ["1.2.3.dcm", "1.2.4.dcm"]
    with pytest.raises(ConfigurationError, match="another"):
        OutputFolder(folder.root)


def test_a_work_folder_that_another_process_has_meanwhile_is_not_shared(folder: OutputFolder) -> None:
    """Removed, and taken by another `receive`: the instance is refused, and told why."""
    shutil.rmtree(folder.root / ".receiving")
    other = OutputFolder(folder.root)
    with pytest.raises(SpoolError, match="was removed while we were at work"):
        put(folder, "1.2.4")
    other.close()
    assert put(folder, "1.2.4").keeping is Keeping.NEW
