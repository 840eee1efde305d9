"""Which positions of a request have not been sent yet, as gaps: memory goes by how often the client moved, not by frames."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

MOST_GAPS: Final = 4096


class Gaps:
    """The positions 0 to `size` − 1 less those that were taken.

    Parameters
    ----------
    size : int
        How many positions there are.
    most : int
        How many gaps are kept at most; then one is taken from its beginning only.
    """

    def __init__(self, size: int, *, most: int = MOST_GAPS) -> None:
        self._starts = [0] if size else []
        self._ends = [size] if size else []
        self._most = most
        self.left = size

    def __len__(self) -> int:
        return len(self._starts)

    def at_or_above(self, position: int) -> int | None:
        """The smallest position that is left, not below this one."""
        found = bisect_right(self._starts, position) - 1
        if found >= 0 and position < self._ends[found]:
            return position
        return self._starts[found + 1] if found + 1 < len(self._starts) else None

    def below(self, position: int) -> int | None:
        """The largest position that is left, below this one."""
        found = bisect_right(self._starts, position - 1) - 1
        return None if found < 0 else min(position, self._ends[found]) - 1

    def settle(self, position: int) -> int:
        """The position itself; when taking it would split a gap of too many, the beginning of its gap."""
        found = bisect_right(self._starts, position) - 1
        splits = self._starts[found] < position < self._ends[found] - 1
        return self._starts[found] if splits and len(self._starts) >= self._most else position

    def take(self, position: int) -> None:
        """Remove a position that is left."""
        self.take_range(position, position + 1)

    def take_range(self, start: int, end: int) -> list[tuple[int, int]]:
        """Remove what is left of `start` to `end` − 1; what that was, as first positions and how many from there."""
        first = bisect_right(self._starts, start) - 1
        if first < 0 or self._ends[first] <= start:
            first += 1
        starts: list[int] = []
        ends: list[int] = []
        taken: list[tuple[int, int]] = []
        last = first
        while last < len(self._starts) and self._starts[last] < end:
            low, high = self._starts[last], self._ends[last]
            taken.append((max(low, start), min(high, end) - max(low, start)))
            for left, right in ((low, start), (end, high)):
                if left < right:
                    starts.append(left)
                    ends.append(right)
            last += 1
        self._starts[first:last], self._ends[first:last] = starts, ends
        self.left -= sum(count for _, count in taken)
        return taken
