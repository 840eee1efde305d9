"""How often an address may fail to show who it is, and how many attempts it may have under way."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from typing import Final

_WINDOW_S: Final = 60.0
_ADDRESSES: Final = 4096
_PATIENCE_S: Final = 10.0


class FailureLimit:
    """Counts attempts and failures by address within a minute; for all threads of a listener.

    An attempt counts before it is checked. So those that come at once on many associations are no more guesses than
    those that come one after another.

    Parameters
    ----------
    limit : int
        Failures that an address has in a minute, 1 or more.
    clock : callable
        Seconds, monotonic.
    patience_s : float
        How long an attempt that could be one too many waits for those before it.
    """

    def __init__(self, limit: int, clock: Callable[[], float], *, patience_s: float = _PATIENCE_S) -> None:
        self._limit = limit
        self._clock = clock
        self._patience_s = patience_s
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._under_way: Counter[str] = Counter()
        self._changed = threading.Condition()

    def begin(self, address: str) -> bool:
        """Whether that address may try now; `end` has to follow when it may.

        While so many attempts are under way that all of them could fail, this waits for one of them.
        """

        def is_decided() -> bool:
            failed = self._failed(address)
            return failed >= self._limit or failed + self._under_way[address] < self._limit

        with self._changed:
            may_try = self._changed.wait_for(is_decided, self._patience_s) and (
                self._failed(address) < self._limit
            )
            if may_try:
                self._under_way[address] += 1
            return may_try

    def end(self, address: str, *, failed: bool) -> None:
        """How it went. Of too many addresses the one that failed longest ago is forgotten."""
        with self._changed:
            self._under_way[address] -= 1
            if not self._under_way[address]:
                del self._under_way[address]
            if failed:
                self._failures.setdefault(address, deque(maxlen=self._limit)).append(self._clock())
                self._failures.move_to_end(address)
                if len(self._failures) > _ADDRESSES:
                    self._failures.popitem(last=False)
            self._changed.notify_all()

    def _failed(self, address: str) -> int:
        """How often in the last minute."""
        moments = self._failures.get(address)
        if moments is None:
            return 0
        while moments and moments[0] <= self._clock() - _WINDOW_S:
            moments.popleft()
        if not moments:
            del self._failures[address]
        return len(moments)
