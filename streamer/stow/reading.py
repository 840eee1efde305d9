"""The body of a store request as it comes: in batches, counted, and not for ever; and who has how many under way."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from streamer.answers import Receive

BATCH_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Pace:
    """How slowly a body may come.

    Parameters
    ----------
    batch_s : float
        How long the next 256 KiB may take; in seconds.
    least_bytes, within_s : int, float
        So much must come while it is waited for so long, again and again: what is slower would hold a place for hours.
    """

    batch_s: float = 60
    least_bytes: int = 4 * 1024 * 1024
    within_s: float = 300


PACE: Final = Pace()


class Gone(Exception):
    """The client is."""


class Reader:
    """The body of a request, in batches; counted.

    Attributes
    ----------
    bytes : int
        That have come.
    is_whole, is_late : bool
        Nothing more comes; it did not come in time.
    """

    def __init__(self, receive: Receive, most_bytes: int, pace: Pace = PACE) -> None:
        self._receive = receive
        self._most_bytes = most_bytes
        self._pace = pace
        # Since the pace was last looked at. What the disk takes is not the client's.
        self._waited_s = 0.0
        self._came = 0
        self.bytes = 0
        self.is_whole = self.is_late = False

    async def next(self) -> list[bytes]:
        """The next batch, or what came of it when it `is_late`. Raises Gone when the client is."""
        pieces: list[bytes] = []
        size = 0
        began = time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pace.batch_s) as limit:
                while size < BATCH_BYTES and not self.is_whole:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise Gone
                    piece = message.get("body", b"")
                    if piece:
                        pieces.append(bytes(piece))
                        size += len(piece)
                    self.is_whole = not message.get("more_body", False)
        self.bytes += size
        self.is_late = limit.expired() or self._is_slow(size, time.monotonic() - began)
        return pieces

    def _is_slow(self, size: int, waited_s: float) -> bool:
        self._came += size
        self._waited_s += waited_s
        if self.is_whole or self._waited_s < self._pace.within_s:
            return False
        is_slow = self._came < self._pace.least_bytes
        self._came, self._waited_s = 0, 0.0
        return is_slow


class Places:
    """Who stores at once. One user, or one address, leaves a quarter of the places to others, from four places on.

    Parameters
    ----------
    most : int
        Places in all.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._share = most - most // 4
        self._taken: Counter[str] = Counter()

    def full(self, holder: str) -> str:
        """Why there is no place for one more of a user or address; "" while there is one."""
        if self._taken.total() >= self._most:
            return f"{self._most} requests store already"
        if self._taken[holder] >= self._share:
            return f"{self._share} of your requests store already"
        return ""

    @contextmanager
    def one(self, holder: str) -> Iterator[None]:
        """Take a place for a while."""
        self._taken[holder] += 1
        try:
            yield
        finally:
            self._taken[holder] -= 1
            if not self._taken[holder]:
                del self._taken[holder]
