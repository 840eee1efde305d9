"""`max_bytes_per_s` of a destination, for what moves send there: booked in the ledger together with what is forwarded."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

# What is booked at once: a tenth of a second's worth. What was booked and not used for so long is lost.
_AT_ONCE_S: Final = 0.1
_KEEPS_S: Final = 1.0
_SLICE_S: Final = 0.25


class BookedPace:
    """Call it with the bytes about to be sent; it waits for its turn on the line, or until there is to be no more.

    Parameters
    ----------
    bytes_per_s : int
    share : int
        Among how many the line is divided while nobody books.
    book : callable
        Books a number of bytes; the wait in milliseconds, or None.
    keep_going : callable
        Asked several times a second of a wait.
    """

    def __init__(
        self,
        bytes_per_s: int,
        *,
        share: int,
        book: Callable[[int], int | None],
        keep_going: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bytes_per_s = bytes_per_s
        self._alone = max(1, bytes_per_s // max(1, share))
        self._book = book
        self._keep_going = keep_going
        self._clock = clock
        self._wait = wait
        self._booked = 0
        self._keeps_until = self._free_at = clock()

    def __call__(self, count: int) -> None:
        if not count:
            return
        if self._clock() > self._keeps_until:
            self._booked = 0
        if self._booked < count:
            wanted = max(count - self._booked, round(self._bytes_per_s * _AT_ONCE_S))
            wait_ms = self._book(wanted)
            if wait_ms is None:
                self._free_at = max(self._free_at, self._clock()) + count / self._alone
                self._sleep_until(self._free_at)
                return
            self._booked += wanted
            self._sleep_until(self._clock() + wait_ms / 1000)
            self._keeps_until = self._clock() + _KEEPS_S
        self._booked -= count

    def _sleep_until(self, end: float) -> None:
        while (left := end - self._clock()) > 0 and self._keep_going():
            self._wait(min(left, _SLICE_S))
