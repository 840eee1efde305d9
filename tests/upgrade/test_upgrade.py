"""From the last release to this version and back, with work in flight: nothing is lost (R35).

`make chaos ONLY=R35` does ten of them, and writes what they came to into the reference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chaos import releases
from chaos.scorecard import FAULTS, Run, do, said

pytestmark = [pytest.mark.long, pytest.mark.slow, pytest.mark.timeout(1800)]


def test_up_and_back_again_with_work_in_flight(tmp_path: Path) -> None:
    """Once in order, once by SIGKILL: in the end the destination has every instance, and check finds no fault."""
    if (why := releases.missing()) and not os.environ.get("CI"):
        pytest.skip(why)
    fault = next(each for each in FAULTS if each.name == "R35")

    row = do(fault, Run(2, 20261122, tmp_path))

    print(said(row))
    assert not row.note.startswith("not done"), row.note
    assert row.account is not None
    assert row.account.is_clean
    assert all(figure.is_met for figure in row.figures)
