"""Ends a worker that lives and takes no work: the supervisor starts it again (docs/design/flow.md)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dicomrelay.errors import RelayError
from dicomrelay.log import get_logger
from dicomrelay.runtime.queue import Queue, WakeUps

_log = get_logger("dicomrelay.worker")
PATIENCE_S: Final = 60.0
_EVERY_S: Final = 5.0
_EXIT_CODE: Final = 75  # EX_TEMPFAIL of sysexits.h: try again


@dataclass(frozen=True, slots=True)
class Activity:
    """Tasks that a worker began in its life, and those it has in hand."""

    begun: int
    in_hand: int


class Watchdog:
    """Says when a worker has been idle beside messages for too long. No I/O.

    Parameters
    ----------
    queues : sequence of Queue
        Those that the worker takes from.
    patience_s : float
        In seconds.
    """

    def __init__(self, queues: Sequence[Queue], *, patience_s: float = PATIENCE_S) -> None:
        self._queues = queues
        self._patience_s = patience_s
        self._begun = -1
        self._since: float | None = None

    def is_stuck(self, activity: Activity, depths: Mapping[Queue, int], now: float) -> bool:
        """Whether it is, at this look; look every few seconds.

        Parameters
        ----------
        now : float
            Monotonic, in seconds.
        """
        waits = any(depths.get(queue, 0) for queue in self._queues)
        moved = activity.begun != self._begun
        self._begun = activity.begun
        if not waits or moved or activity.in_hand:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return now - self._since >= self._patience_s


def watch(
    activity: Callable[[], Activity],
    wake_ups: WakeUps,
    queues: Sequence[Queue],
    *,
    every_s: float = _EVERY_S,
    patience_s: float = PATIENCE_S,
    end: Callable[[int], object] = os._exit,
) -> threading.Thread:
    """Look from a thread of its own, and end the process when it is stuck; what is unfinished is safe in the ledger."""
    dog = Watchdog(queues, patience_s=patience_s)

    def look() -> None:
        while True:
            time.sleep(every_s)
            try:
                depths = wake_ups.depths(queues)
            except RelayError:  # away, and no fault of this worker's
                depths = {}
            if dog.is_stuck(activity(), depths, time.monotonic()):
                _log.error("takes no work although messages wait, ends itself", seconds=patience_s)
                end(_EXIT_CODE)
                return

    thread = threading.Thread(target=look, name="watchdog", daemon=True)
    thread.start()
    return thread
