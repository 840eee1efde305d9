"""A real PostgreSQL server of our own for tests: a temporary folder, a Unix socket, no port."""

from __future__ import annotations

import ctypes
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

_PR_SET_PDEATHSIG = 1


def programs() -> Path | None:
    """The folder of the newest server's programs; None when there is no server."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None


def require_programs() -> Path:
    """The folder of the programs; without them the test is skipped here, and fails under CI."""
    folder = programs()
    if folder is None:
        if os.environ.get("CI"):
            pytest.fail("no PostgreSQL server: install the package postgresql")
        pytest.skip("no PostgreSQL server is installed")
    return folder


class PostgresqlServer:
    """A running server; every database it makes is for one test."""

    def __init__(self, socket_folder: Path) -> None:
        self._socket_folder = socket_folder
        self._numbers = itertools.count(1)

    @property
    def folder(self) -> Path:
        """Where its socket and its data are."""
        return self._socket_folder

    def url(self, database: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql://postgres@/{database}?host={self._socket_folder}"

    def create_database(self) -> str:
        """The URL of a new database."""
        name = f"test_{next(self._numbers)}"
        self._execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def empty_tables(self, url: str, tables: Iterable[str]) -> None:
        """Remove every row: much faster than a new database."""
        names = ", ".join(f'"{name}"' for name in tables)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"TRUNCATE {names} RESTART IDENTITY".encode())

    def drop_database(self, url: str) -> None:
        """Remove a database, and whoever is still connected to it."""
        self._execute(f'DROP DATABASE "{url.partition("@/")[2].partition("?")[0]}" WITH (FORCE)')

    def is_up(self) -> bool:
        """Whether it answers."""
        try:
            self._execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def running_server() -> Iterator[PostgresqlServer]:
    """A server, stopped and removed at the end."""
    folder = require_programs()
    # A socket's path has at most 107 bytes, so it is not under pytest's temporary folder.
    with tempfile.TemporaryDirectory(prefix="relay-pg-") as home:
        # The server refuses to run as root.
        account = "postgres" if os.geteuid() == 0 else None
        if account:
            entry = pwd.getpwnam(account)
            os.chown(home, entry.pw_uid, entry.pw_gid)
        data = Path(home, "data")
        initdb = [folder / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"]
        subprocess.run(
            [*map(str, initdb), "--locale=C"],
            user=account,
            cwd=home,
            check=True,
            capture_output=True,
        )
        # What is lost when the power fails during a test is of no interest.
        options = ["listen_addresses=", "fsync=off", "synchronous_commit=off", "full_page_writes=off"]
        flags = [word for option in options for word in ("-c", option)]
        with Path(home, "log").open("wb") as log:
            process = subprocess.Popen(
                [folder / "postgres", "-D", data, "-k", home, *flags],
                user=account,
                cwd=home,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - one call into the C library, no lock
            )
        try:
            server = PostgresqlServer(Path(home))
            _wait(process, server, Path(home, "log"))
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # fast shutdown
            process.wait(timeout=30)


def _end_with_parent() -> None:
    """A test run that is killed leaves no server behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _wait(process: subprocess.Popen[bytes], server: PostgresqlServer, log: Path) -> None:
    deadline = time.monotonic() + 30
    while not server.is_up():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}")
        time.sleep(0.02)
