"""Export, on both databases: what leaves is what was stored, and nothing is written over or outside."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from archive import Archive
from archive.disk import Disk
from archive.export_folder import FolderTarget
from archive.export_values import ExportOutcome, ExportProgress
from archive.exporting import export
from archive.values import Selection
from dicomrelay.errors import ArchiveError, ConfigurationError
from tests.support.archive import pydicom_file, request_for
from tests.support.exports import damage, data_sets, instance, names, stored, without
from tests.support.house import require

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


def test_a_hierarchy_holds_every_data_set(archive: Archive, held: dict[str, str], tmp_path: Path) -> None:
    """Patient, study, series; the bytes are the digest's."""
    told: list[ExportProgress] = []
    report = export(archive, ALL, tmp_path / "out", on_progress=told.append)

    assert names(tmp_path / "out") == [
        "P1/1.2.1/1.2.1.1/1.2.1.1.1.dcm",
        "P1/1.2.1/1.2.1.1/1.2.1.1.2.dcm",
        "P1/1.2.1/1.2.1.2/1.2.1.2.1.dcm",
        "P1/1.2.1/1.2.1.2/1.2.1.2.2.dcm",
        "P2/1.2.2/1.2.2.1/1.2.2.1.1.dcm",
    ]
    assert data_sets(tmp_path / "out") == held
    assert (report.selected, report.counts, report.is_whole) == (5, {EXPORTED: 5}, True)
    assert [(now.done, now.total) for now in told] == [(number, 5) for number in range(1, 6)]
    assert told[-1].done_bytes == told[-1].total_bytes == report.exported_bytes > 0
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").rglob("*.dcm")} == {0o600}


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(patient_id="P1"), {"1.2.1.1.1", "1.2.1.1.2", "1.2.1.2.1", "1.2.1.2.2"}),
        (Selection(study_uids=("1.2.2",)), {"1.2.2.1.1"}),
        (Selection(series_uids=("1.2.1.2",)), {"1.2.1.2.1", "1.2.1.2.2"}),
        (Selection(sop_instance_uids=("1.2.1.1.2", "1.2.2.1.1")), {"1.2.1.1.2", "1.2.2.1.1"}),
        (Selection(matches={"PatientName": "doe^*", "InstanceNumber": "2"}), {"1.2.1.1.2", "1.2.1.2.2"}),
    ],
)
def test_what_was_selected_leaves(
    archive: Archive, tmp_path: Path, selection: Selection, expected: set[str]
) -> None:
    """By patient, study, series, instance or any match; flattened here."""
    report = export(archive, selection, tmp_path / "out", flatten=True)

    assert report.is_whole
    assert names(tmp_path / "out") == sorted(f"{uid}.dcm" for uid in expected)


def test_nothing_selected_makes_nothing(archive: Archive, tmp_path: Path) -> None:
    """No empty folder, no empty ZIP file."""
    nobody = Selection(patient_id="nobody")

    assert export(archive, nobody, tmp_path / "out").selected == 0
    assert export(archive, nobody, tmp_path / "out.zip", zip=True).selected == 0
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.zip").exists()


def test_an_export_goes_on_where_it_ended(archive: Archive, held: dict[str, str], tmp_path: Path) -> None:
    """Interrupted at the third instance, with a leftover: the second export verifies two and writes three."""
    out = tmp_path / "out"

    def interrupt(now: ExportProgress) -> None:
        if now.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(archive, ALL, out, on_progress=interrupt, workers=1)
    assert len(names(out)) == 2
    leftover = out / "P1/1.2.1/1.2.1.1" / f".{'0' * 32}.part"
    leftover.touch()
    report = export(archive, ALL, out)

    assert report.counts == {ALREADY: 2, EXPORTED: 3}
    assert report.is_whole
    assert not leftover.exists()
    assert data_sets(out) == held


def test_other_bytes_are_left_alone_unless_asked(
    archive: Archive, held: dict[str, str], tmp_path: Path
) -> None:
    """A file, a longer one, a symbolic link and a folder under the names of instances."""
    out, aside = tmp_path / "out", tmp_path / "aside"
    aside.write_bytes(b"not ours")
    out.mkdir()
    (out / "1.2.1.1.1.dcm").write_bytes(b"somebody's")
    (out / "1.2.1.1.2.dcm").symlink_to(aside)
    (out / "1.2.1.2.1.dcm").mkdir()
    report = export(archive, ALL, out, flatten=True)

    assert report.counts == {EXISTS: 3, EXPORTED: 2}
    assert {problem.sop_instance_uid for problem in report.problems} == {
        "1.2.1.1.1",
        "1.2.1.1.2",
        "1.2.1.2.1",
    }
    assert (out / "1.2.1.1.1.dcm").read_bytes() == b"somebody's"
    assert aside.read_bytes() == b"not ours"

    report = export(archive, ALL, out, flatten=True, overwrite=True)
    assert report.counts == {EXPORTED: 2, EXISTS: 1, ALREADY: 2}  # a folder never gives way
    assert aside.read_bytes() == b"not ours"
    assert not (out / "1.2.1.1.2.dcm").is_symlink()
    assert data_sets(out) == without(held, "1.2.1.2.1")


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


HOSTILE = (
    "../../etc",
    "..",
    ".",
    "/absolute",
    "a/b/../../../c",
    "C:x",
    "CON",
    "-rf",
    " ",
    "a" * 64,
    "é/ü",
)


@pytest.mark.parametrize("form", ["hierarchy", "dicomdir", "zip"])
def test_hostile_patient_ids_stay_in_the_target(empty_url: str, tmp_path: Path, form: str) -> None:
    """Whatever a patient id is, every file is in the target, and every patient has its own folder."""
    archive = Archive.open(tmp_path / "archive", database_url=empty_url)
    paths = [
        instance(tmp_path / "in", number, 1, 1, PatientID=patient_id, SpecificCharacterSet="ISO_IR 192")
        for number, patient_id in enumerate(HOSTILE, 1)
    ]
    stored(archive, paths)
    before = names(tmp_path / "in") + names(tmp_path / "archive")
    place = tmp_path / "deep" / "er"
    place.mkdir(parents=True)
    out = place / ("out.zip" if form == "zip" else "out")
    options = {} if form == "hierarchy" else {form: True}
    report = export(archive, ALL, out, **options)
    archive.close()

    assert report.is_whole
    if form == "zip":
        with zipfile.ZipFile(out) as opened:
            inside = opened.namelist()
        assert names(place) == ["out.zip"]
    else:
        inside = names(out)
        assert names(place) == [f"out/{name}" for name in inside]
    assert names(tmp_path / "in") + names(tmp_path / "archive") == before
    assert len({name.split("/")[1 if form == "dicomdir" else 0] for name in inside if "/" in name}) == len(
        HOSTILE
    )
    for name in inside:
        parts = name.split("/")
        assert not {"", ".", ".."} & {*parts}
        assert "\\" not in name


def test_a_folder_that_is_a_symbolic_link_is_not_followed(archive: Archive, tmp_path: Path) -> None:
    """Somebody put it there: what would go through it is refused, the others leave."""
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "P1").symlink_to(elsewhere)
    report = export(archive, ALL, out)

    assert report.counts == {ExportOutcome.FAILED: 4, EXPORTED: 1}
    assert names(elsewhere) == []


def test_a_target_that_cannot_be_is_refused_by_name(archive: Archive, tmp_path: Path) -> None:
    """Wrong usage, before anything is written."""
    a_file = tmp_path / "file"
    a_file.touch()
    for target, options, words in (
        (archive.layout.root / "out", {}, "in the archive"),
        (a_file, {}, str(a_file)),
        (tmp_path / "none" / "x.zip", {"zip": True}, "x.zip"),
        (a_file, {"zip": True}, "exists"),
        (tmp_path / "out", {"flatten": True, "dicomdir": True}, "choose one"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            export(archive, ALL, target, **options)
    assert not (archive.layout.root / "out").exists()


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


def test_a_zip_file_is_whole_or_not_there(archive: Archive, held: dict[str, str], tmp_path: Path) -> None:
    """Interrupted: nothing of that name; afterwards it is what unzip takes, and it is not written over."""
    out = tmp_path / "out.zip"

    def interrupt(now: ExportProgress) -> None:
        if now.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(archive, ALL, out, zip=True, on_progress=interrupt)
    assert names(tmp_path / "none") == []
    assert not [name for name in os.listdir(tmp_path) if "zip" in name]
    (tmp_path / ".out.zip.part").write_bytes(b"of one that was killed, and longer" * 1000)
    report = export(archive, ALL, out, zip=True)
    assert report.is_whole
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    subprocess.run(
        [require("unzip"), "-q", str(out), "-d", str(tmp_path / "unzipped")], check=True, timeout=60
    )
    assert data_sets(tmp_path / "unzipped") == held
    with pytest.raises(ConfigurationError, match="exists"):
        export(archive, ALL, out, zip=True)
    before = out.read_bytes()
    assert export(archive, ALL, out, zip=True, flatten=True, overwrite=True).is_whole
    assert out.read_bytes() != before


def test_compressed_data_sets_leave_as_they_are(archive: Archive, tmp_path: Path) -> None:
    """Encapsulated, deflated and big endian; from a folder and from a ZIP file."""
    sources = [pydicom_file(name) for name in ("JPEG2000.dcm", "image_dfl.dcm", "MR_small_bigendian.dcm")]
    stored(archive, sources)
    uids = tuple(request_for(path).sop_instance_uid for path in sources)
    wanted = {request_for(path).sop_instance_uid: request_for(path).digest for path in sources}
    for out, is_zip in ((tmp_path / "out", False), (tmp_path / "out.zip", True)):
        report = export(archive, Selection(sop_instance_uids=uids), out, flatten=True, zip=is_zip)
        assert report.is_whole
    shutil.unpack_archive(tmp_path / "out.zip", tmp_path / "unzipped")
    for folder in (tmp_path / "out", tmp_path / "unzipped"):
        found = [request_for(path) for path in folder.iterdir()]
        assert {each.sop_instance_uid: each.digest for each in found} == wanted
