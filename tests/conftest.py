"""What no test leaves behind for the next one of its process: open files, and how logs are written."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings

from archive.index import database as index_database
from dicomrelay.ledger import migrate as ledger_migrate
from dicomrelay.spool import Spool
from tests.support.schemas import made_once

# pynetdicom, a peer in many tests, waits with select(), which ends at 1023.
_MOST_NEW_DESCRIPTORS = 64

# Where this is set, each of the thousand processes that the tests start would compile the whole house anew: a second of CPU.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A busy machine is no fault of what is tested.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


_UPGRADES = [(module, made_once(module._upgrade)) for module in (index_database, ledger_migrate)]


@pytest.fixture(autouse=True)
def _schemas_are_made_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """But where the migrations are what is tested."""
    if "migrations" not in request.path.name:
        for module, upgrade in _UPGRADES:
            monkeypatch.setattr(module, "_upgrade", upgrade)


@pytest.fixture(autouse=True)
def _spools_are_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A spool keeps files ready for the next items; tests make hundreds of spools, and close few."""
    made: list[Spool] = []
    really = Spool.__init__

    def noting(self: Spool, *arguments: Any, **options: Any) -> None:
        really(self, *arguments, **options)
        made.append(self)

    monkeypatch.setattr(Spool, "__init__", noting)
    yield
    for spool in made:
        spool.close()


@pytest.fixture(autouse=True)
def _logs_are_as_before() -> Iterator[None]:
    """Commands that run in the process of the tests set up the logs of the whole process."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="module", autouse=True)
def _descriptors_are_given_back() -> Iterator[None]:
    """What one file of tests leaves open, another fails of."""
    before = _open_files()
    yield
    left = _open_files() - before
    assert left <= _MOST_NEW_DESCRIPTORS, f"these tests left {left} files open"


def _open_files() -> int:
    descriptors = Path("/proc/self/fd")
    return len(list(descriptors.iterdir())) if descriptors.is_dir() else 0
