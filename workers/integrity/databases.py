"""Is a database sound: what SQLite says of its own pages, and whether the schema is of this version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from dicomrelay.errors import ArchiveIndexError, LedgerError, RelayError, ServiceUnavailable
from dicomrelay.ledger.database_errors import ARCHIVE_INDEX, LEDGER, Whose, mapped_errors
from dicomrelay.ledger.engine import open_engine
from dicomrelay.ledger.migrate import current_revision, newest_revision
from workers.integrity.findings import Finding, Severity
from workers.integrity.invariants import Invariant

# How many of its complaints are worth reading.
_COMPLAINTS: Final = 5
SOUND: Final = "ok"
# What SQLite says of a file that is none of its own, or is one no more; anything else may pass.
_DAMAGED: Final = ("malformed", "not a database", "disk image", "file is encrypted")


def check_ledger_database(url: str, *, read_data: bool) -> Iterator[Finding]:
    """The ledger's database; the check of its rows makes sense only where this finds nothing.

    Raises
    ------
    ServiceUnavailable
        It does not answer, which says nothing about what it holds.
    """
    path = sqlite_path(url)
    if path is not None and not path.exists():
        yield Finding(Invariant.LEDGER_DATABASE, path.name, "the ledger is gone")
        return
    engine = open_engine(url)
    try:
        yield from _sound(engine, Invariant.LEDGER_DATABASE, "ledger", read_data=read_data)
        with mapped_errors("ledger"), engine.connect() as connection:
            found, newest = current_revision(connection), newest_revision()
    except (LedgerError, SQLAlchemyError) as error:
        yield Finding(Invariant.LEDGER_DATABASE, "ledger", f"cannot be read: {_first_line(error)}")
        return
    except ServiceUnavailable as error:
        if not is_damage(error):
            raise
        yield Finding(Invariant.LEDGER_DATABASE, "ledger", str(error))
        return
    finally:
        engine.dispose()
    if found is None:
        yield Finding(Invariant.LEDGER_DATABASE, "ledger", "the ledger is empty: it has no tables")
    elif found < newest:
        words = f"is of revision {found}, and this version wants {newest}: it is migrated at the next start"
        yield Finding(Invariant.LEDGER_DATABASE, "ledger", words, Severity.NOTE)
    elif found != newest:
        words = f"is of revision {found}, of a newer dicomrelay: update this one"
        yield Finding(Invariant.LEDGER_DATABASE, "ledger", words, Severity.NOTE)


def check_index_database(path: Path, *, read_data: bool) -> Iterator[Finding]:
    """The archive's own index; one that shares the ledger's database is looked at with that."""
    if not path.exists():
        yield Finding(Invariant.ARCHIVE_INDEX, path.name, "the archive's index is gone")
        return
    engine = open_engine(f"sqlite:///{path}")
    try:
        yield from _sound(engine, Invariant.ARCHIVE_INDEX, path.name, ARCHIVE_INDEX, read_data=read_data)
    except (ArchiveIndexError, SQLAlchemyError) as error:
        yield Finding(Invariant.ARCHIVE_INDEX, path.name, f"cannot be read: {_first_line(error)}")
    except ServiceUnavailable as error:
        if not is_damage(error):
            raise
        yield Finding(Invariant.ARCHIVE_INDEX, path.name, str(error))
    finally:
        engine.dispose()


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite database; None for another one."""
    prefix = "sqlite:///"
    return Path(url.removeprefix(prefix)) if url.startswith(prefix) else None


def is_damage(error: RelayError) -> bool:
    """Whether a database that does not work is damaged, and not only away or locked."""
    return any(words in str(error) for words in _DAMAGED)


def _sound(
    engine: Engine, invariant: Invariant, about: str, whose: Whose = LEDGER, *, read_data: bool
) -> Iterator[Finding]:
    """What SQLite finds wrong with its pages and its references. PostgreSQL has tools of its own."""
    if engine.dialect.name != "sqlite":
        return
    complaints: list[str] = []
    with mapped_errors(about, whose), engine.connect() as connection:
        pragma = "integrity_check" if read_data else "quick_check"
        rows = connection.exec_driver_sql(f"PRAGMA {pragma}({_COMPLAINTS})").scalars().all()
        complaints += [str(row).splitlines()[0] for row in rows if row != SOUND]
        for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
            complaints.append(f"row {row[1]} of {row[0]} refers to nothing in {row[2]}")
            if len(complaints) >= _COMPLAINTS:
                break
    for words in complaints[:_COMPLAINTS]:
        yield Finding(invariant, about, words)


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
