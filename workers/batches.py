"""How a task takes its batches: for how long, and how soon one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

# A task stays well under the broker's visibility timeout; what is left is for the next task.
TASK_S: Final = 5.0


def paced(
    batch: Callable[[], int],
    *,
    few: int,
    pause_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Take a batch; after one of fewer than `few`, but some, return no sooner than `pause_s` seconds after it began."""
    began = clock()
    count = batch()
    if 0 < count < few:
        sleep(max(0.0, began + pause_s - clock()))
    return count


def until_empty(batch: Callable[[], int], gives_way: Callable[[], bool]) -> tuple[int, bool]:
    """Take batches until there is none, the time of a task is over, or there is something to give way to.

    Returns
    -------
    tuple of int and bool
        What the batches came to, and whether there may be more.
    """
    until = time.monotonic() + TASK_S
    total = 0
    while count := batch():
        total += count
        if time.monotonic() > until or gives_way():
            return total, True
    return total, False
