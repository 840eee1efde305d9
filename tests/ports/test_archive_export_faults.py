"""Export when something goes wrong, on both databases: damage, interruption, SIGKILL, no room, and who else is at it."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from archive import Archive, StoreOutcome
from archive.disk import Disk
from archive.export_folder import FolderTarget
from archive.export_values import ExportOutcome, ExportProgress, ExportReport
from archive.exporting import export
from archive.removal import remove
from archive.values import Policy, Selection
from archive.zipped import ZipTarget
from dicomrelay.errors import ArchiveError, ConfigurationError
from tests.support.archive import request_for
from tests.support.exports import damage, data_sets, instance, names, stored, without

EXPORTED, ALREADY, EXISTS = ExportOutcome.EXPORTED, ExportOutcome.ALREADY_THERE, ExportOutcome.EXISTS
ALL = Selection()


@pytest.fixture
def archive(empty_url: str, tmp_path: Path) -> Iterator[Archive]:
    """Two studies: one of two series with two instances each, one of a series with one."""
    opened = Archive.open(tmp_path / "archive", database_url=empty_url)
    source = tmp_path / "in"
    paths = [instance(source, 1, series, number) for series in (1, 2) for number in (1, 2)]
    stored(opened, [*paths, instance(source, 2, 1, 1)])
    yield opened
    opened.close()


@pytest.fixture
def held(tmp_path: Path) -> dict[str, str]:
    """Digests of what the archive holds. Ask for `archive` first."""
    return data_sets(tmp_path / "in")


@pytest.mark.parametrize("form", ["hierarchy", "flatten", "dicomdir", "zip"])
def test_what_is_damaged_never_leaves_as_good(
    archive: Archive, held: dict[str, str], tmp_path: Path, form: str
) -> None:
    """A flipped bit and a missing file: reported by UID, and the others leave."""
    damage(archive, "1.2.1.1.2")
    archive.locate("1.2.2", "1.2.2.1", "1.2.2.1.1").unlink()
    out = tmp_path / ("out.zip" if form == "zip" else "out")
    options = {} if form == "hierarchy" else {form: True}
    report = export(archive, ALL, out, **options)

    assert report.counts == {EXPORTED: 3, ExportOutcome.DAMAGED: 1, ExportOutcome.MISSING: 1}
    assert not report.is_whole
    assert {(each.sop_instance_uid, each.outcome.value) for each in report.problems} == {
        ("1.2.1.1.2", "damaged"),
        ("1.2.2.1.1", "missing"),
    }
    assert all("P1" not in each.reason for each in report.problems)
    if form == "zip":
        with zipfile.ZipFile(out) as opened:
            assert opened.testzip() is None
            opened.extractall(tmp_path / "unzipped")
        out = tmp_path / "unzipped"
    assert data_sets(out) == without(held, "1.2.1.1.2", "1.2.2.1.1")
    assert not [name for name in names(out) if name.endswith(".part")]


def test_a_damaged_file_meta_is_written_anew(archive: Archive, tmp_path: Path) -> None:
    """The digest covers the data set: a flipped bit before it does not leave either."""
    path = archive.locate("1.2.2", "1.2.2.1", "1.2.2.1.1")
    data = bytearray(path.read_bytes())
    at = data.index(b"1.2.2.1.1")  # Media Storage SOP Instance UID
    data[at] ^= 4
    path.chmod(0o600)
    path.write_bytes(bytes(data))
    report = export(archive, Selection(patient_id="P2"), tmp_path / "out", flatten=True)

    assert report.is_whole
    found = request_for(tmp_path / "out" / "1.2.2.1.1.dcm")
    assert found.sop_instance_uid == "1.2.2.1.1"
    assert b"1.2.2.1.1" in (tmp_path / "out" / "1.2.2.1.1.dcm").read_bytes()[: found.data_set_offset]


def test_an_interrupted_export_of_many_threads_leaves_whole_files(
    archive: Archive, held: dict[str, str], tmp_path: Path
) -> None:
    """Those ahead are finished or not begun; nobody writes any more when the error comes."""
    more = [instance(tmp_path / "in", 5, 1, number) for number in range(1, 60)]
    stored(archive, more)
    out = tmp_path / "out"

    def interrupt(now: ExportProgress) -> None:
        if now.done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(archive, ALL, out, on_progress=interrupt)
    left = names(out)
    assert 7 <= len(left) <= 7 + 16
    assert not [name for name in left if name.endswith(".part")]
    wanted = held | data_sets(tmp_path / "in")
    assert data_sets(out).items() <= wanted.items()
    report = export(archive, ALL, out)
    assert report.counts == {ALREADY: len(left), EXPORTED: 64 - len(left)}
    assert data_sets(out) == wanted


KILLED = """
import os, signal, sys
from pathlib import Path
from archive import Archive
from archive.export_folder import FolderTarget
from archive.exporting import export
from archive.values import Selection
from archive.zipped import ZipTarget

url, root, out, is_zip, step = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4] == "zip", int(sys.argv[5])
kind = ZipTarget if is_zip else FolderTarget
really, calls = kind.put, 0

def put(self, name, stored, chunks, *, when_ms=0):
    def dying():
        for chunk in chunks:
            yield chunk
            global calls
            calls += 1
            if calls == step:
                os.kill(os.getpid(), signal.SIGKILL)
    return really(self, name, stored, dying(), when_ms=when_ms)

kind.put = put
archive = Archive.open(root, database_url=url)
export(archive, Selection(), out, zip=is_zip, dicomdir=sys.argv[4] == "dicomdir", workers=2)
"""


@pytest.mark.parametrize("form", ["hierarchy", "dicomdir", "zip"])
@pytest.mark.parametrize("step", [1, 4, 9])
def test_an_export_that_was_killed_can_be_run_again(
    archive: Archive, held: dict[str, str], empty_url: str, tmp_path: Path, form: str, step: int
) -> None:
    """SIGKILL while an instance is written: whole files, nothing of the name of a ZIP file or DICOMDIR; then all of it."""
    out = tmp_path / "place" / ("out.zip" if form == "zip" else "out")
    out.parent.mkdir()
    arguments = [empty_url, str(archive.layout.root), str(out), form, str(step)]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], timeout=60, check=False, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == -signal.SIGKILL
    whole = [name for name in names(out.parent) if not name.endswith(".part")]
    assert form != "zip" or not whole
    assert "out/DICOMDIR" not in whole
    assert data_sets(out, ".dcm").items() <= held.items()
    options = {} if form == "hierarchy" else {form: True}
    report = export(archive, ALL, out, **options)

    assert report.is_whole
    assert report.counts.get(ALREADY, 0) == len(whole)
    assert not [name for name in names(out.parent) if name.endswith(".part")]
    if form == "zip":
        shutil.unpack_archive(out, tmp_path / "unzipped")
    assert data_sets(tmp_path / "unzipped" if form == "zip" else out) == held


def test_two_exports_of_one_target_do_not_meet(archive: Archive, tmp_path: Path) -> None:
    """The second is refused while the first is at it."""

    def again(target: Path, is_zip: bool, now: ExportProgress) -> None:
        with pytest.raises(ConfigurationError, match="another export"):
            export(archive, ALL, target, zip=is_zip)

    for target, is_zip in ((tmp_path / "out", False), (tmp_path / "out.zip", True)):
        told = partial(again, target, is_zip)
        assert export(archive, ALL, target, zip=is_zip, on_progress=told).is_whole


class FullDisk(Disk):
    """No room for the name of the third file."""

    def __init__(self) -> None:
        self.named = 0

    def publish(self, temporary: Path, target: Path) -> None:
        self.named += 1
        if self.named == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        super().publish(temporary, target)


def test_a_full_target_ends_the_export(
    archive: Archive, held: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With words and no path that names the patient; there is room later, and the rest follows."""
    out = tmp_path / "out"
    really = FolderTarget.__init__

    def full(self: FolderTarget, root: Path, **options: object) -> None:
        really(self, root, overwrite=bool(options.get("overwrite")), disk=FullDisk())

    with monkeypatch.context() as patched:
        patched.setattr(FolderTarget, "__init__", full)
        with pytest.raises(ArchiveError, match="No space left") as raised:
            export(archive, ALL, out, workers=1)
    assert "P1" not in str(raised.value)
    assert len(names(out)) == 2
    assert export(archive, ALL, out).counts == {ALREADY: 2, EXPORTED: 3}
    assert data_sets(out) == held


def test_what_changes_meanwhile_leaves_as_it_is(
    archive: Archive, held: dict[str, str], empty_url: str, tmp_path: Path
) -> None:
    """Replaced behind the outline: the new bytes, and no word of damage. Removed: told as such."""
    other = instance(tmp_path / "other", 1, 2, 2, PixelData=bytes(256), Columns=16)
    replacing = Archive.open(archive.layout.root, database_url=empty_url, policy=Policy.REPLACE)

    def change(now: ExportProgress) -> None:
        if now.done == 1:
            [result] = replacing.store([request_for(other)])
            assert result.outcome is StoreOutcome.REPLACED
            assert remove(replacing, Selection(study_uids=("1.2.2",)), reason="test", by="test") == 1

    report = export(archive, ALL, tmp_path / "out", workers=1, on_progress=change)
    replacing.close()

    assert report.counts == {EXPORTED: 4, ExportOutcome.MISSING: 1}
    assert [(each.sop_instance_uid, each.reason) for each in report.problems] == [
        ("1.2.2.1.1", "it was removed from the archive meanwhile")
    ]
    assert data_sets(tmp_path / "out") == {
        **without(held, "1.2.2.1.1"),
        "1.2.1.2.2": request_for(other).digest,
    }


def test_what_is_being_replaced_is_not_called_damaged(
    archive: Archive, empty_url: str, tmp_path: Path
) -> None:
    """Its file is the new one already, and its row is the old one until the commit."""
    other = instance(tmp_path / "other", 1, 2, 2, PixelData=bytes(256), Columns=16)
    replacing = Archive.open(archive.layout.root, database_url=empty_url, policy=Policy.REPLACE)
    reports: list[ExportReport] = []

    class Slow(Disk):
        """Somebody exports between the new name and the commit."""

        def replace(self, temporary: Path, target: Path) -> None:
            super().replace(temporary, target)
            exporting.start()
            exporting.join(0.5)

    exporting = threading.Thread(target=lambda: reports.append(export(archive, ALL, tmp_path / "out")))
    replacing.disk = Slow()
    [result] = replacing.store([request_for(other)])
    exporting.join(20)
    replacing.close()

    assert result.outcome is StoreOutcome.REPLACED
    assert [report.counts for report in reports] == [{EXPORTED: 5}]
    assert data_sets(tmp_path / "out")["1.2.1.2.2"] == request_for(other).digest


def test_a_zip_file_that_another_export_has_just_named_is_left_alone(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one opened the unfinished file, and then the first one finished it."""
    out = tmp_path / "out.zip"
    first = ZipTarget(out, overwrite=True)
    first.put_file("a", [b"image" * 1000], size=5000)
    lock = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        first.finish()
        first.close()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    second = ZipTarget(out, overwrite=True)
    with zipfile.ZipFile(out) as whole:
        assert whole.read("a") == b"image" * 1000
    second.close()
    assert out.stat().st_size
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_a_file_that_somebody_takes_away_ends_a_file_set_in_words(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it has its record."""
    put = FolderTarget.put

    def taken(self: FolderTarget, name: str, *of: object, **more: object) -> object:
        outcome = put(self, name, *of, **more)  # type: ignore[arg-type]
        (self.path / name).unlink()
        return outcome

    monkeypatch.setattr(FolderTarget, "put", taken)
    with pytest.raises(ArchiveError, match=r"DICOM/PA000001/.* cannot be read any more") as raised:
        export(archive, ALL, tmp_path / "out", dicomdir=True, workers=1)
    assert "P1" not in str(raised.value)
