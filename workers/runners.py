"""The places of one worker process: who may take the next (docs/design/flow.md). No I/O; the lock is its own."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Final

from dicomrelay.ledger.due import Wanted
from dicomrelay.ledger.values import Priority

_RESERVE: Final = 8  # one place in so many
# Who asked so lately counts among those that share.
_ASKED_S: Final = 5.0


class Runners:
    """Places for transfers under way in this process.

    Parameters
    ----------
    places : int
        In all; with one there is no reserve.
    """

    def __init__(self, places: int, *, clock: Callable[[], float] = monotonic) -> None:
        self._places = places
        self._reserve = max(1, places // _RESERVE) if places > 1 else 0
        self._newcomers = places // _RESERVE
        self._clock = clock
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self._urgent = 0
        self._asked: dict[str, float] = {}

    @contextmanager
    def place(self, destination: str, priority: Priority) -> Iterator[bool]:
        """A place while the block runs; yields whether there was one."""
        with self._lock:
            self._asked[destination] = self._clock()
            taken = self._may(destination, priority)
            if taken:
                self._held[destination] += 1
                self._urgent += priority is Priority.URGENT
        try:
            yield taken
        finally:
            if taken:
                with self._lock:
                    self._held[destination] -= 1
                    self._urgent -= priority is Priority.URGENT

    def order(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """Those that may take a place now, who should first: the most urgent, who holds fewest, who waits longest."""
        with self._lock:
            now = self._clock()
            self._asked.update((each.destination, now) for each in wanted)
            may = [each for each in wanted if self._may(each.destination, each.priority)]
            priorities = list(Priority)
            return sorted(
                may,
                key=lambda each: (
                    priorities.index(each.priority),
                    self._held[each.destination],
                    each.since,
                    each.destination,
                ),
            )

    def _may(self, destination: str, priority: Priority) -> bool:
        free = self._places - self._held.total()
        if free <= 0:
            return False
        if priority is Priority.URGENT:
            return True
        if free <= self._reserve - min(self._urgent, self._reserve):
            return False
        mine = self._held[destination]
        if not mine:
            return True
        others = self._sharing() - {destination}
        if not others:
            return True
        usable = self._places - self._reserve
        if mine >= max(1, usable // (len(others) + 1)):
            return False
        return free > self._reserve + self._newcomers or all(self._held[name] for name in others)

    def _sharing(self) -> set[str]:
        """Destinations that hold a place or asked for one lately."""
        oldest = self._clock() - _ASKED_S
        self._asked = {name: at for name, at in self._asked.items() if at >= oldest}
        return {name for name, count in self._held.items() if count} | set(self._asked)
