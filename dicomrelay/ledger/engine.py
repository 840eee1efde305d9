"""Connections and transactions: what SQLite and PostgreSQL want, and errors of ours instead of the driver's.

Every transaction that writes begins with BEGIN IMMEDIATE on SQLite: one that reads first and writes later fails at once
when another process wrote in between, and no busy timeout helps. Reads are deferred, on a snapshot.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import unquote
from zlib import crc32

from sqlalchemy import Connection, Engine, Row, Table, create_engine, event, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError

from dicomrelay.errors import ConfigurationError, ServiceUnavailable
from dicomrelay.ledger.clock import NowMs
from dicomrelay.ledger.database_errors import LEDGER, Undone, Whose, is_of_the_session, mapped_errors
from dicomrelay.ledger.file_guard import FileGuard

BUSY_TIMEOUT_MS: Final = 30_000
CONNECT_TIMEOUT_S: Final = 5
# In the URL of a SQLite file that cannot change, on a read-only file system: it is read without WAL and without locks.
IMMUTABLE: Final = "immutable"
_WAL_RETRY_S: Final = 0.01
STATEMENT_TIMEOUT_MS: Final = 60_000
# PostgreSQL takes 65,535 parameters in a statement, SQLite 32,766.
PARAMETERS: Final = 5_000

# A row of any columns; SQLAlchemy's Row takes the type of each.
AnyRow: TypeAlias = Row[*tuple[Any, ...]]

# A forward worker has many threads, and each may want the ledger now: those that are kept, and those that come and go.
_SQLITE_POOL: Final[dict[str, int]] = {"pool_size": 10, "max_overflow": 500}
# A server has a hundred for all; who finds none waits.
_POSTGRESQL_POOL: Final[dict[str, int]] = {"pool_size": 5, "max_overflow": 15}

_TURNS: Final = 4
_TURN_S: Final = 0.05

_READS: Final = "dicomrelay_reads"
_T = TypeVar("_T")


def chunks(values: Sequence[_T], size: int = PARAMETERS) -> Iterator[Sequence[_T]]:
    """Pieces that fit one statement's parameters."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def database_url(text_url: str) -> URL:
    """The URL as SQLAlchemy wants it, with the driver that we bring.

    Raises
    ------
    ConfigurationError
        It is no URL, of another database, or SQLite without a file.
    """
    try:
        url = make_url(text_url)
    except ArgumentError:
        raise ConfigurationError(
            "database.url is no URL: say postgresql://user:password@host/name or sqlite:///path"
        ) from None
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise ConfigurationError(
            f"database.url begins with {url.drivername}: say postgresql://user:password@host/name or sqlite:///path"
        )
    if url.database in (None, "", ":memory:"):
        raise ConfigurationError("database.url names no file: the ledger must outlive this process")
    return url.set(drivername="sqlite+pysqlite")


def open_engine(text_url: str) -> Engine:
    """An engine with our pragmas and time limits. It connects at first use."""
    url = database_url(text_url)
    if url.get_backend_name() == "sqlite":
        engine = create_engine(
            url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}, **_SQLITE_POOL
        )
        if IMMUTABLE not in url.query:
            event.listen(engine, "connect", _prepare_sqlite)
        else:
            event.listen(engine, "connect", _leave_transactions_to_us)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    options: dict[str, str | int] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "dicomrelay",
        # Unsent or unacknowledged data for so long means that the server is gone.
        "tcp_user_timeout": STATEMENT_TIMEOUT_MS,
        "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c idle_in_transaction_session_timeout={STATEMENT_TIMEOUT_MS}",
    }
    given = {name: value for name, value in options.items() if name not in url.query}
    engine = create_engine(
        url, hide_parameters=True, pool_pre_ping=True, connect_args=given, **_POSTGRESQL_POOL
    )
    event.listen(engine, "handle_error", _leave_what_is_no_primary)
    return engine


def _leave_what_is_no_primary(context: ExceptionContext) -> None:
    """Close every connection of the pool: a server that became a standby answers all the same, and would be asked for ever."""
    if is_of_the_session(context.original_exception):
        context.is_disconnect = True


def _leave_transactions_to_us(connection: SqliteConnection, _record: object) -> None:
    """No transactions that the driver begins by itself."""
    connection.isolation_level = None


def _prepare_sqlite(connection: SqliteConnection, record: object) -> None:
    """WAL, and a full flush with each commit."""
    _leave_transactions_to_us(connection, record)
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    _use_wal(connection)
    # FULL: the spool settles an item once register() has returned, so that commit must survive a power cut.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _use_wal(connection: SqliteConnection) -> None:
    """Switch a new database to WAL. The busy timeout does not hold here: who comes second is told at once."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_WAL_RETRY_S)


def reading(engine: Engine) -> Engine:
    """The same engine, for transactions that only read: on SQLite they wait for no writer."""
    return engine.execution_options(**{_READS: True})


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get(_READS, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


@dataclass(frozen=True, slots=True)
class Work:
    """A transaction: its connection, and the time at its beginning by the database's clock."""

    connection: Connection
    now: int

    def insert(self, table: Table) -> postgresql.Insert | sqlite.Insert:
        """An INSERT that knows ON CONFLICT, in this database's dialect."""
        if self.connection.dialect.name == "postgresql":
            return postgresql.insert(table)
        return sqlite.insert(table)

    def insert_missing(self, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
        """Insert the rows that are not there yet; leave the others as they are."""
        if rows:
            self.connection.execute(self.insert(table).on_conflict_do_nothing(), rows)

    def exclusive(self, name: str) -> None:
        """Wait until no other transaction is in the section of this name. SQLite has one writer anyway."""
        if self.connection.dialect.name == "postgresql":
            self._advise("pg_advisory_xact_lock", name)

    def shared(self, name: str) -> None:
        """Wait until no other transaction has the section of this name to itself; others may share it."""
        if self.connection.dialect.name == "postgresql":
            self._advise("pg_advisory_xact_lock_shared", name)

    def end_when_idle(self, idle_ms: int) -> None:
        """Let PostgreSQL end this transaction when nothing comes from us for so long; a file has nobody who could be cut off."""
        if self.connection.dialect.name == "postgresql":
            self.connection.execute(
                text("SELECT set_config('idle_in_transaction_session_timeout', :ms, true)"),
                {"ms": str(idle_ms)},
            )

    def _advise(self, function: str, name: str) -> None:
        key = crc32(f"dicomrelay.ledger.{name}".encode())
        self.connection.execute(text(f"SELECT {function}(:key)"), {"key": key})


class Database:
    """Transactions on one database. Dispose of it before a fork, and open another one after.

    Parameters
    ----------
    url : str
    guarded : bool
        Of SQLite: look with each transaction whether the file that is open is still the file of that name.
    whose : Whose
        Whose database it is, for errors.
    """

    def __init__(self, url: str, *, guarded: bool = False, whose: Whose = LEDGER) -> None:
        self._engine = open_engine(url)
        self._reader = reading(self._engine)
        self.shown_url = _shown(self._engine.url)
        self._whose = whose
        # SQLite has one writer. Who waits for it in SQLite polls, with pauses that grow; who waits here is next when it is free.
        self._turn = threading.Lock() if self._engine.dialect.name == "sqlite" else None
        self._guard: FileGuard | None = None
        if guarded and self._turn is not None:
            guard = self._guard = FileGuard(Path(str(self._engine.url.database)))
            event.listen(self._engine, "connect", lambda *_: guard.connected())

    @property
    def was_replaced(self) -> bool:
        """Whether its file was removed or replaced since it was opened."""
        return self._guard is not None and self._guard.was_replaced

    def dispose(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Work]:
        """A transaction that only reads.

        Raises
        ------
        ServiceUnavailable, LedgerError
        """
        self._looked()
        with self._errors(), self._reader.begin() as connection:
            yield Work(connection, _now(connection))

    def transact(self, function: Callable[[Work], _T]) -> _T:
        """What a function of a transaction that writes returns. When the database undid it for another's sake it is called again.

        That is safe because all of it is undone by then: the function does nothing but read and write by its `Work`, leaves
        what it was given as it was, and each time reads anew what it decides by.

        Raises
        ------
        ServiceUnavailable, LedgerError
            As `write`.
        """
        for turn in range(1, _TURNS):
            try:
                with self.write() as work:
                    return function(work)
            except Undone:
                time.sleep(turn * _TURN_S * random.random())  # noqa: S311 - spreads load, keeps no secret
        with self.write() as work:
            return function(work)

    @contextmanager
    def write(self) -> Iterator[Work]:
        """A transaction that writes: all of it, or nothing when the block raises.

        Raises
        ------
        Undone
            It met another one, and the database let that one go on.
        ServiceUnavailable
            The database does not answer, is locked for too long, its disk is full, or its file was removed or replaced.
        LedgerError
            The database refused a statement.
        """
        generation = self._looked()
        with self._in_turn(), self._errors(), self._engine.begin() as connection:
            yield Work(connection, _now(connection))
        # Committed to a file without a name is not written.
        self._looked(generation)

    def _looked(self, since: int | None = None) -> int:
        """The generation of the file. Raises ServiceUnavailable when it is not the file any more that was opened."""
        if self._guard is None:
            return 0
        generation, became = self._guard.begin() if since is None else (since, self._guard.end(since))
        if became:
            self._engine.dispose()
            raise ServiceUnavailable(f"{self._whose.name}'s file {self.shown_url} {became} while it was open")
        return generation

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        if self._turn is None:
            yield
            return
        if not self._turn.acquire(timeout=BUSY_TIMEOUT_MS / 1000):
            raise ServiceUnavailable(f"{self._whose.name} {self.shown_url} does not work: it is locked")
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with mapped_errors(self.shown_url, self._whose):
            yield


def _now(connection: Connection) -> int:
    return connection.execute(select(NowMs())).scalar_one()


def _shown(url: URL) -> str:
    """Where a database is, as people know it: a file, or a URL without its password."""
    if url.get_backend_name() != "sqlite":
        return url.render_as_string(hide_password=True)
    # The name of a file that cannot change stands in a URI.
    name = str(url.database)
    return unquote(name.removeprefix("file:").partition("?")[0]) if name.startswith("file:") else name
