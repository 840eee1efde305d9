"""Migrations: from nothing, again, by many at once, and to exactly the tables that the code expects."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from archive.index import database as index_database
from dicomrelay.errors import LedgerError, ServiceUnavailable
from dicomrelay.ledger import Ledger
from dicomrelay.ledger import migrate as ledger_migrate
from dicomrelay.ledger.engine import database_url, open_engine
from dicomrelay.ledger.migrate import VERSION_TABLE, _config, current_revision, migrate, newest_revision
from dicomrelay.ledger.revisions import newest_of
from dicomrelay.ledger.schema import METADATA
from tests.support.ledger import arrival

_CHANGED = ("studies", "destinations", "jobs")


def indexes(connection: Connection) -> set[tuple[str, str]]:
    """Every index and how it was made, spaces apart."""
    query = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    }[connection.dialect.name]
    rows = connection.execute(text(query))
    return {(row[0], re.sub(r"\s+", " ", row[1])) for row in rows if VERSION_TABLE not in row[0]}


def test_an_empty_database_gets_the_newest_schema(empty_url: str) -> None:
    """And a second call finds nothing to do and takes nothing away."""
    migrate(empty_url)
    ledger = Ledger.open(empty_url)
    ledger.register([arrival(1)])
    migrate(empty_url)
    assert ledger.studies()[0].instances == 1
    ledger.dispose()
    engine = create_engine(database_url(empty_url))
    with engine.connect() as connection:
        assert current_revision(connection) == newest_revision()
    engine.dispose()


def test_several_callers_at_once_make_one_schema(empty_url: str) -> None:
    """Gateway, workers and scheduler may all start together."""
    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(migrate, empty_url) for _ in range(6)]:
            future.result()
    ledger = Ledger.open(empty_url)
    assert ledger.studies() == ()
    ledger.dispose()


def test_the_revisions_make_the_tables_that_the_code_expects(empty_url: str, ledger_url: str) -> None:
    """Columns, types, keys and the conditions of partial indexes: schema.py and the revisions are the same thing."""
    created = create_engine(database_url(empty_url))
    METADATA.create_all(created)
    migrated = create_engine(database_url(ledger_url))
    with created.connect() as expected, migrated.connect() as actual:
        context = MigrationContext.configure(
            actual, opts={"version_table": VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, METADATA) == []
        assert indexes(actual) == indexes(expected)
        assert len(indexes(actual)) > 15
    created.dispose()
    migrated.dispose()


def test_the_second_revision_comes_and_goes_without_loss(empty_url: str) -> None:
    """What was there before stays as it was, up and down."""
    engine = create_engine(database_url(empty_url))
    with engine.begin() as connection:
        command.upgrade(_config(connection), "0001")
        before = indexes(connection)
        connection.execute(text("INSERT INTO studies VALUES ('1.2', 1, 1, NULL)"))
        connection.execute(text("INSERT INTO destinations VALUES ('pacs', 'configured', 'P', 'h', 1, 1, '')"))
        connection.execute(
            text(
                "INSERT INTO transfers VALUES ('t', '1.2', 'pacs', 'normal', '', 'waiting', 1, 1, '', 1, 1, 1, 'why', 1, NULL)"
            )
        )
        row = connection.execute(text("SELECT * FROM transfers")).one()
        command.upgrade(_config(connection), "0002")
        assert connection.execute(text("SELECT * FROM transfers")).one() == (*row, "")
        assert {name for name, _ in indexes(connection) - before} == {
            "ix_transfers_blocked",
            "ix_deliveries_failed",
        }
        command.downgrade(_config(connection), "0001")
        assert connection.execute(text("SELECT * FROM transfers")).one() == row
        assert indexes(connection) == before
    engine.dispose()


def test_the_third_revision_comes_and_goes_without_loss(empty_url: str) -> None:
    """Rows get what they would have got as new ones."""
    engine = create_engine(database_url(empty_url))
    with engine.begin() as connection:
        command.upgrade(_config(connection), "0002")
        before = indexes(connection)
        connection.execute(text("INSERT INTO studies VALUES ('1.2', 1, 1, NULL)"))
        connection.execute(text("INSERT INTO destinations VALUES ('pacs', 'configured', 'P', 'h', 1, 1, '')"))
        connection.execute(text("INSERT INTO jobs VALUES ('j', 'send', 1, 1, 1)"))
        rows = [connection.execute(text(f"SELECT * FROM {name}")).one() for name in _CHANGED]
        command.upgrade(_config(connection), "0003")
    with engine.begin() as connection:
        study, destination, job = (
            connection.execute(text(f"SELECT * FROM {name}")).one() for name in _CHANGED
        )
        assert study == (*rows[0], None, None, None, 0, "", 0, "", "", "", None)
        assert destination == (*rows[1], "none", "closed", 0, None, None, 0, None, None, None, None, "", None)
        assert job == (*rows[2], "")
        command.downgrade(_config(connection), "0002")
        assert [connection.execute(text(f"SELECT * FROM {name}")).one() for name in _CHANGED] == rows
        assert indexes(connection) == before
    engine.dispose()


def test_a_ledger_of_a_newer_version_is_left_alone(empty_url: str) -> None:
    """A clear error instead of a guess."""
    migrate(empty_url)
    engine = create_engine(database_url(empty_url))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = 'from the future'"))
    engine.dispose()
    with pytest.raises(LedgerError, match="update dicomrelay"):
        migrate(empty_url)


def test_a_ledger_that_was_never_migrated_says_what_is_missing(empty_url: str) -> None:
    """An error of ours, with the driver's first line and no parameter."""
    ledger = Ledger.open(empty_url)
    with pytest.raises((ServiceUnavailable, LedgerError), match=r"instances|studies") as caught:
        ledger.register([arrival(1, sop_instance_uid="1.2.3.4.5.6.7.8.9")])
    assert "1.2.3.4.5.6.7.8.9" not in str(caught.value) + str(caught.value.__cause__)
    ledger.dispose()


@pytest.mark.parametrize(
    "folder", [ledger_migrate._SCRIPTS, index_database._SCRIPTS], ids=["ledger", "index"]
)
def test_the_newest_revision_by_its_files_name_is_alembics_head(folder: Path) -> None:
    """Whether there is anything to migrate is asked without Alembic."""
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [newest_of(folder / "versions")]
    names = {script.revision: Path(script.path).name for script in scripts.walk_revisions()}
    assert all(name.startswith(f"{revision}_") for revision, name in names.items())


def test_who_finds_the_newest_schema_waits_for_no_writer(tmp_path: Path) -> None:
    """Services start while others write."""
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    migrate(url)
    engine = open_engine(url)
    with engine.begin():  # BEGIN IMMEDIATE: another one would end in ServiceUnavailable
        migrate(url)
    engine.dispose()
