"""Bytes per second that several runners keep together, in simulated time."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Generator

import pytest

from dicomrelay.errors import ServiceUnavailable
from workers.shared_pace import SharedPace

_LIMIT = 1_000_000


class _Line:
    """The ledger's `paced_until`, and the clock that everybody sleeps by."""

    def __init__(self) -> None:
        self.now = 0.0
        self.until = 0.0
        self.away = False

    def book(self, count: int) -> int:
        if self.away:
            raise ServiceUnavailable("the ledger is away (test)")
        begin = max(self.now, self.until)
        self.until = begin + count / _LIMIT
        return round((begin - self.now) * 1000)


def _runner(
    line: _Line, sent: list[tuple[float, int]], chance: random.Random, associations: int
) -> Generator[float, None, None]:
    """Sends fragments of some sizes for ever, pausing now and then; yields how long it sleeps."""
    sleeps: list[float] = []
    pace = SharedPace(
        _LIMIT,
        associations=associations,
        book=line.book,
        moved=lambda: None,
        clock=lambda: line.now + sum(sleeps),
        wait=sleeps.append,
    )
    while True:
        size = chance.choice([500, 16_000, 60_000])
        pace(size)
        asleep, sleeps[:] = sum(sleeps), []
        yield asleep
        sent.append((line.now, size))
        yield chance.choice([0.0, 0.0, 0.02, 0.5])  # the peer's answer


@pytest.mark.parametrize("runners", [1, 4, 8])
def test_over_any_five_seconds_the_sum_is_never_above_the_limit(runners: int) -> None:
    """However many send, and whenever they come and go; five per cent is the bar."""
    line, sent, chance = _Line(), [], random.Random(runners)
    order = itertools.count()
    waiting = [
        (chance.random() * 3, next(order), _runner(line, sent, chance, runners)) for _ in range(runners)
    ]
    heapq.heapify(waiting)
    while waiting and line.now < 60:
        line.now, _, runner = heapq.heappop(waiting)
        heapq.heappush(waiting, (line.now + next(runner), next(order), runner))

    most = 0
    begin = total = 0
    for end, (at, size) in enumerate(sent):
        total += size
        while sent[begin][0] <= at - 5:
            total -= sent[begin][1]
            begin += 1
        most = max(most, total)
        assert end >= begin
    assert most <= 5 * _LIMIT * 1.05
    if runners == 8:  # and the line is used, not left empty
        assert sum(size for at, size in sent if at >= 10) / (line.now - 10) > 0.8 * _LIMIT


def test_without_a_limit_nothing_is_booked_and_progress_is_told() -> None:
    """A lease lives by it."""
    told = []
    pace = SharedPace(None, associations=2, book=lambda _: 1 // 0, moved=lambda: told.append(1))
    pace(1000)
    assert told == [1]


def test_a_ledger_that_is_away_leaves_an_equal_share() -> None:
    """Half of the limit for each of two."""
    line = _Line()
    line.away = True
    slept: list[float] = []
    pace = SharedPace(
        _LIMIT,
        associations=2,
        book=line.book,
        moved=lambda: None,
        clock=lambda: line.now + sum(slept),
        wait=slept.append,
    )
    for _ in range(10):
        pace(100_000)
    assert sum(slept) == pytest.approx(2.0)
