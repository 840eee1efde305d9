"""An iterator run in a thread of its own, a little ahead of who takes what it gives.

A database that is slow or frozen then holds up that thread, and not the association: it hears C-CANCEL, keeps its time
limit, and goes on.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from typing import Final, Generic, TypeVar

_T = TypeVar("_T")
# So many are held at most.
AHEAD: Final = 100


class Ahead(Generic[_T]):
    """What an iterator gives, taken in handfuls.

    Parameters
    ----------
    items : Generator
        Advanced, and closed, in the thread.
    ended : callable
        Called in the thread at its end, whenever that is.

    Raises
    ------
    RuntimeError
        There is no thread; `ended` is not called.
    """

    def __init__(self, items: Generator[_T, None, None], ended: Callable[[], None]) -> None:
        self._items = items
        self._ended = ended
        self._changed = threading.Condition()
        self._held: deque[_T] = deque()
        self._error: Exception | None = None
        self._is_over = self._is_closed = False
        threading.Thread(target=self._run, name="query", daemon=True).start()

    def take(self, timeout_s: float) -> list[_T] | None:
        """All that is there, waiting for the first; an empty list when nothing came in time, None at the end.

        Raises
        ------
        Exception
            What the iterator raised, once all that it gave before is taken.
        """
        with self._changed:
            if not self._held and not self._is_over:
                self._changed.wait(timeout_s)
            if self._held:
                taken = [*self._held]
                self._held.clear()
                self._changed.notify_all()
                return taken
            if not self._is_over:
                return []
            error, self._error = self._error, None
        if error is not None:
            raise error
        return None

    def close(self) -> None:
        """Nobody takes more; the thread ends once the iterator has given the next, and is not waited for."""
        with self._changed:
            self._is_closed = True
            self._held.clear()
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._hold(item):
                    break
        except Exception as error:  # noqa: BLE001 - whoever takes from us gets it
            self._error = error
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()
            self._items.close()
            self._ended()

    def _hold(self, item: _T) -> bool:
        """Wait for room; whether anybody will take it."""
        with self._changed:
            while len(self._held) >= AHEAD and not self._is_closed:
                self._changed.wait()
            if self._is_closed:
                return False
            self._held.append(item)
            self._changed.notify_all()
            return True
