"""Which frame goes next: the primary index outward within a request, weighted turns between requests.

docs/design/streams.md has the rules. No I/O, no clock, no bytes: requests are told apart by their id, frames by their
position. A turn is one piece of a frame; the caller says when a frame has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from streamer.streams.gaps import MOST_GAPS, Gaps

LARGEST_WEIGHT: Final = 100


class Order(StrEnum):
    """Which frame of a request is the next."""

    OUTWARD = "outward"  # the nearest to the primary index; of two, the higher
    FORWARD = "forward"  # from the primary index up, then from the beginning
    BACKWARD = "backward"  # from the primary index down, then from the end


class Request:
    """One request: what is left of it, and what the client wants of it next.

    Parameters
    ----------
    size : int
        How many positions it has.
    primary : int
        The position that is wanted first.
    weight : int
        1 to 100.
    """

    def __init__(
        self,
        size: int,
        *,
        primary: int = 0,
        order: Order = Order.OUTWARD,
        weight: int = 1,
        is_paused: bool = False,
        most_gaps: int = MOST_GAPS,
    ) -> None:
        self.size = size
        self.primary = primary
        self.order = order
        self.weight = weight
        self.is_paused = is_paused
        self.under_way: int | None = None
        self.last_begun = 0
        self.gaps = Gaps(size, most=most_gaps)
        self.credit = 0

    @property
    def has_ended(self) -> bool:
        """Whether every position was sent or left out."""
        return self.under_way is None and not self.gaps.left

    @property
    def is_ready(self) -> bool:
        """Whether it has something to send now."""
        return not self.is_paused and not self.has_ended

    def upcoming(self, primary: int) -> int | None:
        """The position that is next from some primary index; None when all are taken."""
        up, down = self.gaps.at_or_above(primary), self.gaps.below(primary)
        if self.order is Order.FORWARD:
            return self.gaps.at_or_above(0) if up is None else up
        if self.order is Order.BACKWARD:
            nearest = self.gaps.below(primary + 1)
            return self.gaps.below(self.size) if nearest is None else nearest
        if up is None or down is None:
            return down if up is None else up
        return up if up - primary <= primary - down else down

    def begin(self) -> int:
        """Take the next position; it is under way until `finish`."""
        position = self.upcoming(self.primary)
        if position is None:
            raise LookupError("nothing is left of this request")
        position = self.gaps.settle(position)
        self.gaps.take(position)
        self.under_way = self.last_begun = position
        return position

    def finish(self) -> None:
        """The frame that was under way has been sent or given up."""
        self.under_way = None

    def ahead(self, count: int) -> Iterator[int]:
        """The next positions, as long as nobody moves: those nearest to the primary index on both sides."""
        if self.order is not Order.OUTWARD:
            yield from self._ahead_one_way(count)
            return
        up, down = self.gaps.at_or_above(self.primary), self.gaps.below(self.primary)
        for _ in range(count):
            if up is not None and (down is None or up - self.primary <= self.primary - down):
                yield up
                up = self.gaps.at_or_above(up + 1)
            elif down is not None:
                yield down
                down = self.gaps.below(down)
            else:
                return

    def _ahead_one_way(self, count: int) -> Iterator[int]:
        step = 1 if self.order is Order.FORWARD else -1
        position: int | None = self.primary
        first = None
        for _ in range(count):
            position = None if position is None else self.upcoming(position)
            if position is None or position == first:
                return
            yield position
            first = position if first is None else first
            position += step


class Schedule:
    """The requests of one stream."""

    def __init__(self) -> None:
        self._requests: dict[int, Request] = {}

    def __len__(self) -> int:
        return len(self._requests)

    def __contains__(self, request_id: int) -> bool:
        return request_id in self._requests

    @property
    def positions(self) -> int:
        """How many positions all requests have together, also those that were sent."""
        return sum(request.size for request in self._requests.values())

    def open(self, request_id: int, request: Request) -> None:
        """Begin a request. It takes its turns from now on; what others have had before does not count."""
        self._requests[request_id] = request

    def get(self, request_id: int) -> Request | None:
        """An open request."""
        return self._requests.get(request_id)

    def close(self, request_id: int) -> bool:
        """Forget a request, ended or not; whether there was one."""
        return self._requests.pop(request_id, None) is not None

    def ended(self) -> int | None:
        """A request that has nothing left, to be closed."""
        return next((key for key, request in self._requests.items() if request.has_ended), None)

    def turn(self) -> int | None:
        """The request whose turn it is; None when none is ready.

        Smooth weighted round robin: each turn every ready request gains its weight, and who has most pays the sum of
        all. So the turns of a heavy request are spread between those of the others.
        """
        ready = [(key, request) for key, request in self._requests.items() if request.is_ready]
        if not ready:
            return None
        total = 0
        for _, request in ready:
            request.credit += request.weight
            total += request.weight
        key, chosen = max(ready, key=lambda each: each[1].credit)
        chosen.credit -= total
        return key

    def set_weight(self, request_id: int, weight: int) -> None:
        """Another weight, from the next turn on."""
        request = self._requests.get(request_id)
        if request is not None:
            request.weight = weight
            self._count_anew()

    def set_paused(self, request_id: int, *, is_paused: bool) -> None:
        """Whether a request has turns."""
        request = self._requests.get(request_id)
        if request is not None and request.is_paused != is_paused:
            request.is_paused = is_paused
            self._count_anew()

    def _count_anew(self) -> None:
        # Nobody pays for shares of before.
        for each in self._requests.values():
            each.credit = 0

    def ahead(self, count: int) -> list[tuple[int, int]]:
        """Request and position of about so many frames that come next: each request has its share."""
        ready = [(key, request) for key, request in self._requests.items() if request.is_ready]
        total = sum(request.weight for _, request in ready)
        return [
            (key, position)
            for key, request in ready
            for position in request.ahead(max(1, count * request.weight // total))
        ]
