"""`archive_index.json`, on both databases: written in the schema of old, and read from whoever wrote it."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archive import Archive
from archive.json_index import IndexEntry, write_index
from archive.json_index_reader import read_index
from archive.values import Selection
from dicomrelay.errors import ArchiveError, ConfigurationError
from tests.support.exports import instance, names, stored

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


@pytest.fixture
def archive(empty_url: str, tmp_path: Path) -> Iterator[Archive]:
    """A patient with two studies, one without an id, one whose name is not ASCII."""
    opened = Archive.open(tmp_path / "archive", database_url=empty_url)
    source = tmp_path / "in"
    patient = {"PatientID": "P1", "PatientName": "Doe^John"}
    paths = [instance(source, 1, series, number, **patient) for series in (1, 2) for number in (1, 2)]
    paths += [
        instance(source, 1, 3, 1, **patient, Modality="SR", SeriesDescription=None),
        instance(source, 2, 1, 1, **patient, Modality="MR"),
        instance(source, 3, 1, 1, PatientID=None, PatientName=None, StudyDate=None, StudyDescription=None),
        instance(
            source, 4, 1, 1, PatientID="../P4", PatientName='山田^"太郎"', SpecificCharacterSet="ISO_IR 192"
        ),
    ]
    stored(opened, paths)
    yield opened
    opened.close()


def entries(path: Path) -> list[IndexEntry]:
    with read_index(path) as index:
        return [*index]


def test_the_schema_is_that_of_old(archive: Archive, tmp_path: Path) -> None:
    """Every key of it, no other, and what the archive holds."""
    out = tmp_path / "out" / "archive_index.json"
    out.parent.mkdir()
    assert write_index(archive, out.parent) == 8
    index = json.loads(out.read_text("utf-8"))

    assert list(index) == ["version", "creationDate", "lastModified", "fileCount", "patients"]
    assert (index["version"], index["fileCount"]) == ("1.0", 8)
    assert TIME.fullmatch(index["creationDate"])
    assert TIME.fullmatch(index["lastModified"])
    patients = {patient["patientID"]: patient for patient in index["patients"]}
    assert {patient_id: patient["patientName"] for patient_id, patient in patients.items()} == {
        "P1": "Doe^John",
        "": "",
        "../P4": '山田^"太郎"',
    }
    first, second = patients["P1"]["studies"]
    assert {key: value for key, value in first.items() if key != "series"} == {
        "studyInstanceUID": "1.2.1",
        "studyDate": "20240110",
        "studyDescription": "Head 1",
        "modality": "CT",
    }
    assert second["modality"] == "MR"
    assert [
        (series["seriesInstanceUID"], series["modality"], series["seriesDescription"])
        for series in first["series"]
    ] == [("1.2.1.1", "CT", "Series 1"), ("1.2.1.2", "CT", "Series 2"), ("1.2.1.3", "SR", "")]
    one = first["series"][0]["instances"][0]
    assert list(one) == ["sopInstanceUID", "sopClassUID", "filePath", "fileSize", "importDate"]
    assert one["filePath"] == "data/P1/1.2.1/1.2.1.1/1.2.1.1.1.dcm"
    assert one["fileSize"] == (archive.layout.root / one["filePath"]).stat().st_size
    assert TIME.fullmatch(one["importDate"])
    paths = [entry.file_path for entry in entries(out)]
    assert sorted(paths) == [name for name in names(archive.layout.root) if name.startswith("data/")]


def test_of_a_selection(archive: Archive, tmp_path: Path) -> None:
    """Only what is asked for, with its own count."""
    out = tmp_path / "some.json"
    assert write_index(archive, out, Selection(series_uids=("1.2.1.3", "1.2.2.1"))) == 2
    with read_index(out) as index:
        assert (index.count, index.file_count) == (2, 2)
        assert [entry.sop_instance_uid for entry in index] == ["1.2.1.3.1", "1.2.2.1.1"]


def test_an_empty_archive_has_an_index(empty_url: str, tmp_path: Path) -> None:
    """No patients, and the keys are there."""
    archive = Archive.open(tmp_path / "empty", database_url=empty_url)
    write_index(archive, tmp_path / "empty.json")
    archive.close()

    index = json.loads((tmp_path / "empty.json").read_text("utf-8"))
    assert (index["fileCount"], index["patients"]) == (0, [])
    assert entries(tmp_path / "empty.json") == []


def test_a_file_is_replaced_only_if_asked(archive: Archive, tmp_path: Path) -> None:
    """And when writing fails, what was there is there."""
    out = tmp_path / "index.json"
    out.write_text("mine", "utf-8")
    with pytest.raises(ConfigurationError, match="exists"):
        write_index(archive, out)
    assert out.read_text("utf-8") == "mine"
    write_index(archive, out, overwrite=True)
    assert len(entries(out)) == 8
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_index(archive, tmp_path / "none" / "index.json")
    assert not [name for name in names(tmp_path) if name.endswith(".part")]


def shuffled(value: Any, chance: random.Random) -> Any:
    """The same JSON with the keys of every object in another order."""
    if isinstance(value, dict):
        keys = [*value]
        chance.shuffle(keys)
        return {key: shuffled(value[key], chance) for key in keys}
    return [shuffled(each, chance) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_keys_does_not_matter(archive: Archive, tmp_path: Path, seed: int) -> None:
    """Other programs sort them, or do not care; unknown ones are passed by."""
    out, other = tmp_path / "a.json", tmp_path / "b.json"
    write_index(archive, out)
    index = json.loads(out.read_text("utf-8"))
    index["patients"][0]["studies"][0]["future"] = {"a": [1, {"patients": []}]}
    other.write_text("\ufeff" + json.dumps(shuffled(index, random.Random(seed)), indent=seed), "utf-8")

    assert entries(other) == entries(out)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'{' is missing"),
        ("[]", "'{' is missing"),
        ("{}", "no patients"),
        ('{"patients": {}}', r"'\[' is missing"),
        ('{"patients": [1]}', "'{' is missing"),
        ('{"patients": []', "',' is missing"),
        ('{"patients": []} {}', "behind the end"),
        ('{"version": "2.0", "patients": []}', "version '2.0'"),
        ('{"patients": [{"patientID": []}]}', "patientID must be text"),
        ('{"patients": [{"studies": [{"series": [{"instances": [3]}]}]}]}', "must be an object"),
        ('{"patients": [{"studies": [{"series": [{"instances": [{"fileSize": "3"}]}]}]}]}', "fileSize"),
        ('{"patients": [{"patientID": "' + "x" * 5000 + '"}]}', "5000 characters"),
    ],
)
def test_what_is_no_index_is_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    """With the file and the place, and never with a value of a patient."""
    path = tmp_path / "bad.json"
    path.write_text(text, "utf-8")
    with pytest.raises(ArchiveError, match=words) as raised, read_index(path):
        pass
    assert "bad.json" in str(raised.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Wrong usage."""
    with pytest.raises(ConfigurationError, match=r"none\.json"), read_index(tmp_path / "none.json"):
        pass
