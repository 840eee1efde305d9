"""Dumps of a PostgreSQL database by its own tools: consistent with what was counted, passwords by the environment only."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import psycopg
from psycopg import sql

from dicomrelay.backup.values import Database
from dicomrelay.errors import BackupDamaged, ConfigurationError, ServiceError, ServiceUnavailable

_CONNECT_TIMEOUT_S: Final = 10
_TABLES: Final = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename"
_OTHERS: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND backend_type = 'client backend'"
)


def dump(url: str, target: Path, version_table: str) -> Database:
    """Dump a database into a file of pg_dump's custom format; what is returned was counted in the very same snapshot.

    Raises
    ------
    ConfigurationError
        pg_dump is not installed.
    ServiceUnavailable
        The database or pg_dump does not work; the message has the tool's own words.
    """
    program = _program("pg_dump")
    with _connected(url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("SET statement_timeout = 0")
        connection.commit()
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None  # noqa: S101 - a function has a row
        found = _counted(connection, version_table)
        target.touch(mode=0o600, exist_ok=False)
        words = [
            f"--snapshot={row[0]}",
            "--format=custom",
            "--no-owner",
            "--no-privileges",
            f"--file={target}",
        ]
        _run(program, url, words)
    fd = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    return found


def look(path: Path) -> None:
    """Read a dump through to its end.

    Raises
    ------
    BackupDamaged
        pg_restore cannot read it.
    """
    program = _program("pg_restore")
    done = subprocess.run(
        [program, f"--file={os.devnull}", str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        if "unsupported version" in done.stderr:
            raise ConfigurationError(
                f"{path}: was made by a newer pg_dump than the pg_restore that is installed here ({_words(done.stderr)}): "
                "install PostgreSQL's client programs of that version or a newer one"
            )
        raise BackupDamaged(f"{path}: {_words(done.stderr)}")


def refuse_when_used(url: str) -> None:
    """Make sure that the database has no table and nobody else is in it.

    Raises
    ------
    ConfigurationError
        It has tables.
    ServiceError
        Somebody is connected.
    ServiceUnavailable
        It does not answer.
    """
    with _connected(url) as connection:
        names = _tables(connection)
        if names:
            raise ConfigurationError(
                f"database.url: {shown(url)} has tables ({', '.join(names[:3])}, …): make an empty database (`createdb NAME`) "
                "and name it in database.url; the old one stays as it is"
            )
        row = connection.execute(_OTHERS).fetchone()
        if row is not None and row[0]:
            raise ServiceError(
                f"database.url: {row[0]} other connections are in {shown(url)}: stop everything of the relay, on all hosts, then "
                "say this again"
            )


def put_back(url: str, path: Path, expected: Database, version_table: str) -> None:
    """Restore a dump, in one transaction, and count what is there then.

    Raises
    ------
    ServiceUnavailable
        pg_restore refused; nothing was changed.
    BackupDamaged
        What is there now is not what the manifest says.
    """
    _run(
        _program("pg_restore"),
        url,
        ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", str(path)],
    )
    with _connected(url) as connection:
        found = _counted(connection, version_table)
    if found != expected:
        wrong = sorted(
            name for name in {*found.rows, *expected.rows} if found.rows.get(name) != expected.rows.get(name)
        )
        raise BackupDamaged(
            f"{path}: restored, {shown(url)} is not what the manifest says ({', '.join(wrong) or 'its revision'}): do not use it"
        )


def shown(url: str) -> str:
    """A URL without its passwords."""
    return re.sub(r"(?<=[?&])sslpassword=[^&]*&?", "", _apart(url)[0]).rstrip("?&")


def _apart(url: str) -> tuple[str, dict[str, str]]:
    """The URL without its password, and the password as libpq takes it of the environment (PostgreSQL, 34.15)."""
    parts = urlsplit(url)
    variables: dict[str, str] = {}
    if parts.password is not None:
        variables["PGPASSWORD"] = unquote(parts.password)
        user, _, host = parts.netloc.rpartition("@")
        parts = parts._replace(netloc=f"{user.partition(':')[0]}@{host}")
    words = parse_qsl(parts.query, keep_blank_values=True)
    for name, value in words:
        if name == "password":
            variables["PGPASSWORD"] = value
    kept = [(name, value) for name, value in words if name != "password"]
    if len(kept) < len(words):
        parts = parts._replace(query=urlencode(kept))
    # By hand: geturl() drops the slashes of a URL without a host.
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{parts.path}{query}", variables


@contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    try:
        with psycopg.connect(url, connect_timeout=_CONNECT_TIMEOUT_S) as connection:
            yield connection
    except psycopg.Error as error:
        # Its own words may quote the connection's, but for the password (libpq never tells that).
        raise ServiceUnavailable(f"The database {shown(url)} does not work: {_words(str(error))}") from None


def _tables(connection: psycopg.Connection[tuple[object, ...]]) -> list[str]:
    return [str(row[0]) for row in connection.execute(_TABLES)]


def _counted(connection: psycopg.Connection[tuple[object, ...]], version_table: str) -> Database:
    rows: dict[str, int] = {}
    for name in _tables(connection):
        found = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))).fetchone()
        rows[name] = int(str(found[0])) if found else 0
    revision = None
    if version_table in rows:
        found = connection.execute(
            sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(version_table))
        ).fetchone()
        revision = str(found[0]) if found else None
    return Database(revision=revision, rows=rows)


def _program(name: str) -> str:
    found = which(name)
    if found is None:
        raise ConfigurationError(
            f"{name} is not installed, and the ledger is in PostgreSQL: install PostgreSQL's client programs"
        )
    return found


def _run(program: str, url: str, words: Sequence[str]) -> None:
    plain, variables = _apart(url)
    if "sslpassword" in dict(parse_qsl(urlsplit(plain).query)):
        raise ConfigurationError(
            "database.url: sslpassword can only be given to PostgreSQL's programs on their command line, where everybody on this "
            "machine reads it: use a key without one, readable for this user only"
        )
    done = subprocess.run(
        [program, f"--dbname={plain}", "--no-password", *words],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ServiceUnavailable(f"{Path(program).name} of {shown(url)}: {_words(done.stderr)}")


def _words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(lines[:3]) or "it did not say why"
