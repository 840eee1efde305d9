"""How quickly destinations answer, by what this process has seen of late: whether one became much slower. No I/O."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

_MUCH: Final = 4.0
_SLOW_S: Final = 0.25
_LATELY_S: Final = 600.0
_ENOUGH: Final = 5  # answers of a transfer from which something can be said


class Speeds:
    """The quickest answers of the last ten minutes, for each destination and size of instance."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._best: dict[tuple[str, int], tuple[float, float]] = {}  # seconds an instance, since when

    def is_much_slower(self, destination: str, *, answers: int, sent_bytes: int, seconds: float) -> bool:
        """Take note of a transfer; whether its answers took four times as long as the quickest, and over a quarter of a second.

        Parameters
        ----------
        answers, sent_bytes : int
            Instances that were answered, and the length of their data sets together.
        seconds : float
            From the first byte of each to its answer, added up.
        """
        if answers < _ENOUGH:
            return False
        mine = seconds / answers
        # Large instances take longer: only those of the same size to a power of two are compared.
        key = destination, (sent_bytes // answers).bit_length()
        now = self._clock()
        with self._lock:
            best, since = self._best.get(key, (mine, now))
            if mine <= best or now - since > _LATELY_S:
                self._best[key] = mine, now
                return False
        return mine > _MUCH * best and mine > _SLOW_S
