"""The gateway is killed while it receives; what it acknowledged is there afterwards."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from chaos.kill_gateway import run

KILLS = int(os.environ.get("KILLS", "12"))


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_in_a_dozen_kills(tmp_path: Path) -> None:
    """Every instance answered Success is in the spool with its bytes, and half written files are swept."""
    card = run(KILLS, tmp_path, seed=2)
    print(card)
    assert card.acknowledged > 10 * KILLS
    assert card.swept > 0, "no kill met a file being written: the test is blind"
    assert (card.lost, card.corrupt, card.phantom, card.leftovers, card.refused) == (0, 0, 0, 0, 0)
    assert card.kept_the_promise


def test_a_gateway_that_answers_before_it_commits_is_found_out(tmp_path: Path) -> None:
    """The same experiment with Success sent 50 ms too early finds instances missing."""
    card = run(4, tmp_path, seed=3, command=(sys.executable, "-m", "tests.support.hasty_gateway"))
    print(card)
    assert card.lost > 0
    assert not card.kept_the_promise
