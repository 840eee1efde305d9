"""Commits beside the receiving: what is left of a C-STORE when its data set is there, and waits for a disk.

Only associations with a window of asynchronous operations use it (docs/design/upper-layer.md). The threads here carry
commits out and do nothing else: no socket is touched, so a peer that takes no answer holds up nobody but itself.
"""

from __future__ import annotations

import os
import queue
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from dicomrelay.dicom.status import Status
from dicomrelay.net.edge import ask
from dicomrelay.net.incoming_store import IncomingStore
from dicomrelay.net.service import Commit, StoreReply

# What we take when the requestor sets no limit: flushes side by side share the journal, and more of them gain nothing.
MAX_UNFINISHED: Final = 64
_MAX_THREADS: Final = 16


class CommitPool:
    """Threads for the commits of all associations of a process, made when they are needed.

    Parameters
    ----------
    max_threads : int
        Commits at once, 1 or more; others wait their turn.
    """

    def __init__(self, max_threads: int = _MAX_THREADS) -> None:
        self._max_threads = max_threads
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._calls_made = 0  # and not over yet
        self._is_closed = False

    def submit(self, call: Callable[[], None]) -> None:
        """Have `call` made in another thread; it must not raise.

        Raises
        ------
        RuntimeError
            There is no thread, and none can be made; or the pool is closed.
        """
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the pool is closed")
            if self._threads <= self._calls_made and self._threads < self._max_threads:
                try:
                    threading.Thread(target=self._run, name="commit", daemon=True).start()
                    self._threads += 1
                except RuntimeError:
                    if not self._threads:
                        raise
            self._calls_made += 1
            self._calls.put(call)  # before the end that `close` puts behind it

    def close(self) -> None:
        """Let the threads end once all is done; who comes later is told that nobody takes it."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                for _ in range(self._threads):
                    self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            with self._lock:
                self._calls_made -= 1


class AssociationCommits:
    """The commits of one association that are not answered yet. Of its thread, but for what the pool calls.

    Parameters
    ----------
    size : int
        How many there may be: the window.

    Attributes
    ----------
    wake : int
        A descriptor that can be read when a commit is over.
    """

    def __init__(self, pool: CommitPool, size: int) -> None:
        self._pool = pool
        self._size = size
        self._unfinished = 0
        self._lock = threading.Lock()
        self._finished: list[tuple[int, IncomingStore, StoreReply]] = []
        self.wake, self._waker = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(self._waker, False)

    def __len__(self) -> int:
        return self._unfinished

    @property
    def is_full(self) -> bool:
        """Whether there may be no more."""
        return self._unfinished >= self._size

    def begin(self, context_id: int, store: IncomingStore, commit: Commit) -> None:
        """Have a commit carried out; on the spot when there is no thread for it."""
        self._unfinished += 1

        def carry_out() -> None:
            reply, error = ask(commit)
            answer = reply or error or StoreReply(Status.PROCESSING_FAILURE)
            with self._lock:  # who takes it may close the pipe at once
                self._finished.append((context_id, store, answer))
                with suppress(BlockingIOError):  # full of wake-ups: one more is not needed
                    os.write(self._waker, b"\0")

        try:
            self._pool.submit(carry_out)
        except RuntimeError:
            carry_out()

    @property
    def has_finished(self) -> bool:
        """Whether `finished` has something to give."""
        return bool(self._finished)

    def finished(self) -> list[tuple[int, IncomingStore, StoreReply]]:
        """Those that are over, once: presentation context, request, and what to answer."""
        with suppress(BlockingIOError):  # woken for what was taken before
            os.read(self.wake, 4096)
        with self._lock:
            found, self._finished = self._finished, []
        self._unfinished -= len(found)
        return found

    def wait(self) -> None:
        """Return when one is over. A disk has no deadline: what is being committed is waited for."""
        poll = select.poll()
        poll.register(self.wake, select.POLLIN)
        poll.poll()

    def rest(self) -> list[tuple[int, IncomingStore, StoreReply]]:
        """All that is left, each when it is over."""
        found = self.finished()
        while self._unfinished:
            self.wait()
            found += self.finished()
        return found

    def close(self) -> None:
        """Give the descriptors back; none may be unfinished."""
        os.close(self.wake)
        os.close(self._waker)
