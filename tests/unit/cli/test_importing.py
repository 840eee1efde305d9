"""Importing without the collector."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from dicomrelay.cli.importing import unwatched


def test_the_collector_is_aside_in_the_block_and_back_behind_it() -> None:
    """Also when a module cannot be imported."""
    assert gc.isenabled()
    with unwatched():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), unwatched():
        raise ImportError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    """Commands are imported within commands."""
    with unwatched():
        with unwatched():
            assert not gc.isenabled()
        assert not gc.isenabled()


def test_commands_that_decode_nothing_load_neither_pydicom_nor_numpy() -> None:
    """They take longer to be imported than such a command runs."""
    modules = ("status", "send", "trace", "destinations", "operating.list_jobs", "operating.show")
    code = (
        f"import sys, {', '.join(f'dicomrelay.cli.{name}' for name in modules)};"
        "print([name for name in ('pydicom', 'numpy', 'alembic') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
