"""How many bytes of a database an instance is, in the ledger and in the archive's index: what a plan for 10⁹ of them needs.

Usage: python -m benchmarks.database_bytes [--postgresql URL [--write]]

Both are filled through their own code and looked at with all their indexes: SQLite, and with the URL of a PostgreSQL server,
whose user may make databases, PostgreSQL too. Then the same instances are registered in both, turn by turn, and how many in
the one for each in the other is told as well: the ledger's one writer is what a plan is limited by. A minute or two.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import psycopg

from archive.index.database import open_database
from benchmarks.archive_index import fill
from benchmarks.backlog_home import DESTINATION, BacklogHome
from benchmarks.machine import describe

WRITTEN = Path(__file__).parents[1] / "docs" / "reference" / "database-bytes.json"
_BEFORE, _LEDGER, _INDEX = 1_000, 5_000, 20_000
_MORE = 4  # destinations beside the first, to see what one delivery is
_TURNS, _A_TURN = 5, 2_000
_MADE = "dicomrelay_bytes_{}"


def of_sqlite(folder: Path) -> dict[str, int]:
    """Bytes an instance with one delivery, each more delivery, and in the index."""
    found = []
    for count in (1, 1 + _MORE):
        home = BacklogHome(folder / f"home-{count}", destinations=_destinations(count))
        file = folder / f"home-{count}" / "db" / "ledger.sqlite"
        found.append(_grown(home, partial(_file_bytes, file)))
    index = folder / "index.sqlite"
    fill(f"sqlite:///{index}", _INDEX)
    return _bytes_each(found, _file_bytes(index))


def of_postgresql(folder: Path, url: str) -> dict[str, int]:
    """The same. Tables are packed first, as VACUUM FULL leaves them: what it has at least."""
    found = []
    for count in (1, 1 + _MORE):
        with _database(url, f"ledger_{count}") as made:
            home = BacklogHome(
                folder / f"shared-{count}", destinations=_destinations(count), database_url=made
            )
            found.append(_grown(home, partial(_database_bytes, made)))
    with _database(url, "index") as made:
        open_database(made).dispose()
        before = _database_bytes(made)
        fill(made, _INDEX)
        return _bytes_each(found, _database_bytes(made) - before)


def postgresql_beside_sqlite(folder: Path, url: str) -> float:
    """How many instances one process registers and cuts into transfers in PostgreSQL for each in SQLite: the median of turns."""
    with _database(url, "rate") as made:
        homes = (BacklogHome(folder / "rate"), BacklogHome(folder / "rate-shared", database_url=made))
        for home in homes:
            home.fill(_BEFORE)
        ratios = [_seconds(homes[0]) / _seconds(homes[1]) for _ in range(_TURNS)]
        for home in homes:
            home.dispose()
    return round(median(ratios), 2)


def _seconds(home: BacklogHome) -> float:
    began = perf_counter()
    home.fill(home.depth + _A_TURN)
    return perf_counter() - began


def _destinations(count: int) -> tuple[str, ...]:
    return (DESTINATION, *(f"{DESTINATION}-{number}" for number in range(1, count)))


def _grown(home: BacklogHome, size: Callable[[], int]) -> float:
    home.fill(_BEFORE)
    before = size()
    home.fill(_BEFORE + _LEDGER)
    home.dispose()
    return (size() - before) / _LEDGER


def _bytes_each(ledgers: list[float], index: int) -> dict[str, int]:
    one, many = ledgers
    return {
        "ledger_bytes_each": round(one),
        "delivery_bytes_each": round((many - one) / _MORE),
        "index_bytes_each": round(index / _INDEX),
    }


def _file_bytes(file: Path) -> int:
    connection = sqlite3.connect(file)
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    return file.stat().st_size


@contextmanager
def _database(url: str, name: str) -> Iterator[str]:
    """A database of its own on the server, removed at the end."""
    made = _MADE.format(name)
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{made}"'.encode())
        try:
            yield _named(url, made)
        finally:
            server.execute(f'DROP DATABASE "{made}" WITH (FORCE)'.encode())


def _named(url: str, database: str) -> str:
    """The URL with another database."""
    before, mark, options = url.partition("?")
    scheme, _, rest = before.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}/{database}{mark}{options}"


def _database_bytes(url: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM FULL")
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    return int(row[0])


def main() -> None:
    """Measure, and print or write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.database_bytes", description=__doc__)
    parser.add_argument(
        "--postgresql",
        metavar="URL",
        help="a server, as postgresql://user@host/postgres; it is left as it was",
    )
    parser.add_argument("--write", action="store_true", help=f"to {WRITTEN.name} of the reference")
    options = parser.parse_args()
    if options.write and not options.postgresql:
        parser.error("--write wants --postgresql: the page tells of both")
    with tempfile.TemporaryDirectory(prefix="dicomrelay-bytes-") as name:
        folder = Path(name)
        found: dict[str, Any] = {**of_sqlite(folder), "ledger_instances": _LEDGER, "index_instances": _INDEX}
        if options.postgresql:
            found["postgresql"] = of_postgresql(folder, options.postgresql)
            found["postgresql_beside_sqlite"] = postgresql_beside_sqlite(folder, options.postgresql)
        machine = {
            key: value for key, value in describe(folder, None).items() if key in {"date", "commit", "system"}
        }
    if options.write:
        WRITTEN.write_text(json.dumps({"machine": machine, **found}, indent=1) + "\n", "utf-8")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
