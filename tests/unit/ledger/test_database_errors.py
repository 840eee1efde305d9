"""What a database that does not work is called, and what helps: the ledger's, and that of the archive's index."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from archive.index.database import file_url, open_database
from dicomrelay.errors import (
    ArchiveIndexDamaged,
    ArchiveIndexError,
    ExitCode,
    LedgerError,
    ServiceUnavailable,
)
from dicomrelay.ledger.engine import IMMUTABLE, Database


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An archive's index."""
    path = tmp_path / "index.sqlite"
    open_database(file_url(path)).dispose()
    return path


def test_a_damaged_index_is_made_anew(file: Path) -> None:
    """Not its beginning, and not its middle."""
    content = bytearray(file.read_bytes())
    for place in range(100, len(content)):
        content[place] ^= 0x55
    for damaged in (b"no database at all" * 500, bytes(content)):
        file.write_bytes(damaged)
        with pytest.raises(ArchiveIndexDamaged, match=r"archive rebuild-index") as caught:
            open_database(file_url(file))
        assert str(caught.value).startswith(f"The archive's index {file} does not work")
        assert caught.value.exit_code is ExitCode.INTEGRITY


def test_an_index_on_a_full_disk_wants_room(file: Path) -> None:
    """SQLite is told that there is none."""
    index = open_database(file_url(file))

    def write_too_much() -> None:
        with index.write() as work:
            work.connection.execute(text("PRAGMA max_page_count = 1"))
            for number in range(1000):
                values = {"name": f"n{number}", "value": "x" * 10_000}
                work.connection.execute(text("INSERT INTO archive_meta VALUES (:name, :value)"), values)

    with pytest.raises(ServiceUnavailable, match="make room, then run it again") as caught:
        write_too_much()
    assert "ledger" not in str(caught.value).lower()
    index.dispose()


def test_an_index_that_can_only_be_read_says_so(file: Path) -> None:
    """With the name of the file, and not with what SQLite is told."""
    index = open_database(f"sqlite:///file:{file}?{IMMUTABLE}=1&uri=true")
    with (
        pytest.raises(ServiceUnavailable, match="the archive can only be read here") as caught,
        index.write() as work,
    ):
        work.connection.execute(text("DELETE FROM archive_meta"))
    assert f"The archive's index {file} " in str(caught.value)
    index.dispose()


def test_whoever_is_asked_wrong_says_who_it_is(tmp_path: Path) -> None:
    """A statement that is refused: of the index, and of the ledger."""
    index = open_database(file_url(tmp_path / "index.sqlite"))
    ledger = Database(f"sqlite:///{tmp_path}/ledger.sqlite")
    for database, kind, name in (
        (index, ArchiveIndexError, "The archive's index"),
        (ledger, LedgerError, "The ledger"),
    ):
        with database.write() as work:
            work.connection.execute(text("CREATE TABLE t (n INTEGER NOT NULL)"))
        with pytest.raises(kind, match=f"^{name} .*refused a statement"), database.write() as work:
            work.connection.execute(text("INSERT INTO t VALUES (NULL)"))
        database.dispose()
