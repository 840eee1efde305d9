"""URLs, pragmas, and errors of ours instead of the driver's."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from sqlalchemy import text

from dicomrelay.errors import ConfigurationError, LedgerError, ServiceUnavailable
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.engine import Database, chunks, database_url
from dicomrelay.ledger.migrate import migrate
from dicomrelay.ledger.texts import TEXT_LIMIT, path_bytes, path_text, storable


@pytest.mark.parametrize(
    "given",
    ["postgresql://u:p@host/relay", "postgres://u:p@host/relay", "postgresql+psycopg://u:p@host/relay"],
)
def test_postgresql_is_reached_by_psycopg(given: str) -> None:
    """However people write the scheme."""
    url = database_url(given)
    assert (url.drivername, url.host, url.password) == ("postgresql+psycopg", "host", "p")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nonsense", "is no URL"),
        ("mysql://host/relay", "begins with mysql"),
        ("postgresql+asyncpg://host/relay", r"begins with postgresql\+asyncpg"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
    ],
)
def test_other_urls_are_refused_with_what_to_say(given: str, words: str) -> None:
    """The message names the setting."""
    with pytest.raises(ConfigurationError, match=f"database.url {words}"):
        Ledger.open(given)


def test_a_url_in_a_message_shows_no_password(tmp_path: Path) -> None:
    """A server that does not answer is unavailable, said in words; the port is one that nothing can listen on."""
    ledger = Ledger.open("postgresql://relay:s3cret@127.0.0.1:1/relay?connect_timeout=2")
    with pytest.raises(ServiceUnavailable, match=r"relay:\*\*\*@127.0.0.1:1") as caught:
        ledger.studies()
    assert "s3cret" not in str(caught.value)
    assert caught.value.retryable
    ledger.dispose()


def test_a_database_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    """A folder that is not there, and a file that is something else."""
    with pytest.raises(ServiceUnavailable, match="unable to open database file"):
        migrate(f"sqlite:///{tmp_path}/nowhere/ledger.sqlite")
    other = tmp_path / "other.sqlite"
    other.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(LedgerError, match="not a database"):
        migrate(f"sqlite:///{other}")


def test_sqlite_is_opened_as_the_design_says(tmp_path: Path) -> None:
    """WAL, a full flush with each commit, a busy timeout, foreign keys."""
    database = Database(f"sqlite:///{tmp_path}/ledger.sqlite")
    with database.read() as work:
        settings = {
            name: work.connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        }
    database.dispose()
    assert settings == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 30_000, "foreign_keys": 1}


def test_a_transaction_that_raises_writes_nothing(tmp_path: Path) -> None:
    """All of it or nothing, and the error comes out as it was."""
    database = Database(f"sqlite:///{tmp_path}/ledger.sqlite")
    with database.write() as work:
        work.connection.execute(text("CREATE TABLE t (n INTEGER)"))

    def insert_and_fail() -> None:
        with database.write() as work:
            work.connection.execute(text("INSERT INTO t VALUES (1)"))
            raise KeyError

    with pytest.raises(KeyError):
        insert_and_fail()
    with database.read() as work:
        assert work.connection.execute(text("SELECT count(*) FROM t")).scalar_one() == 0
    database.dispose()


def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    """`status` answers while a worker writes; it sees what was there before."""
    database = Database(f"sqlite:///{tmp_path}/ledger.sqlite")
    with database.write() as work:
        work.connection.execute(text("CREATE TABLE t (n INTEGER)"))
    with database.write() as writer:
        writer.connection.execute(text("INSERT INTO t VALUES (1)"))
        with database.read() as reader:
            assert reader.connection.execute(text("SELECT count(*) FROM t")).scalar_one() == 0
    database.dispose()


def test_the_clock_is_epoch_milliseconds(tmp_path: Path) -> None:
    """The database's own, which on one machine is the machine's."""
    database = Database(f"sqlite:///{tmp_path}/ledger.sqlite")
    before = time.time_ns() // 1_000_000
    with database.read() as work:
        now = work.now
    assert before - 2 <= now <= time.time_ns() // 1_000_000 + 2
    database.dispose()


def test_pieces_cover_everything_once() -> None:
    """No value is left out between two statements."""
    assert [list(part) for part in chunks(range(7), 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(chunks([], 3)) == []


def test_texts_are_made_storable_and_others_stay() -> None:
    """NUL and lone surrogates are replaced, length is bounded."""
    assert storable("CT_1 äöü 名") == "CT_1 äöü 名"
    assert storable("a\0b\udcff") == "a?b?"
    assert len(storable("x" * 9999)) == TEXT_LIMIT


@pytest.mark.parametrize("path", ["", "/data/ä b.dcm", "/data/caf\udce9", "\ud800", "x" * 5000])
def test_paths_come_back_as_they_were(path: str) -> None:
    """Whatever a file system can name."""
    assert path_text(path_bytes(path)) == path
