"""A worker host that no scheduler looks after keeps nothing in its spool that a pull has put there."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

from dicomrelay.ledger.named_leases import of_spool
from dicomrelay.runtime.queue import Task
from tests.support.house import wait_for
from tests.support.ledger import MINUTE_MS
from tests.support.rooms import as_if_shared, rooms_at, spooled
from workers.draining import drain, drain_until, is_looked_after, tell_of_arrivals


def test_what_a_pull_brings_is_grouped_and_archived_and_let_go_of(tmp_path: Path) -> None:
    """By the worker itself, and nobody is told who is not there."""
    with rooms_at(tmp_path / "home") as (alone, noted):
        rooms = as_if_shared(alone)
        spooled(rooms, "1.2.3.4")
        tell_of_arrivals(rooms, "a1")
        entry = rooms.ledger.inventory.kept(["1.2.3.4"])["1.2.3.4"]
        assert entry.facts.host == rooms.host
        assert noted.said == []

        assert drain(rooms) >= 1
        entry = rooms.ledger.inventory.kept(["1.2.3.4"])["1.2.3.4"]
        assert entry.facts.archive_path
        assert list(rooms.spool.records()) == []


def test_where_a_scheduler_runs_it_is_told(tmp_path: Path) -> None:
    """As a gateway does; and where the ledger is a file of this home one always does."""
    with rooms_at(tmp_path / "home") as (alone, noted):
        assert is_looked_after(alone)
        rooms = as_if_shared(alone)
        assert not is_looked_after(rooms)
        rooms.ledger.named_leases.take(of_spool("another-0123abcd"), owner="s", lease_ms=MINUTE_MS)
        assert not is_looked_after(rooms)
        rooms.ledger.named_leases.take(of_spool(rooms.host), owner="s", lease_ms=MINUTE_MS)
        assert is_looked_after(rooms)
        spooled(rooms, "1.2.3.4")
        tell_of_arrivals(rooms, "a1")
        assert noted.said == [(Task.GROUP, ("a1",))]
        assert rooms.spool.has_arrivals()


@pytest.mark.parametrize("scheduler", [False, True])
def test_it_looks_every_few_seconds(tmp_path: Path, scheduler: bool) -> None:
    """Also for what a worker before this one has left; what is another's to do it leaves alone."""
    with rooms_at(tmp_path / "home") as (alone, _):
        rooms, stop, looked = as_if_shared(alone), threading.Event(), threading.Semaphore(0)
        if scheduler:
            rooms.ledger.named_leases.take(of_spool(rooms.host), owner="s", lease_ms=MINUTE_MS)
        spooled(rooms, "1.2.3.4")

        def own() -> object:
            looked.release()
            return rooms

        thread = threading.Thread(target=drain_until, args=(own, stop), kwargs={"every_s": 0.01})
        thread.start()
        if scheduler:
            assert all(looked.acquire(timeout=10) for _ in range(3))
            assert rooms.spool.has_arrivals()
        else:
            wait_for(
                lambda: bool(rooms.ledger.inventory.kept(["1.2.3.4"])), timeout_s=10, what="it is registered"
            )
        stop.set()
        thread.join(10)


def test_a_disk_that_fails_for_a_moment_ends_no_draining(tmp_path: Path) -> None:
    """What the spool holds is drained once it can be read again."""
    with rooms_at(tmp_path / "home") as (alone, _):
        rooms, stop, looked = as_if_shared(alone), threading.Event(), threading.Semaphore(0)
        works = threading.Event()
        spooled(rooms, "1.2.3.4")

        def own() -> object:
            looked.release()
            if not works.is_set():
                raise OSError(errno.EIO, "Input/output error")
            return rooms

        thread = threading.Thread(target=drain_until, args=(own, stop), kwargs={"every_s": 0.01}, daemon=True)
        thread.start()
        assert all(looked.acquire(timeout=10) for _ in range(3))
        works.set()
        wait_for(
            lambda: bool(rooms.ledger.inventory.kept(["1.2.3.4"])), timeout_s=10, what="it is registered"
        )
        stop.set()
        thread.join(10)
