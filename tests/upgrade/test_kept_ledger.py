"""A ledger of the last release, taken while it was at work: this version brings it up, and gives it back as it was.

`kept/` holds ledger and index of revision 0003, of a backup in a trial of R35: 125 instances, none of them delivered yet, a job
of `dicomrelay send` among them. The whole of it, with both versions at work, is R35 of the scorecard.
"""

from __future__ import annotations

import lzma
import sqlite3
from contextlib import closing
from pathlib import Path

from archive.index.database import file_url, open_database
from dicomrelay.backup import Part, make, opened, restore_databases
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.migrate import migrate, newest_revision
from dicomrelay.runtime import home
from dicomrelay.settings import load

_KEPT = Path(__file__).with_name("kept")
_TABLES = ("instances", "deliveries", "transfers", "stages", "events", "evidence", "jobs", "job_items")


def asked(database: Path, words: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(words).fetchall()


def schema(database: Path) -> list[tuple[object, ...]]:
    return asked(database, "SELECT type, name, sql FROM sqlite_master ORDER BY type, name")


def rows(database: Path) -> dict[str, list[tuple[object, ...]]]:
    return {name: asked(database, f"SELECT * FROM {name} ORDER BY 1, 2") for name in _TABLES}


def test_a_ledger_of_the_last_release_goes_up_and_comes_back(tmp_path: Path) -> None:
    """Backed up before it is touched, brought up with all of its work, and put back byte for byte of its rows and schema."""
    settings = load(home=tmp_path / "home")
    home.prepare(settings)
    database, archive = settings.path("db", "ledger.sqlite"), settings.archive_path
    archive.mkdir(parents=True, exist_ok=True)
    (archive / "archive.json").write_text("{}")
    for name, target in (("ledger", database), ("index", archive / "index.sqlite")):
        target.write_bytes(lzma.decompress((_KEPT / f"{name}.sqlite.xz").read_bytes()))
    before = rows(database), schema(database), schema(archive / "index.sqlite")
    made = make(settings, tmp_path / "backup", config=None, environment={}, with_secrets=False)
    assert made.manifest.ledger.revision == "0003" != newest_revision()

    asked_before = asked(database, "SELECT id, state FROM transfers ORDER BY 1")
    migrate(home.ledger_url(settings))
    ledger = Ledger.open(home.ledger_url(settings))
    try:
        # Its destination is down, so what is due is perhaps the probe alone; it is read all the same.
        assert ledger.due(limit=1000).archive_pending >= 0
        now = asked(database, "SELECT id, state FROM transfers ORDER BY 1")
        assert now == asked_before
        assert sum(state == "ready" for _, state in now) == 14
    finally:
        ledger.dispose()
    open_database(file_url(archive / "index.sqlite")).dispose()
    assert asked(database, "SELECT version_num FROM ledger_version") == [(newest_revision(),)]
    for name in _TABLES:
        assert asked(database, f"SELECT count(*) FROM {name}") == [(len(before[0][name]),)], name

    both = [Part.LEDGER, Part.INDEX]
    back = opened(made.folder)
    restore_databases(settings, made.folder, back, replace=both, keep_revision=True)
    assert back.restored == both
    assert (rows(database), schema(database), schema(archive / "index.sqlite")) == before

    again = opened(made.folder)
    restore_databases(settings, made.folder, again, replace=both)
    assert again.migrated_from == "0003"
    assert asked(database, "SELECT version_num FROM ledger_version") == [(newest_revision(),)]
    assert asked(database, "SELECT count(*) FROM jobs") == [(1,)]
