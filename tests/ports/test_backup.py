"""Backup and restore where ledger and index are in PostgreSQL: its own tools, one snapshot, an empty database."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dicomrelay.backup import Part, make, opened, restore_databases
from dicomrelay.backup.postgresql import look, put_back, shown
from dicomrelay.backup.values import Database
from dicomrelay.errors import BackupDamaged, ConfigurationError, ServiceError
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.schema import METADATA
from dicomrelay.settings import Settings, load
from tests.support.ledger import PACS, arrival, group
from tests.support.postgresql import PostgresqlServer, require_programs

pytestmark = pytest.mark.postgresql


@pytest.fixture(autouse=True)
def _its_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only the server is installed, its programs are not on the PATH."""
    if shutil.which("pg_dump") is None:
        monkeypatch.setenv("PATH", str(require_programs()), prepend=":")


def home_at(folder: Path, url: str) -> Settings:
    folder.mkdir()
    (folder / "relay.toml").write_text(f'[database]\nurl = "{url}"\n')
    return load(home=folder)


@pytest.fixture
def empty(postgresql_server: PostgresqlServer) -> Iterator[str]:
    url = postgresql_server.create_database()
    yield url
    postgresql_server.drop_database(url)


def test_a_ledger_comes_back_from_a_dump_into_an_empty_database(
    migrated_postgresql: str, postgresql_server: PostgresqlServer, empty: str, tmp_path: Path
) -> None:
    """Whole, counted in the snapshot of the dump; never into a database that has tables or users, nor from a damaged dump."""
    settings = home_at(tmp_path / "home", migrated_postgresql)
    ledger = Ledger.open(migrated_postgresql)
    try:
        ledger.sync_destinations([PACS])
        ledger.register([arrival(number) for number in range(300)])
        group(ledger)
        made = make(settings, tmp_path / "backup", config=None, environment={}, with_secrets=False)
        ledger.register([arrival(number) for number in range(300, 310)])
    finally:
        ledger.dispose()
        postgresql_server.empty_tables(migrated_postgresql, METADATA.tables)
    assert made.manifest.ledger.rows["instances"] == 300
    assert not any("password" in words for words in made.manifest.left_out)

    with pytest.raises(ConfigurationError, match="make an empty database"):
        restore_databases(settings, made.folder, opened(made.folder))
    fresh, done = home_at(tmp_path / "fresh", empty), opened(made.folder)
    with psycopg.connect(empty), pytest.raises(ServiceError, match="1 other connections"):
        restore_databases(fresh, made.folder, opened(made.folder))
    restore_databases(fresh, made.folder, done)

    assert done.restored == [Part.LEDGER, Part.INDEX]
    restored = Ledger.open(empty)
    try:
        assert len(restored.due(limit=1000).transfers) == 2
        restored.register([arrival(1000)])
    finally:
        restored.dispose()
    dump = made.folder / "database.pgdump"
    dump.write_bytes(dump.read_bytes()[:-1000])
    with pytest.raises(BackupDamaged, match="is not as it was written"):
        opened(made.folder)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://relay:s%40cret@db.example:5433/relay", "postgresql://relay@db.example:5433/relay"),
        ("postgresql:///relay?host=/run/pg&password=s3cret", "postgresql:///relay?host=%2Frun%2Fpg"),
        ("postgresql://relay@db.example/relay", "postgresql://relay@db.example/relay"),
    ],
)
def test_no_password_is_said_or_put_on_a_command_line(url: str, said: str) -> None:
    """It goes by PGPASSWORD."""
    assert shown(url) == said


def test_what_libpq_takes_by_the_command_line_only_is_not_given_to_it(tmp_path: Path) -> None:
    """There is no variable for the passphrase of a key (PostgreSQL, 34.15)."""
    url = "postgresql://relay@db.example/relay?sslkey=/k&sslpassword=s3cret"

    assert shown(url) == "postgresql://relay@db.example/relay?sslkey=/k"
    with pytest.raises(ConfigurationError, match="sslpassword") as refused:
        put_back(url, tmp_path / "database.pgdump", Database(revision=None, rows={}), "ledger_version")
    assert "s3cret" not in str(refused.value)


def test_a_dump_of_a_newer_pg_dump_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the words of pg_restore: it is the program that is too old."""
    program = tmp_path / "pg_restore"
    program.write_text(
        "#!/bin/sh\necho 'pg_restore: error: unsupported version (1.99) in file header' >&2\nexit 1\n"
    )
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    with pytest.raises(ConfigurationError, match=r"newer pg_dump .*unsupported version"):
        look(tmp_path / "database.pgdump")
