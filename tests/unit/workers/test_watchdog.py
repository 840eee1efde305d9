"""When a worker counts as stuck."""

from __future__ import annotations

import threading
from typing import cast

from dicomrelay.runtime.queue import Queue, WakeUps
from tests.support.rooms import NotedWakeUps
from workers.watchdog import Activity, Watchdog, watch

_QUEUES = (Queue.FORWARD_NORMAL, Queue.FORWARD_BULK)
_WAITS = {Queue.FORWARD_BULK: 3}


def test_idle_beside_messages_for_a_minute_is_stuck() -> None:
    """Not a second earlier."""
    dog = Watchdog(_QUEUES)
    assert [dog.is_stuck(Activity(7, 0), _WAITS, now) for now in (0, 5, 60, 64.9, 65)] == [
        False,
        False,
        False,
        False,
        True,
    ]


def test_work_in_hand_or_begun_or_no_message_of_its_own_starts_the_minute_anew() -> None:
    """A long transfer is no idleness, and another worker's queue no reason."""
    dog = Watchdog(_QUEUES)
    looks = [
        (Activity(1, 0), _WAITS),
        (Activity(1, 0), _WAITS),
        (Activity(1, 1), _WAITS),  # in hand
        (Activity(1, 0), _WAITS),
        (Activity(2, 0), _WAITS),  # begun and ended since
        (Activity(2, 0), _WAITS),
        (Activity(2, 0), {Queue.GROUP: 9}),
        (Activity(2, 0), _WAITS),
        (Activity(2, 0), {}),  # the broker is away
        (Activity(2, 0), _WAITS),
    ]
    assert not any(dog.is_stuck(*look, now=50.0 * number) for number, look in enumerate(looks))
    assert dog.is_stuck(Activity(2, 0), _WAITS, now=50.0 * len(looks) + 20)


def test_the_process_is_ended_with_a_code_of_its_own() -> None:
    """By a thread that a hanging consumer does not stop."""
    queue = NotedWakeUps(depth={Queue.FORWARD_NORMAL: 1})
    codes: list[int] = []
    ended = threading.Event()

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    thread = watch(
        lambda: Activity(0, 0), cast("WakeUps", queue), _QUEUES, every_s=0.01, patience_s=0.05, end=end
    )
    assert ended.wait(10)
    thread.join(10)
    assert codes == [75]
