"""Places of a worker process: shares, newcomers, the reserve for the urgent."""

from __future__ import annotations

from contextlib import ExitStack

from dicomrelay.ledger.due import Wanted
from dicomrelay.ledger.values import Priority
from workers.runners import Runners


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def _take(
    stack: ExitStack, runners: Runners, name: str, most: int = 100, priority: Priority = Priority.NORMAL
) -> int:
    """How many places a destination gets, of `most` that it asks for."""
    count = 0
    while count < most and stack.enter_context(runners.place(name, priority)):
        count += 1
    return count


def test_alone_a_destination_has_all_but_the_reserve() -> None:
    """An eighth is for the urgent; what it gives back it can have again."""
    runners = Runners(32)
    for _ in range(2):
        with ExitStack() as stack:
            assert _take(stack, runners, "pacs") == 28
            assert _take(stack, runners, "pacs", priority=Priority.URGENT) == 4


def test_a_newcomer_finds_a_place_beside_one_that_was_alone() -> None:
    """The greedy one stops growing as soon as somebody else asks."""
    with ExitStack() as stack:
        runners = Runners(32)
        assert _take(stack, runners, "greedy", most=20) == 20
        assert _take(stack, runners, "late", most=1) == 1
        assert _take(stack, runners, "greedy") == 0
        assert _take(stack, runners, "late") == 7


def test_shares_are_equal_while_all_ask() -> None:
    """Three destinations, 28 places: nine each, and none has more."""
    with ExitStack() as stack:
        runners = Runners(32, clock=_Clock())
        for name in ("a", "b", "c"):
            assert _take(stack, runners, name, most=1) == 1
        for name in ("a", "b", "c"):
            assert _take(stack, runners, name) == 8


def test_who_asks_no_more_takes_no_share() -> None:
    """After five seconds the places go to those that can use them."""
    clock = _Clock()
    runners = Runners(16, clock=clock)
    with ExitStack() as stack:
        _take(stack, runners, "gone", most=1)
    with ExitStack() as stack:
        assert _take(stack, runners, "pacs") == 7
        clock.now += 6
        assert _take(stack, runners, "pacs") == 7


def test_a_place_for_the_urgent_is_kept_however_many_black_holes_there_are() -> None:
    """Each holds one runner, and the reserve is left."""
    with ExitStack() as stack:
        runners = Runners(8)
        taken = sum(_take(stack, runners, f"hole-{number}", most=1) for number in range(20))
        assert taken == 7
        assert _take(stack, runners, "pacs", most=1, priority=Priority.URGENT) == 1


def test_one_place_has_no_reserve() -> None:
    """A process of a prefork pool."""
    with ExitStack() as stack:
        assert _take(stack, Runners(1), "pacs", priority=Priority.BULK) == 1


def test_the_order_is_by_priority_then_by_places_held_then_by_waiting() -> None:
    """Who may take none is not named."""
    runners = Runners(16)
    wanted = [
        Wanted("old", Priority.NORMAL, since=1, free=1),
        Wanted("held", Priority.NORMAL, since=0, free=1),
        Wanted("bulk", Priority.BULK, since=0, free=1),
        Wanted("urgent", Priority.URGENT, since=9, free=1),
    ]
    with ExitStack() as stack:
        _take(stack, runners, "held", most=1)
        assert [each.destination for each in runners.order(wanted)] == ["urgent", "old", "held", "bulk"]
        for number in range(13):
            _take(stack, runners, f"other-{number}", most=1)
        assert [each.destination for each in runners.order(wanted)] == ["urgent"]
