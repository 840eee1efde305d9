"""Which revision of the schema a database is at, asked without Alembic: a tenth of a second for each command and service."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, String, column, inspect, select, table


def newest_of(versions: Path) -> str:
    """The newest revision of a folder of migrations: files are named `NNNN_words.py`, after their revision."""
    return max(path.name.partition("_")[0] for path in versions.glob("[0-9]*_*.py"))


def is_at(connection: Connection, revision: str, version_table: str) -> bool:
    """Whether the database is at that revision, and no other."""
    if not inspect(connection).has_table(version_table):
        return False
    versions = table(version_table, column("version_num", String))
    return connection.execute(select(versions.c.version_num)).scalars().all() == [revision]
