"""A ledger whose file is taken away under those who have it open."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dicomrelay.errors import ServiceUnavailable
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.migrate import migrate


def _ledger(folder: Path) -> tuple[Ledger, Path]:
    path = folder / "ledger.sqlite"
    migrate(f"sqlite:///{path}")
    ledger = Ledger.open(f"sqlite:///{path}")
    ledger.create_job("before", kind="send", expected=1)
    return ledger, path


def _jobs(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM jobs")]


def test_nothing_is_written_to_a_file_that_has_no_name_any_more(tmp_path: Path) -> None:
    """It would be gone with the process; and no new file without tables takes its place."""
    ledger, path = _ledger(tmp_path)
    path.unlink()
    for _ in range(2):
        with pytest.raises(ServiceUnavailable, match="was removed while it was open"):
            ledger.create_job("lost", kind="send", expected=1)
        with pytest.raises(ServiceUnavailable, match="was removed while it was open"):
            ledger.studies()
    assert ledger.was_replaced
    assert not path.exists()
    ledger.dispose()


def test_the_new_file_is_taken_when_somebody_has_made_it(tmp_path: Path) -> None:
    """After one word that it is another; what the old one left beside it hurts the new one in nothing."""
    ledger, path = _ledger(tmp_path)
    other = Ledger.open(f"sqlite:///{path}")
    other.create_job("also before", kind="send", expected=1)
    path.unlink()
    migrate(f"sqlite:///{path}")  # beside two who have the old one open
    for each in (ledger, other):
        with pytest.raises(ServiceUnavailable, match="was replaced while it was open"):
            each.studies()
        assert each.was_replaced
    ledger.create_job("after", kind="send", expected=1)
    other.create_job("also after", kind="send", expected=1)
    ledger.dispose()
    other.dispose()
    assert sorted(_jobs(path)) == ["after", "also after"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert list(tmp_path.glob("removed-*/ledger.sqlite-wal"))


def test_what_is_committed_as_the_file_goes_is_told_as_not_written(tmp_path: Path) -> None:
    """The one who settles a spool item next must not."""
    ledger, path = _ledger(tmp_path)
    with pytest.raises(ServiceUnavailable, match="was removed"), ledger._database.write():
        path.unlink()
    ledger.dispose()


def test_a_ledger_that_nobody_touches_is_not_replaced(tmp_path: Path) -> None:
    """Also when it grows, and is migrated again."""
    ledger, path = _ledger(tmp_path)
    migrate(f"sqlite:///{path}")
    ledger.create_job("after", kind="send", expected=1)
    assert not ledger.was_replaced
    ledger.dispose()
    assert sorted(_jobs(path)) == ["after", "before"]
