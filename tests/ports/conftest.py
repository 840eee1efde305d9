"""The ledger's suite runs on both databases: a migrated one is made once, copied or emptied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomrelay.ledger import Ledger
from dicomrelay.ledger.migrate import migrate
from dicomrelay.ledger.schema import METADATA
from dicomrelay.scheduling import performed_schema, worklist_schema  # noqa: F401 - tables of the same database
from tests.support.ledger import PACS
from tests.support.postgresql import PostgresqlServer, running_server


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "migrated.sqlite"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_server: PostgresqlServer) -> str:
    url = postgresql_server.create_database()
    migrate(url)
    return url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def empty_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without tables."""
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.sqlite'}"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    url = server.create_database()
    yield url
    server.drop_database(url)


@pytest.fixture
def ledger_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with all tables, empty."""
    if backend == "sqlite":
        path = tmp_path / "ledger.sqlite"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
        yield f"sqlite:///{path}"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    url: str = request.getfixturevalue("migrated_postgresql")
    yield url
    server.empty_tables(url, METADATA.tables)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """A ledger that knows the destination pacs, for two associations at once."""
    opened = Ledger.open(ledger_url)
    opened.sync_destinations([PACS])
    yield opened
    opened.dispose()
