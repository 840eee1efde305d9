"""What was scheduled long ago goes with the rest of what is over."""

from __future__ import annotations

from pathlib import Path

from dicomrelay.settings import Settings
from tests.support.worklist import item, worklist_of
from workers.prune_schedule import prune_worklist


def test_items_that_were_to_start_long_ago_go(tmp_path: Path) -> None:
    """By worklist.keep_days; and no more is taken once it is to end."""
    settings = Settings(home=tmp_path)
    old = [item(number, step_ScheduledProcedureStepStartDate="20010101") for number in range(3)]
    ahead = item(9, step_ScheduledProcedureStepStartDate="99991231")
    with worklist_of(settings, [*old, ahead]) as worklist:
        assert prune_worklist(settings, pause=lambda: True) == 3
        assert prune_worklist(settings, pause=lambda: False) == 0
        (left,) = worklist.find()
    assert left[0].data_set["00100020"]["Value"] == ["P9"]
