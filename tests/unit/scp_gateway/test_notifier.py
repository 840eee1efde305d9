"""Wake-ups: at least one after the last commit, few, and never in anybody's way."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
import structlog

from scp_gateway import notifier as notifier_module
from scp_gateway.notifier import Notifier


class Broker:
    """Counts wake-ups; can be held up, and can fail."""

    def __init__(self) -> None:
        self.wakes = 0
        self.woken = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.go_on.set()
        self.error: Exception | None = None

    def wake(self) -> None:
        self.wakes += 1
        self.woken.release()
        assert self.go_on.wait(10)
        if self.error is not None:
            raise self.error


def test_a_commit_is_followed_by_a_wake_up() -> None:
    """From another thread."""
    broker = Broker()
    notifier = Notifier(broker.wake, interval_s=0)
    notifier.start()
    notifier.notify()
    assert broker.woken.acquire(timeout=10)
    notifier.stop(10)


def test_commits_during_a_wake_up_are_one_more() -> None:
    """A thousand commits while the broker is slow make one wake-up after it, not a thousand, and not none."""
    broker = Broker()
    broker.go_on.clear()
    notifier = Notifier(broker.wake, interval_s=0)
    notifier.start()
    notifier.notify()
    assert broker.woken.acquire(timeout=10)
    for _ in range(1000):
        notifier.notify()
    broker.go_on.set()
    assert broker.woken.acquire(timeout=10)
    notifier.stop(10)
    assert broker.wakes in {2, 3}, "the third is the one that stopping makes sure of"


def test_a_broker_that_fails_is_named_once_a_minute_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its errors are no reason to stop."""
    clock = [1000.0]
    monkeypatch.setattr(notifier_module.time, "monotonic", lambda: clock[0])
    broker = Broker()
    broker.error = ConnectionError("refused")
    notifier = Notifier(broker.wake, interval_s=0)
    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            notifier._send()
        clock[0] += 61
        notifier._send()
    assert [line["action"] for line in lines] == ["wake.failed"] * 2
    assert "ConnectionError: refused" in lines[0]["reason"]
    assert broker.wakes == 6


def test_stopping_sends_what_is_due_and_does_not_wait_for_ever() -> None:
    """A broker that hangs is left behind."""
    broker = Broker()
    notifier = Notifier(broker.wake, interval_s=100)
    notifier.start()
    notifier.notify()
    assert broker.woken.acquire(timeout=10)
    notifier.notify()
    notifier.stop(10)
    assert broker.wakes == 2
    hanging = Broker()
    hanging.go_on.clear()
    stuck = Notifier(hanging.wake)
    stuck.start()
    stuck.notify()
    assert hanging.woken.acquire(timeout=10)
    stuck.stop(0.01)
    hanging.go_on.set()


def test_associations_that_ended_are_named_in_a_wake_up_and_once() -> None:
    """It is one message: who is told that an association ended looks into the spool, too."""
    broker, told = Broker(), list[list[str]]()
    notifier = Notifier(broker.wake, ended=lambda ids: told.append(list(ids)), interval_s=0)
    notifier.notify()
    notifier.association_ended("a1")
    notifier.association_ended("a2")
    notifier._send()
    notifier._send()
    assert told == [["a1", "a2"]]
    assert broker.wakes == 1, "the second, which had nobody to name"


def test_many_ends_are_told_in_several_messages() -> None:
    """A hundred ids in each."""
    told = list[list[str]]()
    notifier = Notifier(lambda: None, ended=lambda ids: told.append(list(ids)), interval_s=0)
    names = [f"a{number}" for number in range(250)]
    for name in names:
        notifier.association_ended(name)
    notifier.start()
    notifier.stop(10)
    assert [name for message in told for name in message] == names[: sum(map(len, told))]
    assert all(len(message) <= 100 for message in told)


def test_a_broker_that_is_away_costs_no_memory_and_no_end_is_said_late() -> None:
    """A thousand ids are kept; what was tried is not tried again, for the quiet time has taken its place."""
    tried = list[list[str]]()

    def fail(ids: Sequence[str]) -> None:
        tried.append(list(ids))
        raise ConnectionError("refused")

    notifier = Notifier(lambda: None, ended=fail, interval_s=0)
    for number in range(5000):
        notifier.association_ended(f"a{number}")
    assert len(notifier._ended) == 1000
    for _ in range(12):
        notifier._send()
    assert [name for message in tried for name in message] == [f"a{n}" for n in range(4000, 5000)]


def test_nobody_is_told_where_nobody_listens() -> None:
    """A gateway without workers."""
    notifier = Notifier(lambda: None)
    notifier.association_ended("a1")
    assert not notifier._ended
