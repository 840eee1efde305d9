"""The archive's index on SQLite and on PostgreSQL: the same answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydicom import dcmread
from pydicom.uid import generate_uid

from archive import Archive, StoreOutcome
from archive.attributes import Level
from archive.index.database import open_database
from archive.index.schema import VERSION_TABLE, metadata
from archive.index.search import SearchQuery
from dicomrelay.errors import ArchiveError, ConfigurationError
from dicomrelay.ledger.migrate import migrate
from tests.support.archive import pydicom_file, request_for

# (patient name, id, study date, modality, character set), one study each but the last two.
PEOPLE = (
    ("Doe^John", "P-1", "20240110", "CT", "ISO_IR 100"),
    ("DOERING^Anna", "P-2", "20240131", "MR", "ISO_IR 100"),
    ("Müller_100%^Jürgen", "P_3", "20240201", "CT", "ISO_IR 192"),
    ("Yamada^Tarou=山田^太郎", "P_4", "", "US", "ISO_IR 192"),
    ("", "", "20231231", "SR", "ISO_IR 192"),
    ("", "", "20231231", "SR", "ISO_IR 192"),
)


@pytest.fixture
def archive(empty_url: str, tmp_path: Path) -> Iterator[Archive]:
    opened = Archive.open(tmp_path / "archive", database_url=empty_url)
    requests = []
    for number, (name, patient_id, date, modality, charset) in enumerate(PEOPLE):
        ds = dcmread(pydicom_file("CT_small.dcm"))
        ds.SpecificCharacterSet = charset
        ds.PatientName, ds.PatientID, ds.StudyDate, ds.Modality = name, patient_id, date, modality
        ds.StudyInstanceUID, ds.SeriesInstanceUID = f"1.2.{number}", f"1.2.{number}.1"
        ds.StudyDescription = f"Head {number}"
        for instance in range(number + 1):
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.{number}.1.{instance + 1}"
            ds.InstanceNumber = instance + 1
            path = tmp_path / f"{ds.SOPInstanceUID}.dcm"
            ds.save_as(path)
            requests.append(request_for(path))
    assert {result.outcome for result in opened.store(requests)} == {StoreOutcome.STORED}
    yield opened
    opened.close()


def found(archive: Archive, level: Level = Level.STUDY, **matches: str) -> list[int]:
    """Numbers of the studies that match, sorted, one for each row."""
    page = archive.search(SearchQuery(level, matches))
    return sorted(int(row["study_instance_uid"].split(".")[2]) for row in page.rows)


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("PatientName", "DOE*", [0, 1]),
        ("PatientName", "doe^john", [0]),
        ("PatientName", "D?E^J*n", [0]),
        ("PatientName", "DOE", []),
        ("PatientName", "müller_100%*", [2]),
        ("PatientName", "M%", []),
        ("PatientName", "*山田*", [3]),
        ("PatientName", "*", [0, 1, 2, 3, 4, 5]),
        ("PatientID", "P_3", [2]),
        ("PatientID", "P_*", [2, 3]),
        ("PatientID", "p-*", [0, 1]),
        ("PatientID", "' OR 1=1 --", []),
        ("StudyDate", "20240110", [0]),
        ("StudyDate", "20240101-20240131", [0, 1]),
        ("StudyDate", "20240131-", [1, 2]),
        ("StudyDate", "-20240109", [4, 5]),
        ("ModalitiesInStudy", "CT", [0, 2]),
        ("Modality", "MR", [1]),
        ("StudyInstanceUID", "1.2.1,1.2.3\\1.2.5", [1, 3, 5]),
        ("StudyInstanceUID", "1.2.*", []),
        ("StudyDescription", "head ?", [0, 1, 2, 3, 4, 5]),
        ("StudyDescription", "", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_studies_are_found(archive: Archive, keyword: str, value: str, expected: list[int]) -> None:
    """PS3.4 Section C.2.2.2: single value, wildcard, range, list of UIDs, universal."""
    assert found(archive, **{keyword: value}) == expected


def test_matches_are_joined_by_and_across_levels(archive: Archive) -> None:
    """An instance is found by what its study and series say too."""
    assert found(archive, Level.INSTANCE, PatientName="DOE*", InstanceNumber="2") == [1]
    assert found(archive, Level.SERIES, StudyDate="20240101-", Modality="CT") == [0, 2]


def test_counts_and_modalities_are_right(archive: Archive) -> None:
    """What QIDO-RS returns by counting."""
    [study] = archive.search(SearchQuery(Level.STUDY, {"StudyInstanceUID": "1.2.3"})).rows
    [series] = archive.search(SearchQuery(Level.SERIES, {"StudyInstanceUID": "1.2.3"})).rows

    assert study["ModalitiesInStudy"] == ["US"]
    assert (study["NumberOfStudyRelatedSeries"], study["NumberOfStudyRelatedInstances"]) == (1, 4)
    assert series["NumberOfSeriesRelatedInstances"] == 4


def test_text_is_unicode_whatever_it_was_stored_in(archive: Archive) -> None:
    """Names come back as they were meant."""
    names = {row["patient_name"] for row in archive.search(SearchQuery(Level.STUDY)).rows}

    assert names == {name or None for name, *_ in PEOPLE}


def test_pages_hold_every_study_once_the_newest_first(archive: Archive) -> None:
    """Limit and offset; the last page knows that it is the last."""
    pages = [archive.search(SearchQuery(Level.STUDY, limit=4, offset=offset)) for offset in (0, 4)]

    uids = [row["study_instance_uid"] for page in pages for row in page.rows]
    assert sorted(uids) == [f"1.2.{number}" for number in range(6)]
    assert [page.has_more for page in pages] == [True, False]


@pytest.mark.parametrize(
    ("level", "keyword", "value"),
    [
        (Level.STUDY, "InstanceNumber", "1"),
        (Level.STUDY, "PixelData", "1"),
        (Level.INSTANCE, "InstanceNumber", "one"),
        (Level.INSTANCE, "Rows", "9" * 30),
        (Level.STUDY, "PatientName", "x" * 5000),
        (Level.STUDY, "StudyInstanceUID", "1," * 1500),
    ],
)
def test_a_search_that_makes_no_sense_names_the_attribute(
    archive: Archive, level: Level, keyword: str, value: str
) -> None:
    """A filter is never ignored: that would show too much."""
    with pytest.raises(ConfigurationError, match=keyword):
        archive.search(SearchQuery(level, {keyword: value}))


def test_patients_without_an_id_are_not_one_patient(archive: Archive) -> None:
    """Two studies without patient id belong to two."""
    with archive._database.read() as work:
        rows = work.connection.exec_driver_sql(
            "SELECT count(DISTINCT patient) FROM archive_studies WHERE patient_id IS NULL"
        )
        assert rows.scalar_one() == 2


def test_instances_come_in_the_order_they_were_stored(archive: Archive) -> None:
    """Of a study, of a series, of nothing."""
    uids = [stored.sop_instance_uid for stored in archive.instances("1.2.2")]

    assert uids == ["1.2.2.1.1", "1.2.2.1.2", "1.2.2.1.3"]
    assert [s.sop_instance_uid for s in archive.instances("1.2.2", "1.2.2.1")] == uids
    assert not list(archive.instances("1.2.2", "1.2.1.1"))


def test_two_processes_that_store_the_same_instance_agree(archive: Archive, empty_url: str) -> None:
    """Whoever is second finds it there."""
    request = dataclasses.replace(
        request_for(pydicom_file("MR_small.dcm")), study_instance_uid=generate_uid()
    )
    other = Archive.open(archive.layout.root, database_url=empty_url)

    outcomes = [opened.store([request])[0].outcome for opened in (archive, other, archive)]

    other.close()
    assert outcomes == [StoreOutcome.STORED, StoreOutcome.ALREADY_THERE, StoreOutcome.ALREADY_THERE]


def test_the_migrations_make_the_tables_that_the_code_knows(empty_url: str) -> None:
    """Beside the ledger's tables in the same database, each with a version table of its own."""
    migrate(empty_url)
    database = open_database(empty_url)
    with database.read() as work:
        context = MigrationContext.configure(
            work.connection,
            opts={
                "version_table": VERSION_TABLE,
                "include_name": lambda name, kind, _: kind != "table" or (name or "").startswith("archive_"),
            },
        )
        assert compare_metadata(context, metadata) == []
    database.dispose()
    migrate(empty_url)


def test_an_index_of_a_newer_version_is_refused(empty_url: str) -> None:
    """An older program does not write into tables that it does not know."""
    database = open_database(empty_url)
    with database.write() as work:
        work.connection.exec_driver_sql("UPDATE archive_version SET version_num = '9999'")
    database.dispose()

    with pytest.raises(ArchiveError, match="update dicomrelay"):
        open_database(empty_url)
