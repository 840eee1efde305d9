"""The schedule of streams: what is next in a request, whose turn it is, whatever the client does in between."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.streams.gaps import Gaps
from streamer.streams.schedule import Order, Request, Schedule

SIZES = st.integers(1, 60)
STEPS = st.lists(st.tuples(st.sampled_from(["next", "move", "skip"]), st.integers(0, 59)), max_size=150)


def wanted(left: set[int], primary: int, order: Order) -> int:
    """The next position, by a rule that is read off the page and not off the code."""
    up = sorted(position for position in left if position >= primary)
    down = sorted((position for position in left if position <= primary), reverse=True)
    if order is Order.FORWARD:
        return up[0] if up else min(left)
    if order is Order.BACKWARD:
        return down[0] if down else max(left)
    return min(left, key=lambda position: (abs(position - primary), -position))


@given(SIZES, STEPS, st.sampled_from(Order))
def test_a_request_gives_each_position_once_and_always_the_one_that_is_wanted(
    size: int, steps: list[tuple[str, int]], order: Order
) -> None:
    """Whatever moves come between: nothing twice, nothing left out, the nearest first."""
    request, left = Request(size, order=order), set(range(size))
    for action, number in [*steps, *[("next", 0)] * size]:
        if action == "move":
            request.primary = number % size
        elif action == "skip":
            taken = request.gaps.take_range(number % size, number % size + 3)
            parts = [position for first, count in taken for position in range(first, first + count)]
            assert parts == sorted(left & set(range(number % size, number % size + 3)))
            left -= set(range(number % size, number % size + 3))
        elif left:
            expected = wanted(left, request.primary, order)
            assert request.upcoming(request.primary) == expected
            assert request.begin() == expected
            left.discard(expected)
            assert not request.has_ended
            request.finish()
    assert (left, request.has_ended, request.gaps.left) == (set(), True, 0)


@given(SIZES, STEPS, st.sampled_from(Order), st.integers(1, 20))
def test_what_is_read_ahead_is_what_comes_when_nobody_moves(
    size: int, steps: list[tuple[str, int]], order: Order, count: int
) -> None:
    """`ahead` is the beginning of what `begin` gives."""
    request = Request(size, order=order)
    for action, number in steps:
        if action == "move":
            request.primary = number % size
        elif request.gaps.left:
            request.begin()
    promised = [*request.ahead(count)]

    given_out = [request.begin() for _ in range(min(count, request.gaps.left))]

    assert promised == given_out


@given(st.lists(st.integers(0, 999), max_size=400), st.integers(1, 8))
def test_gaps_stay_few_whatever_the_client_does(moves: list[int], most: int) -> None:
    """At the limit the nearest gap is taken from its beginning: still nothing twice, and memory does not grow."""
    request, seen = Request(1000, most_gaps=most), set()
    for move in moves:
        request.primary = move
        seen.add(request.begin())
        assert len(request.gaps) <= most
    assert len(seen) == len(moves)
    while request.gaps.left:
        seen.add(request.begin())
    assert seen == set(range(1000))


@given(st.lists(st.integers(1, 100), min_size=1, max_size=12), st.integers(0, 300))
def test_in_as_many_turns_as_all_weights_each_request_has_its_weight(weights: list[int], late: int) -> None:
    """Exactly, in every window, wherever it begins."""
    schedule = Schedule()
    for key, weight in enumerate(weights, start=1):
        schedule.open(key, Request(10**6, weight=weight))
    for _ in range(late):
        schedule.turn()

    turns = Counter(schedule.turn() for _ in range(sum(weights)))

    assert turns == dict(enumerate(weights, start=1))


@given(
    st.lists(st.integers(1, 20), min_size=2, max_size=8),
    st.lists(st.tuples(st.integers(1, 8), st.sampled_from(["pause", "resume", "weight", "close", "open"])), max_size=40),
)  # fmt: skip
def test_after_any_changes_no_ready_request_waits_longer_than_its_share(
    weights: list[int], changes: list[tuple[int, str]]
) -> None:
    """Opened, closed, paused and weighed anew in the middle: each is served at least once in some rounds."""
    schedule = Schedule()
    for key, weight in enumerate(weights, start=1):
        schedule.open(key, Request(10**6, weight=weight))
    for key, change in changes:
        schedule.turn()
        if change == "close":
            schedule.close(key)
        elif change == "open":
            schedule.open(key, Request(10**6, weight=key))
        elif change == "weight":
            schedule.set_weight(key, 1 + key * 2)
        else:
            schedule.set_paused(key, is_paused=change == "pause")
    ready = {key: each for key in range(1, 9) if (each := schedule.get(key)) is not None and each.is_ready}
    total = sum(request.weight for request in ready.values())

    turns = Counter(schedule.turn() for _ in range(6 * total)) if ready else Counter()

    for key, request in ready.items():
        assert turns[key] >= 4 * request.weight, (key, turns)
    assert schedule.turn() is None or ready


def test_turns_of_a_heavy_request_are_spread() -> None:
    """5 : 1 : 1 is not five in a row."""
    schedule = Schedule()
    for key, weight in ((1, 5), (2, 1), (3, 1)):
        schedule.open(key, Request(100, weight=weight))

    assert [schedule.turn() for _ in range(7)] == [1, 1, 2, 1, 3, 1, 1]


def test_outward_begins_at_the_primary_index() -> None:
    """The picture of the design page, in numbers."""
    request = Request(8, primary=3)

    assert [request.begin() for _ in range(8)] == [3, 4, 2, 5, 1, 6, 0, 7]
    with pytest.raises(LookupError):
        request.begin()


def test_a_request_of_millions_of_frames_is_one_gap() -> None:
    """From both ends of the outward way: nothing is kept for what was sent."""
    request = Request(10_000_000, primary=5_000_000)
    for _ in range(20_000):
        request.begin()

    assert len(request.gaps) == 2
    assert request.gaps.left == 9_980_000


@given(SIZES, st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=20), st.integers(-1, 61))
def test_gaps_are_a_set(size: int, ranges: list[tuple[int, int]], asked: int) -> None:
    """Compared with a set of what is left."""
    gaps, left = Gaps(size), set(range(size))
    for start, length in ranges:
        gaps.take_range(start, start + length)
        left -= set(range(start, start + length))
    assert gaps.left == len(left)
    assert gaps.at_or_above(asked) == min((each for each in left if each >= asked), default=None)
    assert gaps.below(asked) == max((each for each in left if each < asked), default=None)
