"""Export, on both databases: what leaves is what was stored, and nothing is written over or outside."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from archive import Archive
from archive.export_values import ExportOutcome, ExportProgress
from archive.exporting import export
from archive.values import Selection
from dicomrelay.errors import ConfigurationError
from tests.support.archive import pydicom_file, request_for
from tests.support.exports import data_sets, instance, names, stored, without
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
