"""Dates that are none, names in several groups, and what a bare `*` asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import sqlite

from archive.attributes import Level, Value
from archive.index.adding import add_instances
from archive.index.conditions import conditions
from archive.index.database import open_database
from archive.index.rows import matching, statement
from archive.index.search import SearchQuery, scan
from archive.index.selecting import select_instances
from archive.index.statistics import statistics
from archive.values import Selection
from dicomrelay.ledger.engine import Database
from tests.support.archive_index import new_instance

DATES = ("20040101", "20041231", "20040229", "00010101", "99991231", "20000229")
NO_DATES = (
    "notadate", "041231", "2004-12-", "2004.12.31", "20040230", "20050229", "19000229", "20041301", "20040431",
    "20040100", "200401011", "2004010", "2004 101", "２００４0101",
)  # fmt: skip
TIMES = ("10", "1015", "101500", "101500.5", "101500.123456", "235960")
NO_TIMES = (
    "noon",
    "10:15:00",
    "1",
    "101",
    "2415",
    "1060",
    "10150",
    "101561",
    "101500.",
    "101500.1234567",
    "1015.5",
)
NAMES = (
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "Hong^Gildong=洪^吉洞=홍^길동",
    "山田^花子",
    "Doe^Jane",
    "Doe^Jane=どう^じぇーん",
    "Yamanaka^Ken=山中^健",
)


@pytest.fixture
def index(empty_url: str) -> Iterator[Database]:
    opened = open_database(empty_url)
    yield opened
    opened.dispose()


def fill(index: Database, column: str, values: tuple[Value, ...]) -> None:
    """A study with one instance for each value."""
    new = [
        new_instance(f"1.{number}.1.1", study=f"1.{number}", **{column: value})
        for number, value in enumerate(values)
    ]
    index.transact(lambda work: add_instances(work, new))


def found(index: Database, column: str, matches: Mapping[str, str]) -> set[Value]:
    return {row[column] for row in scan(index, SearchQuery(Level.STUDY, matches))}


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("-20040101", {"20040101", "00010101", "20000229"}),
        ("20041231-", {"20041231", "99991231"}),
        ("2004-2004", {"20040101", "20041231", "20040229"}),
        ("2004.01.01-2004.12.30", {"20040101", "20040229"}),
        ("-", set(DATES)),
    ],
)
def test_a_range_of_dates_has_dates_only(index: Database, asked: str, wanted: set[str]) -> None:
    """Whoever removes what is older than a day does not remove what nobody knows the day of."""
    fill(index, "study_date", (*DATES, *NO_DATES, None))
    assert found(index, "study_date", {"StudyDate": asked}) == wanted
    uids = {
        stored.study_instance_uid
        for stored in select_instances(index, Selection(matches={"StudyDate": asked}))
    }
    assert len(uids) == len(wanted)


def test_a_range_of_times_has_times_only(index: Database) -> None:
    fill(index, "study_time", (*TIMES, *NO_TIMES, None))
    assert found(index, "study_time", {"StudyTime": "-"}) == set(TIMES)
    assert found(index, "study_time", {"StudyTime": "10-11"}) == set(TIMES) - {"235960"}


def test_a_date_that_is_none_is_found_by_itself(index: Database) -> None:
    """A single value is compared as it is, and in the form of ACR-NEMA as well."""
    fill(index, "study_date", (*DATES, *NO_DATES))
    assert found(index, "study_date", {"StudyDate": "notadate"}) == {"notadate"}
    assert found(index, "study_date", {"StudyDate": "2004.12.31"}) == {"2004.12.31", "20041231"}


def test_statistics_take_no_bound_from_what_is_no_date(index: Database) -> None:
    fill(index, "study_date", ("20041231", *NO_DATES, "20050101", None))
    got = statistics(index)
    assert (got.oldest_study_date, got.newest_study_date) == ("20041231", "20050101")
    assert {year: amount.studies for year, amount in got.by_year.items()} == {
        "": len(NO_DATES) + 1, "2004": 1, "2005": 1,
    }  # fmt: skip


@pytest.mark.parametrize("asked", ["*", "**", " "])
def test_a_bare_star_matches_what_has_no_value(index: Database, asked: str) -> None:
    """PS3.4 Section C.2.2.2.4: it is the same as asking for nothing."""
    fill(index, "patient_name", ("Doe^Jane", None))
    matches = dict.fromkeys(("PatientName", "StudyDate", "StudyDescription", "ModalitiesInStudy"), asked)
    assert found(index, "patient_name", matches) == {"Doe^Jane", None}
    assert found(index, "patient_name", {"PatientName": "?*"}) == {"Doe^Jane"}


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("山田*", (0, 2)),
        ("山*", (0, 2, 5)),
        ("山田^太郎", (0,)),
        ("やまだ^たろう", (0,)),
        ("홍*", (1,)),
        ("*길동", (1,)),
        ("洪^*洞", (1,)),
        ("山?^健", (5,)),
        ("yamada^tarou", (0,)),
        ("YAMA*", (0, 5)),
        ("doe^jane", (3, 4)),
        ("d*e", (3, 4)),
        ("*jane", (3, 4)),
        ("Yamada^Tarou=山田*", (0,)),
        ("田*", ()),
        ("太郎", ()),
    ],
)
def test_a_name_is_found_by_each_of_its_groups(index: Database, asked: str, wanted: tuple[int, ...]) -> None:
    """PS3.5 Section 6.2.1.2: as it is written, and as it is spoken."""
    fill(index, "patient_name", NAMES)
    assert found(index, "patient_name", {"PatientName": asked}) == {NAMES[number] for number in wanted}
    patients = {
        row["patient_name"] for row in scan(index, SearchQuery(Level.PATIENT, {"PatientName": asked}))
    }
    assert patients == {NAMES[number] for number in wanted}


def test_names_with_groups_are_looked_for_in_their_own_index(tmp_path: Path) -> None:
    """So that one name among a million is not looked for in all of them."""
    index = open_database(f"sqlite:///{tmp_path}/index.sqlite")
    try:
        for asked in ("山田*", "doe^jane"):
            where = matching(Level.STUDY, conditions(Level.STUDY, {"PatientName": asked}))
            query = statement(Level.STUDY).where(*where).order_by(text("archive_studies.id DESC")).limit(100)
            words = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
            with index.read() as work:
                plan = "\n".join(
                    row[3] for row in work.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {words}")
                )
            assert "ix_archive_studies_patient_name_groups" in plan
            assert "SCAN" not in plan
    finally:
        index.dispose()
