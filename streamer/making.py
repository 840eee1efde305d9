"""Work that takes its time, few at once behind a short queue: no event loop and no thread of other routes waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotDone
from typing import Final, TypeVar

from streamer.answers import HttpError

WAITING: Final = 32
PATIENCE_S: Final = 30.0
_RETRY_AFTER_S: Final = 10
_T = TypeVar("_T")


class Making:
    """A few threads and a queue with an end.

    Parameters
    ----------
    at_once : int
        Threads that work.
    waiting : int
        How many may wait for one.
    patience_s : float
        How long a request waits, its own work included; that goes on, and what it makes is kept for the next one.
    """

    def __init__(self, at_once: int, *, waiting: int = WAITING, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._most = at_once + waiting
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="renditions")
        self._lock = threading.Lock()
        self._taken = 0

    async def made(self, work: Callable[[], _T]) -> _T:
        """Its result, for a coroutine. Raises HttpError 503, and what the work raises."""
        future = self._begin(work)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._patience_s)
        except TimeoutError:
            raise self._not_done(future) from None

    def waited(self, work: Callable[[], _T]) -> _T:
        """Its result, for a thread. Raises as `made`."""
        future = self._begin(work)
        try:
            return future.result(self._patience_s)
        except NotDone:
            raise self._not_done(future) from None

    def close(self) -> None:
        """Let what is under way come to its end, and nothing else begin."""
        self._threads.shutdown(cancel_futures=True)

    def _begin(self, work: Callable[[], _T]) -> Future[_T]:
        with self._lock:
            if self._taken >= self._most:
                raise _busy()
            self._taken += 1
        try:
            future = self._threads.submit(work)
        except RuntimeError:  # it is closed
            self._end()
            raise _busy() from None
        future.add_done_callback(lambda _: self._end())
        return future

    def _not_done(self, future: Future[_T]) -> HttpError:
        if future.cancel():
            return _busy()  # no thread was free for it
        return _later(f"the picture is not done after {self._patience_s:.0f} s, and is being made still")

    def _end(self) -> None:
        with self._lock:
            self._taken -= 1


def _busy() -> HttpError:
    return _later("too many pictures are being made")


def _later(words: str) -> HttpError:
    retry = (b"retry-after", str(_RETRY_AFTER_S).encode())
    return HttpError(503, f"{words}: ask again later", headers=(retry,))
