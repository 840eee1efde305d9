"""Wake-ups: at least one after the last commit, few, and never in anybody's way."""

from __future__ import annotations

import threading

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
