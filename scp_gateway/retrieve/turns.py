"""How many moves there are at once: in this process, and to each destination."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator


class Turns:
    """For all threads of a listener.

    Parameters
    ----------
    most : int
        At once in all, 1 or more.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._free = threading.Condition()
        self._taken: Counter[str] = Counter()

    def take(self, destination: str, most: int, wait_s: float) -> bool:
        """Take a turn, waiting for one at most `wait_s`; whether there was one. `give` ends it.

        Parameters
        ----------
        most : int
            At once to that destination, 1 or more.
        """
        with self._free:
            found = self._free.wait_for(lambda: self._has_room(destination, most), wait_s)
            if found:
                self._taken[destination] += 1
            return found

    def give(self, destination: str) -> None:
        """A turn is over."""
        with self._free:
            self._taken[destination] -= 1
            if not self._taken[destination]:
                del self._taken[destination]
            self._free.notify_all()

    def __iter__(self) -> Iterator[str]:
        with self._free:
            return iter([*self._taken.elements()])

    def _has_room(self, destination: str, most: int) -> bool:
        return self._taken.total() < self._most and self._taken[destination] < most
