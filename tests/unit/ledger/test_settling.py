"""The log of a database whose last user ended without closing it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from archive import Archive
from archive.index.database import file_url
from dicomrelay.errors import ArchiveError
from dicomrelay.ledger.settling import settle
from tests.support.archive import pydicom_file, request_for


def _left_open(root: Path) -> None:
    """Store an instance in a process that ends as those of a worker's pool do."""
    child = os.fork()
    if child == 0:
        try:
            Archive.open(root).store([request_for(pydicom_file("CT_small.dcm"))])
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def test_the_log_is_written_into_the_file_and_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a read-only mount of the archive refuses otherwise."""
    index, log = tmp_path / "index.sqlite", tmp_path / "index.sqlite-wal"
    _left_open(tmp_path)
    assert log.stat().st_size > 0
    before = index.stat().st_size

    settle([index, tmp_path / "none.sqlite"])

    assert not log.exists()
    assert index.stat().st_size > before
    with closing(sqlite3.connect(f"file:{index}?immutable=1", uri=True)) as connection:
        assert connection.execute("SELECT count(*) FROM archive_instances").fetchone() == (1,)
    monkeypatch.setattr(Path, "touch", _read_only)
    assert "immutable" in file_url(index)


def test_a_file_that_somebody_reads_stays_usable(tmp_path: Path) -> None:
    """Its log stays, and nothing is raised."""
    index = tmp_path / "index.sqlite"
    _left_open(tmp_path)
    with closing(sqlite3.connect(index, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM archive_instances").fetchone()
        settle([index])
        assert reader.execute("SELECT count(*) FROM archive_instances").fetchone() == (1,)
    (tmp_path / "broken.sqlite").write_bytes(b"no database" * 100)
    (tmp_path / "broken.sqlite-wal").write_bytes(b"no log")
    settle([tmp_path / "broken.sqlite"])


def test_a_log_that_is_left_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read-only, before it was settled."""
    _left_open(tmp_path)
    monkeypatch.setattr(Path, "touch", _read_only)
    with pytest.raises(ArchiveError, match="was in use when that was made"):
        file_url(tmp_path / "index.sqlite")


def _read_only(path: Path, **_: object) -> None:
    raise OSError(30, "Read-only file system", str(path))
