"""A lease is kept while progress is made, and no longer."""

from __future__ import annotations

import threading

from workers.lease import LeaseKeeper


def test_it_renews_while_there_is_progress() -> None:
    """Again and again, from its own thread."""
    renewed = threading.Semaphore(0)

    def renew() -> bool:
        renewed.release()
        return True

    with LeaseKeeper(renew, patience_s=60, every_s=0.001) as lease:
        assert all(renewed.acquire(timeout=10) for _ in range(3))
        assert not lease.lost


def test_a_lease_that_somebody_else_took_is_lost() -> None:
    """The runner stops and writes nothing."""
    asked = threading.Event()

    def renew() -> bool:
        asked.set()
        return False

    lease = LeaseKeeper(renew, patience_s=60, every_s=0.001)
    with lease:
        assert asked.wait(10)

    assert lease.lost


def test_without_progress_it_lets_go() -> None:
    """A runner that hangs must not keep others out for ever."""
    renewals: list[int] = []

    def renew() -> bool:
        renewals.append(1)
        return True

    lease = LeaseKeeper(renew, patience_s=0.0, every_s=0.001)
    with lease:
        for _ in range(1000):
            if lease.lost:
                break
            threading.Event().wait(0.005)

    assert lease.lost
    assert not renewals
