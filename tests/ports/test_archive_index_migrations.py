"""The index's migrations: up and down with rows in place, and the same tables whichever way they came."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, select, text

from archive.attributes import Level
from archive.index.adding import add_instances
from archive.index.counters import verify_counters
from archive.index.database import migrations, open_database
from archive.index.schema import VERSION_TABLE, metadata, patients, series, studies
from archive.index.search import SearchQuery, search
from dicomrelay.errors import ArchiveError
from dicomrelay.ledger.engine import database_url, open_engine
from tests.support.archive_index import new_instance

# Rows as the first revision has them, by table.
OLD: tuple[tuple[str, tuple[object, ...]], ...] = (
    ("patients", (1, "P1\x1f", "P1", None, "Müller^Jürgen")),
    ("patients", (2, "\x1f\x1f1.9", None, None, None)),
    (
        "studies",
        (1, 1, "1.2", "Müller^Jürgen", "müller^jürgen", "P1", None, "19700101", "O", "20240101", "101500", "A-1",
         "House^Greg", "house^greg", "CT Thorax", "S1", 5),
    ),
    ("studies", (2, 2, "1.9", *[None] * 13, 6)),
    (
        "series",
        (1, 1, "1.2.1", "CT", "20240101", "1015", "Maker", "CT1", "Thorax 1.0", "CHEST", 1, None, None, None),
    ),
    ("series", (2, 1, "1.2.2", "SR", *[None] * 6, 2, None, None, None)),
    ("series", (3, 2, "1.9.1", *[None] * 11)),
    *(
        (
            "instances",
            (key, of, f"1.{key}", "1.3", None, None, "1.2.1", key, None, 512, 512, 16, f"data/{key}", size, 100,
             size - 100, f"d{key}", 7),
        )
        for key, of, size in ((1, 1, 1000), (2, 1, 3_000_000_000), (3, 2, 500), (4, 3, 200))
    ),
)  # fmt: skip
TABLES = ("patients", "studies", "series", "instances")


@pytest.fixture
def engine(empty_url: str) -> Iterator[Engine]:
    opened = open_engine(empty_url)
    yield opened
    opened.dispose()


def config(connection: Connection) -> Config:
    made = migrations()
    made.attributes["connection"] = connection
    return made


def all_rows(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table: [tuple(row) for row in connection.execute(text(f"SELECT * FROM archive_{table} ORDER BY id"))]
        for table in TABLES
    }


def indexes(connection: Connection) -> set[tuple[str, str]]:
    """Every index of ours and how it was made, spaces apart."""
    query = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    }[connection.dialect.name]
    rows = connection.execute(text(query))
    return {(row[0], re.sub(r"\s+", " ", row[1])) for row in rows if VERSION_TABLE not in row[0]}


def test_the_second_revision_comes_and_goes_with_what_is_there(engine: Engine, empty_url: str) -> None:
    """Rows stay as they were, up and down; what is new has what it would have had from the beginning."""
    with engine.begin() as connection:
        command.upgrade(config(connection), "0001")
        for table, row in OLD:
            names = ", ".join(f":v{number}" for number in range(len(row)))
            values = {f"v{number}": value for number, value in enumerate(row)}
            connection.execute(text(f"INSERT INTO archive_{table} VALUES ({names})"), values)
        before, made = all_rows(connection), indexes(connection)

    index = open_database(empty_url)
    with index.read() as work:
        assert verify_counters(work) == []
        held = {row["id"]: row for row in work.connection.execute(select(studies)).mappings()}
        one = work.connection.execute(select(patients).where(patients.c.id == 1)).mappings().one()
        first = work.connection.execute(select(series).where(series.c.id == 1)).mappings().one()
    assert (held[1]["series_count"], held[1]["instance_count"]) == (2, 3)
    assert held[1]["byte_count"] == 3_000_001_500
    assert (held[1]["modalities"], held[2]["modalities"]) == ("CT\\SR", "")
    assert (held[1]["accession_number_key"], held[1]["study_description_key"]) == ("a-1", "ct thorax")
    assert (one["patient_birth_date"], one["patient_sex"], one["patient_name_key"]) == (
        "19700101", "O", "müller^jürgen",
    )  # fmt: skip
    assert (first["series_description_key"], first["modality_key"]) == ("thorax 1.0", "ct")
    for matches, fuzzy in (({"PatientName": "jurgen mueller"}, True), ({"AccessionNumber": "a?1"}, False)):
        found = search(index, SearchQuery(Level.STUDY, matches, fuzzy=fuzzy)).rows
        assert [row["study_instance_uid"] for row in found] == ["1.2"]
    index.dispose()

    with engine.begin() as connection:
        command.downgrade(config(connection), "0001")
        assert all_rows(connection) == before
        assert indexes(connection) == made
        command.upgrade(config(connection), "head")


def test_what_a_migration_fills_in_is_what_the_code_would(engine: Engine, empty_url: str) -> None:
    """The same instances, stored now and stored before the second revision: the same rows."""
    said = {
        "patient_name": "Straße^Émile=山田", "patient_id": "P_1 x", "patient_sex": "f", "patient_birth_date": "19700101",
        "referring_physician_name": "Phil^Karl^^Dr.", "study_description": "Schädel MRT", "modality": "MR",
        "series_description": "T2 ÄÖ", "station_name": "Mr1", "body_part_examined": "HEAD", "manufacturer": "M",
    }  # fmt: skip
    index = open_database(empty_url)
    index.transact(lambda work: add_instances(work, [new_instance("1.1", **said)]))
    with engine.begin() as connection:
        now = all_columns(connection)
        command.downgrade(config(connection), "0001")
        command.upgrade(config(connection), "head")
        again = all_columns(connection)
    index.dispose()

    assert again == now
    assert now["archive_studies"]["patient_name_words"]


def all_columns(connection: Connection) -> dict[str, dict[str, Any]]:
    """The only row of each table, by column."""
    return {
        f"archive_{table}": dict(connection.execute(text(f"SELECT * FROM archive_{table}")).mappings().one())
        for table in TABLES
    }


def test_the_revisions_make_the_indexes_that_the_code_expects(
    backend: str, empty_url: str, tmp_path: Any
) -> None:
    """Their columns and the condition of the partial one; columns and types are compared elsewhere."""
    if backend != "sqlite":
        pytest.skip("compared by one database; the other one's are made by the same words")
    index = open_database(empty_url)
    created = create_engine(database_url(f"sqlite:///{tmp_path / 'created.sqlite'}"))
    metadata.create_all(created)
    with index.read() as work, created.connect() as expected:
        assert indexes(work.connection) == indexes(expected)
        assert len(indexes(expected)) > 20
    created.dispose()
    index.dispose()


def test_several_that_open_it_at_once_make_one_schema(empty_url: str) -> None:
    """Workers, gateway and a command may start together."""
    with ThreadPoolExecutor(6) as pool:
        for opened in [pool.submit(open_database, empty_url) for _ in range(6)]:
            opened.result().dispose()


def test_an_index_of_a_newer_version_is_refused_and_left_as_it_is(engine: Engine, empty_url: str) -> None:
    """Clear words: which revision, and what to do."""
    open_database(empty_url).dispose()
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0999'"))
        before = indexes(connection)

    with pytest.raises(ArchiveError, match=r"newer version.*revision 0999.*update dicomrelay"):
        open_database(empty_url)

    with engine.connect() as connection:
        assert indexes(connection) == before
        assert connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one() == "0999"
