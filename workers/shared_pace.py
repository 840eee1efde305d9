"""A limit on bytes per second that all workers keep together: bytes are booked in the ledger before they are sent."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from dicomrelay.errors import ServiceError
from workers.pace import Pace

_SLICE_S: Final = 1.0
# What is booked at once: a tenth of a second's worth for all associations together, a fiftieth at least.
_AT_ONCE_S: Final = 0.1
_LEAST_S: Final = 0.02
# What was booked and not used for so long is lost: a pause earns no credit.
_KEEPS_S: Final = 1.0


class SharedPace:
    """Call it with the bytes about to be sent; it books them and waits for its turn.

    Parameters
    ----------
    max_bytes_per_s : int, optional
        None for no limit.
    associations : int
        How many share it at most: how little is booked at once, and the share to keep to while the ledger is away.
    book : callable
        Books a number of bytes and says how long to wait, in milliseconds (`Flow.book`).
    moved : callable
        Told at every call, and every second of a wait, that something moved: a lease must not end because the limit is low.
    """

    def __init__(
        self,
        max_bytes_per_s: int | None,
        *,
        associations: int,
        book: Callable[[int], int],
        moved: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._limit = max_bytes_per_s
        self._book = book
        self._moved = moved
        self._clock = clock
        self._wait = wait
        self._booked = 0
        self._until = clock()
        self._alone = Pace(
            None if max_bytes_per_s is None else max(1, max_bytes_per_s // associations),
            moved=moved,
            clock=clock,
            wait=wait,
        )
        self._at_once = round((max_bytes_per_s or 0) * max(_LEAST_S, _AT_ONCE_S / associations))

    def __call__(self, count: int) -> None:
        self._moved()
        if self._limit is None or not count:
            return
        if self._clock() > self._until:
            self._booked = 0
        if self._booked < count:
            wanted = max(count - self._booked, self._at_once)
            try:
                wait_s = self._book(wanted) / 1000
            except ServiceError:  # the ledger is away
                self._alone(count)
                return
            self._booked += wanted
            self._sleep(wait_s)
            self._until = self._clock() + _KEEPS_S
        self._booked -= count

    def _sleep(self, seconds: float) -> None:
        end = self._clock() + seconds
        while (left := end - self._clock()) > 0:
            self._wait(min(left, _SLICE_S))
            self._moved()
