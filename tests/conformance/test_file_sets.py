"""File-sets that `export` makes, as others read them: pydicom's FileSet, DCMTK's dcmdump and dcmmkdir."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet

from archive import Archive
from archive.exporting import export
from archive.values import Selection
from tests.support.archive import pydicom_file, pydicom_files, request_for, shared_files
from tests.support.exports import SR, data_sets, instance, names, stored
from tests.support.house import require

_FILE_ID = re.compile(r"[A-Z0-9_]{1,8}(/[A-Z0-9_]{1,8}){0,7}", re.ASCII)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    opened = Archive.open(tmp_path / "archive")
    yield opened
    opened.close()


def store_all(archive: Archive, paths: list[Path]) -> None:
    """Store files, those of one SOP Instance UID once."""
    archive.store([*{request_for(path).sop_instance_uid: request_for(path) for path in paths}.values()])


def leaves(folder: Path) -> dict[str, Dataset]:
    """SOP Instance UID to its record, by DICOMDIR's own list."""
    directory = dcmread(folder / "DICOMDIR")
    return {
        str(record.ReferencedSOPInstanceUIDInFile): record
        for record in directory.DirectoryRecordSequence
        if "ReferencedFileID" in record
    }


def dcmdump(path: Path) -> str:
    """What DCMTK makes of a file; it must say nothing against it."""
    done = subprocess.run([require("dcmdump"), "+L", str(path)], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    return done.stdout.decode("latin-1")


def check(folder: Path, *keywords: str) -> list[list[str]]:
    """Everything that must be so of any file-set of ours; the values of these keywords, as pydicom finds them."""
    files = [name for name in names(folder) if name != "DICOMDIR"]
    assert all(_FILE_ID.fullmatch(name) for name in files)
    records = leaves(folder)
    assert sorted("/".join(record.ReferencedFileID) for record in records.values()) == files
    for uid, record in records.items():
        meta = dcmread(folder.joinpath(*record.ReferencedFileID), stop_before_pixels=True).file_meta
        assert meta.MediaStorageSOPInstanceUID == uid
        assert meta.MediaStorageSOPClassUID == record.ReferencedSOPClassUIDInFile
        assert meta.TransferSyntaxUID == record.ReferencedTransferSyntaxUIDInFile
    found = FileSet(folder / "DICOMDIR")
    assert len(found) == len(files)
    values = [[str(value) for value in found.find_values(keyword)] for keyword in keywords]
    found._stage["t"].cleanup()
    return values


@pytest.mark.dcmtk
def test_a_file_set_of_two_patients(archive: Archive, tmp_path: Path) -> None:
    """The tree, the file IDs and the records' values, as pydicom and DCMTK see them."""
    source = tmp_path / "in"
    paths = [instance(source, 1, series, number) for series in (1, 2) for number in (1, 2)]
    stored(archive, [*paths, instance(source, 2, 1, 1)])
    out = tmp_path / "out"
    report = export(archive, Selection(), out, dicomdir=True)

    assert (report.is_whole, report.has_dicomdir, report.made_up) == (True, True, 0)
    assert names(out) == [
        "DICOM/PA000001/ST000001/SE000001/IM000001",
        "DICOM/PA000001/ST000001/SE000001/IM000002",
        "DICOM/PA000001/ST000001/SE000002/IM000001",
        "DICOM/PA000001/ST000001/SE000002/IM000002",
        "DICOM/PA000002/ST000001/SE000001/IM000001",
        "DICOMDIR",
    ]
    assert check(out, "PatientID", "SeriesInstanceUID") == [
        ["P1", "P2"],
        ["1.2.1.1", "1.2.1.2", "1.2.2.1"],
    ]
    assert data_sets(out / "DICOM") == data_sets(source)
    dump = dcmdump(out / "DICOMDIR")
    assert dump.count("DirectoryRecordType") == 2 + 2 + 3 + 5
    assert r"DICOM\PA000001\ST000001\SE000002\IM000001" in dump


@pytest.mark.dcmtk
def test_dcmmkdir_agrees(archive: Archive, tmp_path: Path) -> None:
    """DCMTK makes its own DICOMDIR of the same files: the same records of the same instances; and it appends to ours."""
    source = tmp_path / "in"
    stored(archive, [instance(source, study, 1, number) for study in (1, 2) for number in (1, 2, 3)])
    out = tmp_path / "out"
    export(archive, Selection(), out, dicomdir=True)
    ours = leaves(out)
    mine = (out / "DICOMDIR").read_bytes()
    dcmmkdir = [require("dcmmkdir"), "--general-purpose", "+id", str(out), "+D", str(out / "DICOMDIR")]

    def run(*arguments: str) -> None:
        done = subprocess.run([*dcmmkdir, *arguments], capture_output=True, cwd=out, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    files = [name for name in names(out) if name != "DICOMDIR"]
    (out / "DICOMDIR").unlink()
    run(*files)
    theirs = leaves(out)
    assert ours.keys() == theirs.keys()
    for uid, record in theirs.items():
        for element in record:
            if element.tag.group != 0x0004 or "Referenced" in element.name:
                assert ours[uid].get(element.tag) == element, element.name
    (out / "DICOMDIR").write_bytes(mine)
    shutil.copy(instance(source, 3, 1, 1), out / "DICOM" / "NEW")
    run("+A", "DICOM/NEW")
    assert {*leaves(out)} == {*ours, "1.2.3.1.1"}


@pytest.mark.dcmtk
@pytest.mark.parametrize("collection", ["pydicom", "corpus"])
def test_everything_that_others_have_made(archive: Archive, tmp_path: Path, collection: str) -> None:
    """Reports, plans, waveforms, presentation states, private ones and broken ones: each has a record that is read."""
    store_all(archive, pydicom_files() if collection == "pydicom" else shared_files())
    out = tmp_path / "out"
    report = export(archive, Selection(), out, dicomdir=True)

    assert report.is_whole
    check(out)
    dcmdump(out / "DICOMDIR")
    kinds = {record.DirectoryRecordType for record in leaves(out).values()}
    if collection == "pydicom":
        assert kinds >= {"IMAGE", "RT PLAN", "RT DOSE", "RT STRUCTURE SET", "SR DOCUMENT", "WAVEFORM"}


def test_what_a_record_must_have_is_made_up(archive: Archive, tmp_path: Path) -> None:
    """Numbers, dates and ids; the file stays as it is."""
    lacking = dict.fromkeys(
        ("PatientID", "StudyDate", "StudyTime", "StudyID", "SeriesNumber", "InstanceNumber")
    )
    path = instance(tmp_path / "in", 1, 1, 1, **lacking)
    stored(archive, [path])
    out = tmp_path / "out"
    report = export(archive, Selection(), out, dicomdir=True)

    assert report.made_up == len(lacking)
    check(out)
    directory = dcmread(out / "DICOMDIR").DirectoryRecordSequence
    assert [record.DirectoryRecordType for record in directory] == ["PATIENT", "STUDY", "SERIES", "IMAGE"]
    assert directory[0].PatientID == "NO_PATIENT_ID_1"
    assert (directory[1].StudyDate, directory[1].StudyTime, directory[1].StudyID) == (
        "19000101",
        "000000",
        "1",
    )
    assert (directory[2].SeriesNumber, directory[3].InstanceNumber) == (1, 1)
    assert data_sets(out / "DICOM") == data_sets(tmp_path / "in")


def test_nothing_is_made_up_about_a_patient(archive: Archive, tmp_path: Path) -> None:
    """A report without a title, a dose without its kind: records of type PRIVATE, which readers pass by."""
    stored(
        archive,
        [
            instance(tmp_path / "in", 1, 1, 1, SOPClassUID=SR, Modality="SR"),
            instance(tmp_path / "in", 1, 2, 1, SOPClassUID="1.2.840.10008.5.1.4.1.1.481.2"),
            instance(tmp_path / "in", 1, 3, 1, SOPClassUID="1.3.46.670589.5.0.14", Rows=None),
        ],
    )
    out = tmp_path / "out"
    export(archive, Selection(), out, dicomdir=True)

    check(out)
    assert [record.DirectoryRecordType for record in leaves(out).values()] == ["PRIVATE"] * 3
    assert all(record.PrivateRecordUID for record in leaves(out).values())


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (None, "Doe^John"),
        ("ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR 192", "Yamada^Tarou=山田^太郎"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ],
)
def test_names_keep_their_characters(
    archive: Archive, tmp_path: Path, charset: str | list[str] | None, name: str
) -> None:
    """In the character set of the data set."""
    values = {"SpecificCharacterSet": charset} if charset else {}
    stored(archive, [instance(tmp_path / "in", 1, 1, 1, **values, PatientName=name)])
    out = tmp_path / "out"
    export(archive, Selection(), out, dicomdir=True)

    patient = dcmread(out / "DICOMDIR").DirectoryRecordSequence[0]
    assert str(patient.PatientName) == name
    assert patient.get("SpecificCharacterSet") == charset


def test_a_hanging_protocol_stands_beside_the_patients(archive: Archive, tmp_path: Path) -> None:
    """It has no patient; among them it would end one."""
    item = Dataset()
    item.Modality = "CT"
    protocol = {
        "SOPClassUID": "1.2.840.10008.5.1.4.38.1",
        "HangingProtocolName": "A", "HangingProtocolDescription": "B", "HangingProtocolLevel": "SITE",
        "HangingProtocolCreator": "C", "HangingProtocolCreationDateTime": "20240110101500",
        "HangingProtocolDefinitionSequence": [item], "NumberOfPriorsReferenced": 0,
    }  # fmt: skip
    source = tmp_path / "in"
    stored(
        archive, [instance(source, 1, 1, 1), instance(source, 1, 1, 2, **protocol), instance(source, 1, 1, 3)]
    )
    out = tmp_path / "out"
    export(archive, Selection(), out, dicomdir=True)

    check(out)
    types = [record.DirectoryRecordType for record in dcmread(out / "DICOMDIR").DirectoryRecordSequence]
    assert types == ["PATIENT", "STUDY", "SERIES", "IMAGE", "IMAGE", "HANGING PROTOCOL"]


def test_a_file_set_is_resumed_and_extended(archive: Archive, tmp_path: Path) -> None:
    """What is new has new names; a DICOMDIR that is there is replaced only if asked."""
    source, out = tmp_path / "in", tmp_path / "out"
    stored(archive, [instance(source, 1, 1, number) for number in (1, 2)])
    export(archive, Selection(), out, dicomdir=True)
    before = names(out)
    stored(archive, [instance(source, 1, 1, 3), instance(source, 2, 1, 1)])
    with pytest.raises(Exception, match="has a DICOMDIR"):
        export(archive, Selection(), out, dicomdir=True)
    report = export(archive, Selection(), out, dicomdir=True, overwrite=True)

    assert report.is_whole
    assert [count for _, count in sorted(report.counts.items(), key=lambda each: each[0].value)] == [2, 2]
    assert {*before} < {*names(out)}
    check(out)


def test_a_file_set_in_a_zip_file(archive: Archive, tmp_path: Path) -> None:
    """PS3.12 Annex V: the same names, DICOMDIR at the top."""
    stored(archive, [instance(tmp_path / "in", 1, 1, number) for number in (1, 2)])
    store_all(archive, [pydicom_file("JPEG2000.dcm")])
    out = tmp_path / "out.zip"
    assert export(archive, Selection(), out, dicomdir=True, zip=True).has_dicomdir
    with zipfile.ZipFile(out) as opened:
        opened.extractall(tmp_path / "unzipped")
    check(tmp_path / "unzipped")
