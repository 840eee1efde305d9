"""Batches of a task: until there is none, and no longer than nobody else waits."""

from __future__ import annotations

from workers.tasks import until_empty


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
