"""Batches of a task: until there is none, and no longer than nobody else waits."""

from __future__ import annotations

import pytest

from workers.batches import paced, until_empty


def test_batches_are_taken_until_there_is_none() -> None:
    """Their sum, and nothing is left."""
    left = [200, 200, 7, 0]
    assert until_empty(lambda: left.pop(0), lambda: False) == (407, False)
    assert left == []


def test_between_two_batches_it_gives_way() -> None:
    """One batch at least, so that work goes on however much arrives; what is left is for another task."""
    left = [200, 200, 7, 0]
    asked = iter([False, True])
    assert until_empty(lambda: left.pop(0), lambda: next(asked)) == (400, True)
    assert left == [7, 0]


def test_where_there_is_nothing_nobody_is_asked() -> None:
    """Nothing to give way with."""

    def never() -> bool:
        raise AssertionError

    assert until_empty(lambda: 0, never) == (0, False)


def test_after_a_batch_of_few_the_next_waits() -> None:
    """As long as is left of the pause; not after a full one, nor after none."""
    slept: list[float] = []

    def took(count: int, seconds: float) -> int:
        times = iter([10.0, 10.0 + seconds])
        return paced(lambda: count, few=100, pause_s=0.5, clock=lambda: next(times), sleep=slept.append)

    assert [took(99, 0.2), took(100, 0.2), took(0, 0.2), took(1, 2.0)] == [99, 100, 0, 1]
    assert slept == [pytest.approx(0.3), 0.0]
