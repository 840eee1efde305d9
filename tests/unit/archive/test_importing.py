"""Import: every file is accounted for, by one process or by several, and may be interrupted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from archive import Archive, Policy
from archive.import_batch import FileOutcome, ImportedFile
from archive.importing import BATCH_FILES, ImportProgress, import_files
from dicomrelay.dicom.quick_scan import quick_scan
from tests.support.archive import pydicom_file
from tests.support.archive_writing import aside_digests, check_whole, held_digest, instance, write_instance
from tests.support.processes import until
from tests.support.small_disk import small_disk


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    opened = Archive.open(tmp_path / "archive")
    yield opened
    opened.close()


def test_every_file_has_one_outcome_and_a_reason_where_it_is_not_there(
    archive: Archive, tmp_path: Path
) -> None:
    """A folder of everything that a disc may hold."""
    folder = tmp_path / "in"
    deep = folder / "a" / "b"
    first = write_instance(deep, 1)
    shutil.copy(first, folder / "again.dcm")
    write_instance(folder / "z", 1, fill=7)
    (folder / "readme.txt").write_text("not an image")
    (folder / "empty.dcm").touch()
    (folder / "cut.dcm").write_bytes(write_instance(tmp_path / "else", 2).read_bytes()[:-100])
    shutil.copy(pydicom_file("dicomdirtests") / "DICOMDIR", folder / "DICOMDIR")
    os.mkfifo(folder / "pipe")
    (folder / "up").symlink_to(folder)
    told: list[ImportedFile] = []

    report = import_files(archive, [folder, tmp_path / "nowhere"], on_file=told.append)

    assert report.counts == {
        FileOutcome.STORED: 1,
        FileOutcome.ALREADY_THERE: 1,
        FileOutcome.CONFLICT: 1,
        FileOutcome.REFUSED: 2,
        FileOutcome.SKIPPED: 5,
    }
    by_name = {Path(file.path).name: file for file in told}
    assert len(told) == report.files == 10
    assert {name for name, file in by_name.items() if file.outcome is FileOutcome.SKIPPED} == {
        "readme.txt",
        "empty.dcm",
        "DICOMDIR",
        "pipe",
        "up",
    }
    assert all(file.reason for file in told if file.outcome is not FileOutcome.STORED and file.is_problem)
    assert "truncated" in by_name["cut.dcm"].reason
    assert "is the path right?" in by_name["nowhere"].reason
    assert {Path(file.path).name for file in report.problems} >= {"cut.dcm", "nowhere"}
    assert len(aside_digests(archive)) == 1
    check_whole(archive)


def test_folders_in_folders_are_a_choice(archive: Archive, tmp_path: Path) -> None:
    """Without it only the files that lie in the folder itself."""
    folder = tmp_path / "in"
    write_instance(folder, 1)
    write_instance(folder / "deeper", 2)

    assert import_files(archive, [folder], recursive=False).files == 1
    assert import_files(archive, [folder]).counts == {FileOutcome.STORED: 1, FileOutcome.ALREADY_THERE: 1}


def test_a_file_that_was_named_and_is_no_dicom_is_a_problem(archive: Archive, tmp_path: Path) -> None:
    """In a folder it is a matter of course."""
    path = tmp_path / "letter.txt"
    path.write_text("Dear colleague")

    report = import_files(archive, [path])

    assert report.counts == {FileOutcome.SKIPPED: 1}
    assert [problem.path for problem in report.problems] == [str(path)]


def test_an_archive_is_not_imported_into_itself(archive: Archive, tmp_path: Path) -> None:
    """Though it lies in the folder that is named."""
    archive.store([instance(tmp_path / "in")])

    report = import_files(archive, [tmp_path])

    assert report.counts == {FileOutcome.ALREADY_THERE: 1, FileOutcome.SKIPPED: 1}


def test_users_files_are_copied_and_stay_as_they_are(archive: Archive, tmp_path: Path) -> None:
    """What their owner writes to them later does not reach the archive."""
    path = write_instance(tmp_path / "in", 1)
    before = path.read_bytes()

    import_files(archive, [path])
    path.write_bytes(b"something else")

    [stored] = (archive.layout.root / "data").rglob("*.dcm")
    assert stored.read_bytes() == before


def _many(folder: Path, count: int) -> None:
    """Copies of one instance with other UIDs of the same length."""
    template = write_instance(folder.parent / "template", 100_000).read_bytes()
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number}").write_bytes(template.replace(b".100000", f".{100_000 + number}".encode()))


def test_several_processes_do_what_one_does(archive: Archive, tmp_path: Path) -> None:
    """Progress never goes back, and ends with all of it."""
    count = 5 * BATCH_FILES
    _many(tmp_path / "in", count)
    told: list[ImportProgress] = []

    report = import_files(archive, [tmp_path / "in"], workers=2, on_progress=told.append)

    assert report.counts == {FileOutcome.STORED: count}
    assert [each.done for each in told] == sorted(each.done for each in told)
    assert (told[-1].found, told[-1].done, told[-1].is_counted) == (count, count, True)
    assert archive.inventory().count() == count
    check_whole(archive)


def test_an_import_that_is_stopped_tells_what_is_stored_and_goes_on(archive: Archive, tmp_path: Path) -> None:
    """What was not looked at is in no count."""
    count = 5 * BATCH_FILES
    _many(tmp_path / "in", count)
    done: Counter[FileOutcome] = Counter()

    report = import_files(
        archive,
        [tmp_path / "in"],
        workers=1,
        on_file=lambda file: done.update([file.outcome]),
        should_stop=lambda: done.total() >= BATCH_FILES,
    )
    assert report.stopped == "interrupted"
    assert 0 < report.files < count
    assert archive.inventory().count() == report.files

    again = import_files(archive, [tmp_path / "in"])
    assert again.counts == {
        FileOutcome.ALREADY_THERE: report.files,
        FileOutcome.STORED: count - report.files,
    }
    check_whole(archive)


PROGRAM = """
import sys
from pathlib import Path
from archive import Archive
from archive.importing import import_files

if __name__ == "__main__":
    archive = Archive.open(Path(sys.argv[1]))
    import_files(archive, [Path(sys.argv[2])], workers=2)
"""


def _processes_of(script: Path) -> set[int]:
    """Processes that were started with this script, and their children by multiprocessing."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes()
                variables = (folder / "environ").read_bytes()
            except OSError:
                continue
            if str(script).encode() in words + variables:
                found.add(int(folder.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_an_import_that_is_killed_leaves_nothing_by_half_and_no_process(tmp_path: Path) -> None:
    """kill -9 of the one that the user started; the next import stores the rest."""
    count = 10 * BATCH_FILES
    _many(tmp_path / "in", count)
    script = tmp_path / "import_it.py"
    script.write_text(PROGRAM)
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "IMPORT_SCRIPT": str(script)}
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "archive"), str(tmp_path / "in")], env=variables
    ) as process:
        data = tmp_path / "archive" / "data"
        until(lambda: process.poll() is not None or any(data.rglob("*.dcm")), seconds=60, what="it has begun")
        process.send_signal(signal.SIGKILL)
    until(lambda: not _processes_of(script), seconds=30, what="its processes have ended")

    archive = Archive.open(tmp_path / "archive")
    stored = archive.inventory().count()
    assert stored < count
    check_whole(archive, orphans=True)
    report = import_files(archive, [tmp_path / "in"], workers=1)
    assert report.files == count
    assert set(report.counts) <= {FileOutcome.STORED, FileOutcome.ALREADY_THERE}
    for part in data.rglob("*.part"):
        part.unlink()
    check_whole(archive)
    archive.close()


def test_a_process_that_dies_costs_its_batch_one_more_try(archive: Archive, tmp_path: Path) -> None:
    """And the second time its files are refused with that reason; the others are stored."""
    count = 5 * BATCH_FILES
    _many(tmp_path / "in", count)
    victims: list[int] = []

    def kill_one(_: ImportedFile) -> None:
        if not victims:
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            found = [
                int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
            ]
            victims.extend(found[:1])
            os.kill(victims[0], signal.SIGKILL)

    report = import_files(archive, [tmp_path / "in"], workers=2, on_file=kill_one)

    assert len(victims) == 1
    assert report.files == count
    assert set(report.counts) <= {FileOutcome.STORED, FileOutcome.ALREADY_THERE}
    for part in (archive.layout.root / "data").rglob("*.part"):
        part.unlink()
    check_whole(archive)


def test_a_full_disk_stops_an_import_with_words(tmp_path: Path) -> None:
    """Everything that was told as stored is whole; once there is room it goes on."""
    _many(tmp_path / "in", 1000)
    with small_disk(tmp_path / "disk", size_mb=1) as disk:
        try:
            archive = Archive.open(disk / "archive")
        except Exception:
            pytest.skip("the index alone does not fit")
        report = import_files(archive, [tmp_path / "in"], workers=1)
        archive.close()

    assert report.stopped
    assert report.stopped.endswith(("No space left on device", "make room, then run it again"))
    assert report.counts[FileOutcome.REFUSED] > 0
    assert report.files < 1000


def test_a_disk_that_is_read_only_stops_an_import_with_words(tmp_path: Path) -> None:
    """What is there can be read as ever."""
    request = instance(tmp_path / "in")
    write_instance(tmp_path / "in", 2)
    with small_disk(tmp_path / "disk", size_mb=20) as disk:
        archive = Archive.open(disk / "archive")
        archive.store([request])
        archive.close()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        archive = Archive.open(disk / "archive")
        report = import_files(archive, [tmp_path / "in"], workers=1)
        assert held_digest(archive, request) == request.digest
        archive.close()

    assert report.counts == {FileOutcome.ALREADY_THERE: 1, FileOutcome.REFUSED: 1}
    assert report.stopped.endswith("Read-only file system")


def test_a_policy_holds_in_the_processes_too(tmp_path: Path) -> None:
    """They open the archive as it was opened here."""
    _many(tmp_path / "in", 40)
    archive = Archive.open(tmp_path / "archive", policy=Policy.REPLACE)
    import_files(archive, [tmp_path / "in"], workers=1)
    for path in (tmp_path / "in").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"\x05")

    report = import_files(archive, [tmp_path / "in"], workers=2)

    assert report.counts == {FileOutcome.REPLACED: 40}
    check_whole(archive)
    archive.close()


@pytest.mark.parametrize("by", [-(1 << 20), 2], ids=["shrinks", "grows"])
def test_a_large_file_that_changes_while_it_is_read_is_refused(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: int
) -> None:
    """It, and no other file: of a mapped one that shrinks the system would kill whoever reads it."""
    path = write_instance(tmp_path / "in")
    ds = dcmread(path)
    ds.Rows, ds.Columns, ds.PixelData = 2048, 2560, bytes(2 * 2048 * 2560)
    ds.save_as(path)
    write_instance(tmp_path / "in", 2)

    def change(*of: object) -> object:
        if of[2] == size:
            os.truncate(path, size + by)
        return scan(*of)  # type: ignore[arg-type]

    scan, size = quick_scan, path.stat().st_size
    monkeypatch.setattr("archive.file_reading.quick_scan", change)

    report = import_files(archive, [tmp_path / "in"])

    assert report.counts == {FileOutcome.REFUSED: 1, FileOutcome.STORED: 1}
    assert [problem.reason for problem in report.problems] == ["changed while it was read"]
