"""Searching the index, held against a search that looks at every row one by one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Any

import pytest

from archive.attributes import ATTRIBUTES, PATIENT_COLUMNS, Level
from archive.index.adding import add_instances
from archive.index.conditions import conditions
from archive.index.database import open_database
from archive.index.entries import NewInstance
from archive.index.rows import matching, statement
from archive.index.search import SearchQuery, scan, search
from archive.index.selecting import select_instances
from archive.index.statistics import statistics
from archive.values import Amount, Selection
from benchmarks.archive_index import GIVEN, SURNAMES, IndexGenerator
from dicomrelay.dicom.wildcards import Wildcards
from dicomrelay.errors import ConfigurationError
from dicomrelay.ledger.engine import Database
from tests.support.archive_index import new_instance

COUNT = 20_000
BY_KEYWORD = {attribute.keyword: attribute for attribute in ATTRIBUTES}
UNIQUE = {
    Level.PATIENT: "patient_id",
    Level.STUDY: "study_instance_uid",
    Level.SERIES: "series_instance_uid",
    Level.INSTANCE: "sop_instance_uid",
}


@cache
def everything() -> tuple[NewInstance, ...]:
    return tuple(islice(IndexGenerator(1).instances(), COUNT))


@cache
def everything_as_rows() -> tuple[Mapping[str, Any], ...]:
    """What each instance says, with its UIDs."""
    return tuple(
        {
            **item.attributes.values,
            "study_instance_uid": item.request.study_instance_uid,
            "series_instance_uid": item.request.series_instance_uid,
            "sop_instance_uid": item.request.sop_instance_uid,
            "sop_class_uid": item.request.sop_class_uid,
        }
        for item in everything()
    )


@pytest.fixture(scope="module")
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Filled once for each database; the tests of this module only read."""
    name = request.param
    server = request.getfixturevalue("postgresql_server") if name == "postgresql" else None
    path = tmp_path_factory.mktemp("index") / "index.sqlite"
    url = server.create_database() if server else f"sqlite:///{path}"
    opened = open_database(url)
    for start in range(0, COUNT, 5000):
        batch = everything()[start : start + 5000]
        opened.transact(lambda work, batch=batch: add_instances(work, batch))
    yield opened
    opened.dispose()
    if server:
        server.drop_database(url)


on_both = pytest.mark.parametrize(
    "filled", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)], indirect=True
)


def does_match(keyword: str, value: str, row: Mapping[str, Any], rows: Callable[[], Iterator[Any]]) -> bool:
    """PS3.4 Section C.2.2.2, the slow way."""
    if keyword in ("ModalitiesInStudy", "Modality of study"):
        return any(other["modality"] in value.split("\\") for other in rows())
    attribute = BY_KEYWORD[keyword]
    held = row.get(attribute.column)
    if held is None:
        return False
    if attribute.vr == "UI":
        return held in value.split("\\")
    if attribute.is_number:
        return bool(held == int(value))
    if attribute.vr == "DA" and "-" in value:
        first, _, last = value.partition("-")
        # An end takes all that begins with it.
        return bool(first <= held and (not last or held[: len(last)] <= last))
    if "*" in value or "?" in value:
        return Wildcards(value.casefold()).matches(str(held).casefold())
    if attribute.vr == "PN":
        return value.casefold() == held.casefold()
    return bool(held == value)


def expected(level: Level, matches: Mapping[str, str]) -> frozenset[str]:
    """The unique keys of what is to be found."""
    return _expected(level, tuple(matches.items()))


@cache
def _expected(level: Level, matches: tuple[tuple[str, str], ...]) -> frozenset[str]:
    studies: dict[str, list[Mapping[str, Any]]] = {}
    for row in everything_as_rows():
        studies.setdefault(row["study_instance_uid"], []).append(row)
    found = set()
    for rows in studies.values():
        for row in rows:
            if all(
                does_match(
                    "Modality of study" if keyword == "Modality" and level is Level.STUDY else keyword,
                    value,
                    row,
                    lambda rows=rows: iter(rows),
                )
                for keyword, value in matches
            ):
                found.add(row[UNIQUE[level]])
    return frozenset(found)


def found(index: Database, query: SearchQuery) -> list[str]:
    return [row[UNIQUE[query.level]] for row in scan(index, query)]


QUERIES = [
    (Level.STUDY, {"PatientName": "d*"}),
    (Level.STUDY, {"PatientName": "*son^*"}),
    (Level.STUDY, {"PatientName": "M?ller*"}),
    (Level.STUDY, {"PatientName": "*Í*", "Modality": "CR"}),
    (Level.STUDY, {"PatientID": "p000001*"}),
    (Level.STUDY, {"PatientID": "P0000007"}),
    (Level.STUDY, {"AccessionNumber": "a?00000?1"}),
    (Level.STUDY, {"StudyDescription": "ct *", "StudyDate": "2010-2015"}),
    (Level.STUDY, {"StudyDate": "20100101-"}),
    (Level.STUDY, {"StudyDate": "-20081231", "ModalitiesInStudy": "US"}),
    (Level.STUDY, {"ModalitiesInStudy": "SR\\MG"}),
    (Level.STUDY, {"ModalitiesInStudy": "R"}),
    (Level.STUDY, {"ModalitiesInStudy": "sr"}),
    (Level.STUDY, {"ReferringPhysicianName": "*dr."}),
    (Level.PATIENT, {"PatientName": "s*", "PatientSex": "F"}),
    (Level.PATIENT, {"PatientBirthDate": "1950-1960"}),
    (Level.SERIES, {"Modality": "CT", "SeriesDescription": "*1.0*"}),
    (Level.SERIES, {"StationName": "mr?", "PatientName": "*a*"}),
    (Level.SERIES, {"SeriesNumber": "2", "StudyDate": "2012-2018"}),
    (Level.SERIES, {"BodyPartExamined": "t*"}),
    (Level.INSTANCE, {"PatientName": "k*", "Modality": "CT"}),
    (Level.INSTANCE, {"InstanceNumber": "7"}),
    (Level.INSTANCE, {"Modality": "SR"}),
    (Level.INSTANCE, {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.67", "StudyDate": "2010-"}),
    (Level.INSTANCE, {"PatientName": "nobody*"}),
    (Level.INSTANCE, {}),
]


@on_both
@pytest.mark.parametrize(("level", "matches"), QUERIES)
def test_what_is_found_is_what_matches(filled: Database, level: Level, matches: dict[str, str]) -> None:
    """Everything, once, by scan; and the same page by page by search, with and without an order."""
    wanted = expected(level, matches)
    all_of_it = found(filled, SearchQuery(level, matches))
    assert len(all_of_it) == len(set(all_of_it))
    assert set(all_of_it) == wanted

    paged: list[str] = []
    while True:
        page = search(filled, SearchQuery(level, matches, limit=401, offset=len(paged)))
        paged += [row[UNIQUE[level]] for row in page.rows]
        if not page.has_more:
            break
    assert paged == all_of_it
    assert sorted(found(filled, SearchQuery(level, matches, sort=("-PatientName", "PatientID")))) == sorted(
        all_of_it
    )


def test_there_is_something_to_find() -> None:
    """The queries above are no queries for nothing: three find nothing, and all others something."""
    nothing = [matches for level, matches in QUERIES if not expected(level, matches)]
    assert nothing == [{"ModalitiesInStudy": "R"}, {"ModalitiesInStudy": "sr"}, {"PatientName": "nobody*"}]


@on_both
@pytest.mark.parametrize(
    ("level", "sort", "key"),
    [
        (Level.STUDY, "PatientName", lambda row: (row["patient_name"] or "").casefold()),
        (Level.STUDY, "StudyDate", lambda row: row["study_date"]),
        (Level.STUDY, "AccessionNumber", lambda row: row["accession_number"]),
        (Level.STUDY, "StudyInstanceUID", lambda row: row["study_instance_uid"]),
        (Level.STUDY, "NumberOfStudyRelatedInstances", lambda row: row["NumberOfStudyRelatedInstances"]),
        (Level.SERIES, "SeriesNumber", lambda row: row["series_number"]),
        (Level.SERIES, "SeriesDescription", lambda row: row["series_description"].casefold()),
        (Level.PATIENT, "PatientBirthDate", lambda row: row["patient_birth_date"]),
        (Level.INSTANCE, "InstanceNumber", lambda row: row["instance_number"]),
    ],
)
def test_rows_come_in_the_order_that_was_asked_for(
    filled: Database, level: Level, sort: str, key: Callable[[Mapping[str, Any]], Any]
) -> None:
    """Ascending and descending, over all pages; text without regard to case, byte by byte."""
    up = [row["key"] for row in scan(filled, SearchQuery(level, sort=(sort,)))]
    assert len(up) == len(set(up)) == len(found(filled, SearchQuery(level)))
    for word in (sort, f"-{sort}"):
        rows = [*scan(filled, SearchQuery(level, sort=(word,)))]
        keys = [key(row) for row in rows]
        assert keys == sorted(keys, key=_bytes, reverse=word.startswith("-"))
        first = search(filled, SearchQuery(level, sort=(word,), limit=50)).rows
        assert [row["key"] for row in first] == [row["key"] for row in rows[:50]]
        assert not any(name.startswith("sort_") for name in rows[0])


def _bytes(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


@on_both
def test_counts_are_those_of_the_rows(filled: Database) -> None:
    """At every level that has them."""
    by_study: dict[str, list[Mapping[str, Any]]] = {}
    by_patient: dict[str, list[Mapping[str, Any]]] = {}
    for row in everything_as_rows():
        by_study.setdefault(row["study_instance_uid"], []).append(row)
        by_patient.setdefault(row["patient_id"], []).append(row)
    for study in scan(filled, SearchQuery(Level.STUDY)):
        rows = by_study[study["study_instance_uid"]]
        assert study["NumberOfStudyRelatedInstances"] == len(rows)
        assert study["NumberOfStudyRelatedSeries"] == len({row["series_instance_uid"] for row in rows})
        assert study["ModalitiesInStudy"] == sorted({row["modality"] for row in rows})
    for patient in scan(filled, SearchQuery(Level.PATIENT)):
        rows = by_patient[patient["patient_id"]]
        assert patient["NumberOfPatientRelatedInstances"] == len(rows)
        assert patient["NumberOfPatientRelatedStudies"] == len({row["study_instance_uid"] for row in rows})
        assert patient["NumberOfPatientRelatedSeries"] == len({row["series_instance_uid"] for row in rows})
        assert set(patient) >= PATIENT_COLUMNS


@on_both
def test_statistics_are_those_of_the_rows(filled: Database) -> None:
    """Counters added up are what counting gives."""
    got = statistics(filled)
    rows = everything_as_rows()
    sizes = {item.request.sop_instance_uid: item.file_bytes for item in everything()}

    def amount(some: list[Mapping[str, Any]]) -> Amount:
        return Amount(
            len({row["study_instance_uid"] for row in some}),
            len({row["series_instance_uid"] for row in some}),
            len(some),
            sum(sizes[row["sop_instance_uid"]] for row in some),
        )

    assert (got.studies, got.series, got.instances, got.bytes) == tuple(
        getattr(amount([*rows]), name) for name in ("studies", "series", "instances", "bytes")
    )
    assert got.patients == len({row["patient_id"] for row in rows})
    assert got.by_modality == {
        name: amount([row for row in rows if row["modality"] == name])
        for name in {row["modality"] for row in rows}
    }
    assert got.by_year == {
        year: amount([row for row in rows if row["study_date"][:4] == year])
        for year in {row["study_date"][:4] for row in rows}
    }
    assert got.oldest_study_date == min(row["study_date"] for row in rows)
    assert got.newest_study_date == max(row["study_date"] for row in rows)
    assert (got.disagreements, got.conflicts, got.removed, got.damaged) == (0, 0, 0, 0)
    assert got.first_study_ms
    assert got.last_study_ms
    assert got.first_study_ms <= got.last_study_ms


@on_both
def test_fuzzy_names_are_found_and_more_than_exact_ones(filled: Database) -> None:
    """Words in any order, without accents, by their sound; with a wildcard it is a pattern as ever."""
    choose = random.Random(5)
    for _ in range(20):
        surname, given = choose.choice(SURNAMES), choose.choice(GIVEN)
        asked = SearchQuery(Level.STUDY, {"PatientName": f"{given} {surname}"}, fuzzy=True)
        exact = expected(Level.STUDY, {"PatientName": f"{surname}^{given}"})
        assert set(found(filled, asked)) >= exact
    assert found(filled, SearchQuery(Level.STUDY, {"PatientName": "mueler"}, fuzzy=True))
    assert found(filled, SearchQuery(Level.STUDY, {"PatientName": "mueler"})) == []
    pattern = {"PatientName": "MÜL*"}
    assert set(found(filled, SearchQuery(Level.STUDY, pattern, fuzzy=True))) == expected(Level.STUDY, pattern)
    other = SearchQuery(Level.STUDY, {"StudyDescription": "thorax ct"}, fuzzy=True)
    assert found(filled, other) == []


@on_both
@pytest.mark.parametrize(
    "by", ["everything", "patient", "studies", "series", "instances", "matches", "all of them"]
)
def test_a_selection_is_of_all_that_is_given(filled: Database, by: str) -> None:
    """More UIDs than a statement takes; in the order of the series, each instance once."""
    rows = everything_as_rows()
    studies = sorted({row["study_instance_uid"] for row in rows})
    series = sorted({row["series_instance_uid"] for row in rows})
    uids = [row["sop_instance_uid"] for row in rows]
    selection, wanted = {
        "everything": (Selection(), uids),
        "patient": (
            Selection(patient_id="P0000002"),
            [row["sop_instance_uid"] for row in rows if row["patient_id"] == "P0000002"],
        ),
        "studies": (
            Selection(study_uids=(*studies[:5], "1.9.9")),
            [row["sop_instance_uid"] for row in rows if row["study_instance_uid"] in studies[:5]],
        ),
        "series": (
            Selection(series_uids=(series[3], series[3], series[7])),
            [row["sop_instance_uid"] for row in rows if row["series_instance_uid"] in (series[3], series[7])],
        ),
        "instances": (
            Selection(sop_instance_uids=(*uids[:1500], *uids[:10], *("9." + uid for uid in uids))),
            uids[:1500],
        ),
        "matches": (
            Selection(matches={"Modality": "CT", "InstanceNumber": "3"}),
            [
                row["sop_instance_uid"]
                for row in rows
                if row["modality"] == "CT" and row["instance_number"] == 3
            ],
        ),
        "all of them": (
            Selection(patient_id="nobody", study_uids=tuple(studies), sop_instance_uids=tuple(uids)),
            [],
        ),
    }[by]

    selected = [each.sop_instance_uid for each in select_instances(filled, selection)]

    assert len(selected) == len(set(selected))
    assert set(selected) == set(wanted)
    assert selection.is_everything == (by == "everything")
    assert bool(wanted) == (by != "all of them")


@on_both
def test_what_cannot_be_asked_is_refused_by_name(filled: Database) -> None:
    """Never ignored; also an order that is none."""
    for level, matches, sort, name in (
        (Level.PATIENT, {"StudyDate": "2020"}, (), "StudyDate"),
        (Level.PATIENT, {"ModalitiesInStudy": "CT"}, (), "ModalitiesInStudy"),
        (Level.SERIES, {"InstanceNumber": "1"}, (), "InstanceNumber"),
        (Level.STUDY, {}, ("Modality",), "Modality"),
        (Level.STUDY, {}, ("-NumberOfSeriesRelatedInstances",), "NumberOfSeriesRelatedInstances"),
        (Level.STUDY, {}, ("id; DROP TABLE archive_studies",), "DROP TABLE"),
        (Level.STUDY, {}, ("StudyDate",) * 9, "9 keywords"),
    ):
        query = SearchQuery(level, matches, sort=sort)
        with pytest.raises(ConfigurationError, match=name):
            search(filled, query)
        with pytest.raises(ConfigurationError, match=name):
            next(scan(filled, query), None)


def test_a_scan_goes_on_behind_the_last_row_while_others_write(empty_url: str) -> None:
    """Nothing comes twice, nothing that was there is missing."""
    index = open_database(empty_url)
    index.transact(
        lambda work: add_instances(work, [new_instance(f"1.{n}", study=f"1.2.{n}") for n in range(2500)])
    )
    rows = scan(index, SearchQuery(Level.STUDY))
    seen = [row["study_instance_uid"] for row in islice(rows, 1500)]
    index.transact(
        lambda work: add_instances(work, [new_instance(f"2.{n}", study=f"1.3.{n}") for n in range(100)])
    )
    seen += [row["study_instance_uid"] for row in rows]
    index.dispose()

    assert len(seen) == len(set(seen))
    assert set(seen) >= {f"1.2.{n}" for n in range(2500)}


def test_what_is_missing_sorts_as_less_than_everything(empty_url: str) -> None:
    """On every database, up and down, over the borders of pages; what is equal by its number."""
    index = open_database(empty_url)
    names = [None if n % 3 == 0 else f"N{n % 5}" for n in range(2400)]
    dates = [None if n % 7 == 0 else f"2024010{n % 4 + 1}" for n in range(2400)]
    index.transact(
        lambda work: add_instances(
            work,
            [
                new_instance(f"1.{n}", study=f"1.2.{n}", patient_name=names[n], study_date=dates[n])
                for n in range(2400)
            ],
        )
    )
    rows = [*scan(index, SearchQuery(Level.STUDY, sort=("PatientName", "-StudyDate")))]
    turned = [*scan(index, SearchQuery(Level.STUDY, sort=("-PatientName", "StudyDate")))]
    index.dispose()

    def key(row: Mapping[str, Any]) -> tuple[str, int]:
        return row["patient_name"] or "", -int(row["study_date"] or 0)

    assert len({row["key"] for row in rows}) == 2400
    assert [(key(row), row["key"]) for row in rows] == sorted((key(row), row["key"]) for row in rows)
    assert [key(row) for row in turned] == sorted(map(key, rows), reverse=True)


INDEXED = [
    (Level.STUDY, "PatientName", "patient_name_key"),
    (Level.STUDY, "PatientID", "patient_id_key"),
    (Level.STUDY, "AccessionNumber", "accession_number_key"),
    (Level.STUDY, "StudyDescription", "study_description_key"),
    (Level.STUDY, "StudyID", "study_id_key"),
    (Level.STUDY, "ReferringPhysicianName", "referring_physician_name_key"),
    (Level.SERIES, "SeriesDescription", "series_description_key"),
    (Level.SERIES, "StationName", "station_name_key"),
    (Level.SERIES, "Manufacturer", "manufacturer_key"),
    (Level.SERIES, "BodyPartExamined", "body_part_examined_key"),
    (Level.PATIENT, "PatientName", "patient_name_key"),
    (Level.PATIENT, "PatientID", "patient_id_key"),
]


@pytest.mark.parametrize("filled", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("level", "keyword", "column"), INDEXED)
def test_a_pattern_with_a_beginning_is_a_range_of_an_index(
    filled: Database, level: Level, keyword: str, column: str
) -> None:
    """SQLite says which; without a beginning there is none."""
    plans = []
    for pattern in ("ab*c", "*ab"):
        query = statement(level).where(*matching(level, conditions(level, {keyword: pattern})))
        with filled.read() as work:
            compiled = query.compile(work.connection, compile_kwargs={"literal_binds": True})
            said = work.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")
            plans.append(" ".join(row[3] for row in said))
    used = f"ix_archive_{level.value}_{column} ({column}>? AND {column}<?)"
    assert used in plans[0]
    assert used not in plans[1]
