"""How many bytes of a database an instance is, in the ledger and in the archive's index: what a plan for 10⁹ of them needs.

Usage: python -m benchmarks.database_bytes [--write]

Both are SQLite here, filled through their own code, checkpointed and looked at with all their indexes. Ten seconds.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
from pathlib import Path

from benchmarks.archive_index import fill
from benchmarks.backlog_home import BacklogHome
from benchmarks.machine import describe

WRITTEN = Path(__file__).parents[1] / "docs" / "reference" / "database-bytes.json"
_LEDGER, _INDEX = 5_000, 20_000


def measured(folder: Path) -> dict[str, float]:
    """Bytes an instance; in the ledger with one delivery, by how many of each there are."""
    home = BacklogHome(folder / "home")
    home.fill(1_000)
    ledger = folder / "home" / "db" / "ledger.sqlite"
    before = _bytes(ledger)
    home.fill(1_000 + _LEDGER)
    home.dispose()
    index = folder / "index.sqlite"
    fill(f"sqlite:///{index}", _INDEX)
    return {
        "ledger_bytes_each": round((_bytes(ledger) - before) / _LEDGER),
        "index_bytes_each": round(_bytes(index) / _INDEX),
    }


def _bytes(file: Path) -> int:
    connection = sqlite3.connect(file)
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    return file.stat().st_size


def main() -> None:
    """Measure, and print or write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.database_bytes", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"to {WRITTEN.name} of the reference")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dicomrelay-bytes-") as name:
        found = {**measured(Path(name)), "ledger_instances": _LEDGER, "index_instances": _INDEX}
        machine = {
            key: value
            for key, value in describe(Path(name), None).items()
            if key in {"date", "commit", "system"}
        }
    if options.write:
        WRITTEN.write_text(json.dumps({"machine": machine, **found}, indent=1) + "\n", "utf-8")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
