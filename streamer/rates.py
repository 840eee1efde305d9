"""How often something happens from one address: counted in bounded memory, without a clock of its own."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

_MOST_ADDRESSES: Final = 4096


class Rate:
    """A bucket of tokens for each address; the one that was quiet longest is forgotten.

    Parameters
    ----------
    per_s : float
        How many flow in in a second.
    burst : float
        How many fit in: so many may come at once.
    """

    def __init__(self, per_s: float, burst: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """How long until there is room for one more, in seconds; 0 when there is."""
        return max(0.0, (1 - self._level(address)) / self._per_s)

    def take(self, address: str) -> None:
        """Count one."""
        self._left[address] = (max(0.0, self._level(address) - 1), self._clock())
        self._left.move_to_end(address)
        while len(self._left) > _MOST_ADDRESSES:
            self._left.popitem(last=False)

    def _level(self, address: str) -> float:
        level, since = self._left.get(address, (self._burst, 0.0))
        if address in self._left:
            level = min(self._burst, level + (self._clock() - since) * self._per_s)
        return level
