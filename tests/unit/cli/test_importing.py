"""Importing without the collector."""

from __future__ import annotations

import gc

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
