"""A limit on bytes per second for one association."""

from __future__ import annotations

import time
from collections.abc import Callable

# A long wait is progress too, and says so: a lease must not end because the limit is low.
_SLICE_S = 1.0


class Pace:
    """Call it with the bytes just sent; it waits as long as the limit asks.

    Parameters
    ----------
    max_bytes_per_s : int, optional
        None for no limit.
    moved : callable
        Told at every call that something moved.
    """

    def __init__(
        self,
        max_bytes_per_s: int | None,
        *,
        moved: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._limit = max_bytes_per_s
        self._moved = moved
        self._clock = clock
        self._wait = wait
        self._free_at = clock()

    def __call__(self, sent_bytes: int) -> None:
        self._moved()
        if self._limit is None:
            return
        now = self._clock()
        # A pause earns no credit: the peer's line is asked for no more than the limit at any time.
        self._free_at = max(self._free_at, now) + sent_bytes / self._limit
        while (left := self._free_at - self._clock()) > 0:
            self._wait(min(left, _SLICE_S))
            self._moved()
