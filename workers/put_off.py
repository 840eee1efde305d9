"""What could not be done now, and when it is tried again: a look that comes five times a second is not made for it each time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

AGAIN_S: Final = 10.0
_MOST: Final = 100_000


class PutOff:
    """Names of things that were put off. Threads may share it. A name is known until it is done; when there are 100,000 of
    them, all are forgotten.

    Parameters
    ----------
    again_s : float
        For how many seconds each time.
    clock : callable
        Seconds that only grow.
    """

    def __init__(self, again_s: float = AGAIN_S, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.again_s = again_s
        self._clock = clock
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}

    def put_off(self, name: str) -> bool:
        """Not to be tried for a while; whether it had not been put off before, and is to be told of."""
        with self._lock:
            is_new = name not in self._until
            if is_new and len(self._until) >= _MOST:
                self._until.clear()  # told of and tried once more
            self._until[name] = self._clock() + self.again_s
            return is_new

    def is_put_off(self, name: str) -> bool:
        """Whether its time has not come."""
        with self._lock:
            return self._until.get(name, 0.0) > self._clock()

    def done(self, name: str) -> None:
        """It was done: when it cannot be the next time, that is new."""
        with self._lock:
            self._until.pop(name, None)

    def waiting(self) -> set[str]:
        """All whose time has not come."""
        with self._lock:
            now = self._clock()
            return {name for name, until in self._until.items() if until > now}
