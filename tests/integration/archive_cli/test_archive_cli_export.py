"""`dicomrelay archive export, diff, export-index, import-index`: the real commands on real files, every option."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.fileset import FileSet

from dicomrelay.dicom.part10 import HEAD_BYTES, parse_file_meta
from tests.support.archive_command import ArchiveCommand, changed, header_values, sample_files, sample_folder
from tests.support.archives import dcmqrscp, store

INSTANCES = header_values(sample_folder())
STUDY = next(each for each in INSTANCES if each["PatientID"] == "77654033")["StudyInstanceUID"]


def of(keyword: str, value: str) -> dict[str, str]:
    """SOP Instance UID to path of what pydicom says is there."""
    return {each["SOPInstanceUID"]: each["path"] for each in INSTANCES if each[keyword] == value}


def data_set_bytes(path: Path) -> bytes:
    content = path.read_bytes()
    return content[parse_file_meta(content[:HEAD_BYTES]).data_set_offset :]


def exported(folder: Path) -> dict[str, Path]:
    return {
        str(dcmread(path, stop_before_pixels=True).SOPInstanceUID): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "DICOMDIR"
    }


# export


@pytest.mark.parametrize(
    ("options", "keyword", "value"),
    [
        (("--study-uid", STUDY), "StudyInstanceUID", STUDY),
        (
            ("--series-uid", INSTANCES[0]["SeriesInstanceUID"]),
            "SeriesInstanceUID",
            INSTANCES[0]["SeriesInstanceUID"],
        ),
        (("--patient-id", "98890234"), "PatientID", "98890234"),
        (("--sop-uid", INSTANCES[-1]["SOPInstanceUID"]), "SOPInstanceUID", INSTANCES[-1]["SOPInstanceUID"]),
        (("--modality", "CR"), "Modality", "CR"),
        (("--patient-name", "doe^arch*"), "PatientID", "77654033"),
    ],
)
def test_export_copies_what_is_asked_for_byte_for_byte(
    relay: ArchiveCommand, filled: Path, tmp_path: Path, options: tuple[str, ...], keyword: str, value: str
) -> None:
    """Into PATIENT_ID/STUDY_UID/SERIES_UID/SOP_INSTANCE_UID.dcm; the archive is as it was."""
    told = relay.good("export", "-a", filled, *options, "--output", tmp_path / "out", "--json")
    wanted, found = of(keyword, value), exported(tmp_path / "out")

    assert set(found) == set(wanted)
    assert told.json["exported"] == told.json["selected"] == len(wanted)
    for uid, path in found.items():
        assert data_set_bytes(path) == data_set_bytes(Path(wanted[uid]))
        assert path.name == f"{uid}.dcm"
        assert len(path.relative_to(tmp_path / "out").parts) == 4
    assert relay.good("stats", "-a", filled, "--json").json["instances"] == len(INSTANCES)


def test_export_everything_flat(relay: ArchiveCommand, filled: Path, tmp_path: Path) -> None:
    """One folder; --verbose names each file."""
    told = relay.good("export", "-a", filled, "--all", "-o", tmp_path / "out", "--flatten", "--verbose")

    assert set(exported(tmp_path / "out")) == {each["SOPInstanceUID"] for each in INSTANCES}
    assert all(path.parent == tmp_path / "out" for path in exported(tmp_path / "out").values())
    assert sum(line.startswith("exported: ") for line in told.err.splitlines()) == len(INSTANCES)


def test_export_with_a_dicomdir(relay: ArchiveCommand, filled: Path, tmp_path: Path) -> None:
    """pydicom reads it as a file-set with every instance."""
    told = relay.good(
        "export", "-a", filled, "--patient-id", "98890234", "-o", tmp_path / "disc", "--dicomdir", "--json"
    )
    file_set = FileSet(tmp_path / "disc" / "DICOMDIR")

    assert {str(instance.SOPInstanceUID) for instance in file_set} == set(of("PatientID", "98890234"))
    assert told.json["dicomdir"] is True


@pytest.mark.parametrize("name", ["study.zip", "study.bin"])
def test_export_as_a_zip_file(relay: ArchiveCommand, filled: Path, tmp_path: Path, name: str) -> None:
    """By --zip, or by the name."""
    option = ("--zip",) if name.endswith(".bin") else ()
    relay.good("export", "-a", filled, "--study-uid", STUDY, "-o", tmp_path / name, *option)
    with zipfile.ZipFile(tmp_path / name) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "out")

    assert set(exported(tmp_path / "out")) == set(of("StudyInstanceUID", STUDY))


def test_export_again_verifies_and_writes_over_nothing(
    relay: ArchiveCommand, filled: Path, tmp_path: Path
) -> None:
    """What has other bytes is left and told, exit code 1; --overwrite replaces it."""
    words = ("export", "-a", filled, "--study-uid", STUDY, "-o", tmp_path / "out", "--json")
    relay.good(*words)
    again = relay.good(*words)
    uid, path = next(iter(exported(tmp_path / "out").items()))
    path.write_bytes(b"somebody's")
    refused = relay(*words)
    kept = path.read_bytes()
    replaced = relay.good(*words, "--overwrite")

    assert again.json["already_there"] == again.json["selected"]
    assert (refused.code, refused.json["exists"], kept) == (1, 1, b"somebody's")
    assert refused.json["problems"][0]["SOPInstanceUID"] == uid
    assert "--overwrite" in refused.err
    assert replaced.json["exported"] == 1
    assert data_set_bytes(path) == data_set_bytes(Path(of("StudyInstanceUID", STUDY)[uid]))


@pytest.mark.parametrize(
    "options", [("--study-uid", "1.2.3"), ("--patient-id", "NOBODY"), ("--sop-uid", "1.2.3.4")]
)
def test_export_of_what_is_not_there(
    relay: ArchiveCommand, filled: Path, tmp_path: Path, options: tuple[str, str]
) -> None:
    """Exit code 1 with words; nothing is made."""
    told = relay("export", "-a", filled, *options, "-o", tmp_path / "out", "--json")

    assert told.code == 1
    assert told.json["kind"] == "InstanceNotFound"
    assert f"the archive has nothing with {options[0]} {options[1]}" in told.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "say what to export"),
        (("--all", "--study-uid", "1.2"), "--all and --study-uid 1.2"),
        (("--all", "--flatten", "--dicomdir"), "--flatten and --dicomdir"),
        (("--study-uid", "abc"), "--study-uid 'abc'"),
        (("--study-date", "1"), "--study-date"),
    ],
)
def test_export_refuses_what_makes_no_sense(
    relay: ArchiveCommand, filled: Path, tmp_path: Path, options: tuple[str, ...], why: str
) -> None:
    """Exit code 2, and nothing is made."""
    told = relay("export", "-a", filled, "-o", tmp_path / "out", *options)

    assert told.code == 2
    assert why in told.err
    assert not (tmp_path / "out").exists()


def test_export_never_goes_into_an_archive_or_the_home(
    relay: ArchiveCommand, filled: Path, tmp_path: Path
) -> None:
    """Nor without an output, nor over a file."""
    (tmp_path / "file").write_text("mine")
    (relay.home / "spool").mkdir(parents=True)
    for output in (filled / "out", relay.home / "spool" / "out", tmp_path / "file"):
        told = relay("export", "-a", filled, "--all", "-o", output)
        assert told.code == 2, (output, told.err)
    assert relay("export", "-a", filled, "--all").code == 2
    assert (tmp_path / "file").read_text() == "mine"


def test_export_of_what_the_disk_has_changed(relay: ArchiveCommand, filled: Path, tmp_path: Path) -> None:
    """A flipped bit and a file that is gone: named, exit code 4, and no such file in the output."""
    shutil.copytree(filled, tmp_path / "a")
    flipped, gone = sorted((tmp_path / "a" / "data").rglob("*.dcm"))[:2]
    content = bytearray(flipped.read_bytes())
    content[-1] ^= 1
    flipped.write_bytes(content)
    gone.unlink()
    told = relay("export", "-a", tmp_path / "a", "--all", "-o", tmp_path / "out", "--json")

    assert told.code == 4
    assert (told.json["damaged"], told.json["missing"]) == (1, 1)
    assert told.json["exported"] == len(INSTANCES) - 2
    assert {each["SOPInstanceUID"] for each in told.json["problems"]} == {flipped.stem, gone.stem}
    assert not {flipped.stem, gone.stem} & set(exported(tmp_path / "out"))
    assert "archive check" in told.err


# diff


def test_diff_of_two_archives(relay: ArchiveCommand, filled: Path, tmp_path: Path) -> None:
    """Only here, only there, other bytes: by digest, exit code 1; the same: exit code 0."""
    relay.good("init", "-p", tmp_path / "a")
    relay.good("init", "-p", tmp_path / "b")
    relay.good("import", "-a", tmp_path / "a", *sample_files("CT_small.dcm", "MR_small.dcm"))
    relay.good("import", "-a", tmp_path / "b", changed(tmp_path), *sample_files("rtplan.dcm"))
    told = relay("diff", tmp_path / "b", "-a", tmp_path / "a", "--json")
    only_ct = relay("diff", tmp_path / "b", "-a", tmp_path / "a", "--modality", "CT")
    few = relay("diff", tmp_path / "b", "-a", tmp_path / "a", "--limit", "1")

    assert told.code == 1
    assert sorted(each["difference"] for each in told.json) == ["differing", "only here", "only there"]
    (differing,) = [each for each in told.json if each["difference"] == "differing"]
    assert differing["SOPInstanceUID"] == str(dcmread(sample_files("CT_small.dcm")[0]).SOPInstanceUID)
    assert differing["here"] != differing["there"]
    assert "1 differing" in only_ct.err
    assert "only" not in only_ct.err
    assert "--limit is reached" in few.err
    assert relay("diff", tmp_path / "a", "-a", tmp_path / "a").code == 2


@pytest.mark.parametrize(
    ("other", "options", "why"),
    [
        ("nowhere", (), "is no folder, no AET@host:port, and no destination"),
        ("./nowhere", (), "there is no such folder"),
        ("/", (), "is no archive"),
        ("PEER@", (), "PEER@"),
        ("PEER@127.0.0.1:1", ("--series-uid", "1.2"), "cannot be chosen toward a peer"),
    ],
)
def test_diff_refuses_what_is_no_other_archive(
    relay: ArchiveCommand, filled: Path, other: str, options: tuple[str, ...], why: str
) -> None:
    """Exit code 2, in words."""
    told = relay("diff", other, "-a", filled, *options)

    assert told.code == 2
    assert why in told.err


def test_diff_options_of_a_peer_are_for_a_peer(relay: ArchiveCommand, filled: Path) -> None:
    """And a peer that is not there is exit code 3."""
    assert relay("diff", filled, "-a", filled, "--trust-counts").code == 2
    gone = relay("diff", "PEER@127.0.0.1:1", "-a", filled, "--timeout", "5", "--calling-ae", "US")

    assert gone.code == 3
    assert "127.0.0.1:1" in gone.err


@pytest.mark.dcmtk
def test_diff_against_a_peer(relay: ArchiveCommand, filled: Path, tmp_path: Path) -> None:
    """DCMTK's archive with all but one series: that one is named; with all of it there is no difference."""
    missing = INSTANCES[0]["SeriesInstanceUID"]
    with dcmqrscp(tmp_path / "peer") as peer:
        store(peer, [Path(each["path"]) for each in INSTANCES if each["SeriesInstanceUID"] != missing])
        told = relay("diff", peer.address, "-a", filled, "--calling-ae", "US", "--json")
        store(peer, [Path(each["path"]) for each in INSTANCES if each["SeriesInstanceUID"] == missing])
        same = relay("diff", peer.address, "-a", filled)
        quick = relay("diff", peer.address, "-a", filled, "--trust-counts", "--patient-id", "77654033")

    assert told.code == 1
    assert [(each["difference"], each["level"]) for each in told.json] in (
        [("only here", "series")],
        [("only here", "study")],
    )
    assert (same.code, quick.code) == (0, 0), same.err + quick.err


# archive_index.json


def test_the_index_of_other_programs_goes_out_and_comes_in(
    relay: ArchiveCommand, filled: Path, tmp_path: Path
) -> None:
    """In the schema of old, and an archive made from it is the same archive."""
    shutil.copytree(filled, tmp_path / "a")
    out = relay.good("export-index", "-a", tmp_path / "a", "--json")
    index = json.loads((tmp_path / "a" / "archive_index.json").read_text("utf-8"))
    told = relay.good("import-index", tmp_path / "a" / "archive_index.json", "-a", tmp_path / "b", "--json")

    assert Path(out.json["output"]) == tmp_path / "a" / "archive_index.json"
    assert index["fileCount"] == out.json["instances"] == len(INSTANCES)
    assert {"version", "creationDate", "lastModified", "fileCount", "patients"} <= set(index)
    assert (told.json["entries"], told.json["stored"]) == (len(INSTANCES), len(INSTANCES))
    assert "no difference" in relay.good("diff", tmp_path / "a", "-a", tmp_path / "b").err
    again = relay.good("import-index", tmp_path / "a", "-a", tmp_path / "b", "--json", "--workers", "1")
    assert again.json["already_there"] == len(INSTANCES)


def test_export_index_elsewhere(relay: ArchiveCommand, filled: Path, tmp_path: Path) -> None:
    """Of what is asked for; over a file only with --overwrite; never among the archive's own files."""
    words = ("export-index", "-a", filled, "--patient-id", "77654033", "-o", tmp_path / "index.json")
    told = relay.good(*words, "--json")
    again, over = relay(*words), relay.good(*words, "--overwrite")
    inside = relay("export-index", "-a", filled, "-o", filled / "index.sqlite", "--overwrite")
    nowhere = relay("export-index", "-a", filled, "-o", tmp_path / "no" / "such" / "folder.json")

    assert told.json["instances"] == len(of("PatientID", "77654033"))
    assert (again.code, over.code, inside.code, nowhere.code) == (2, 0, 2, 2)
    assert "--overwrite" in again.err
    assert relay.good("stats", "-a", filled).code == 0


def test_import_index_tells_what_is_not_so(relay: ArchiveCommand, filled: Path, tmp_path: Path) -> None:
    """A file that is gone, one outside of the folder, another size: told, exit code 1; the rest is in."""
    shutil.copytree(filled, tmp_path / "a")
    relay.good("export-index", "-a", tmp_path / "a")
    path = tmp_path / "a" / "archive_index.json"
    index = json.loads(path.read_text("utf-8"))
    instances = [
        instance
        for patient in index["patients"]
        for study in patient["studies"]
        for series in study["series"]
        for instance in series["instances"]
    ]
    instances[0]["filePath"] = "data/nowhere.dcm"
    instances[1]["filePath"] = "../../../etc/passwd"
    instances[2]["fileSize"] = 1
    path.write_text(json.dumps(index), "utf-8")
    told = relay("import-index", path, "-a", tmp_path / "b", "--json")
    loud = relay("import-index", path, "-a", tmp_path / "b", "--verbose")

    assert told.code == 1
    assert (told.json["not_there"], told.json["outside"], told.json["stored"]) == (1, 1, len(INSTANCES) - 2)
    assert {each["field"] for each in told.json["mismatches"]} == {"filePath", "fileSize"}
    assert "fileSize: the index says '1'" in loud.err


def test_import_index_refuses_what_is_no_index(relay: ArchiveCommand, filled: Path, tmp_path: Path) -> None:
    """No file, no JSON, another version, the archive itself; --root that is no folder."""
    (tmp_path / "text.json").write_text("hello")
    (tmp_path / "new.json").write_text('{"version": "7.0", "patients": []}')
    (tmp_path / "good.json").write_text('{"version": "1.0", "patients": []}')

    assert relay("import-index", tmp_path / "nowhere.json", "-a", tmp_path / "b").code == 2
    assert relay("import-index", tmp_path / "text.json", "-a", tmp_path / "b").code == 1
    new = relay("import-index", tmp_path / "new.json", "-a", tmp_path / "b")
    assert new.code == 1
    assert "7.0" in new.err
    assert (
        relay("import-index", tmp_path / "good.json", "--root", tmp_path / "no", "-a", tmp_path / "b").code
        == 2
    )
    own = relay("import-index", tmp_path / "good.json", "--root", filled, "-a", filled)
    assert own.code == 2
    assert "rebuild" in own.err
