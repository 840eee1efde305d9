"""Of several schedulers one leads, and never two."""

from __future__ import annotations

import threading
from pathlib import Path

from dicomrelay.errors import ServiceUnavailable
from tests.support.house import wait_for
from tests.support.rooms import as_if_shared, rooms_at
from workers.leading import LEASE_S, Lead, OneOfThisName, Reign, lead


class _Lease:
    """An answer to be given, and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.fence: int | None = 1
        self.away = False
        self.takes_s = 0.0

    def take(self) -> int | None:
        self.now += self.takes_s
        if self.away:
            raise ServiceUnavailable("away (test)")
        return self.fence

    def clock(self) -> float:
        return self.now


def _lead() -> tuple[_Lease, Lead]:
    lease = _Lease()
    return lease, Lead(lease.take, clock=lease.clock)


def _leads(one: Lead) -> bool:
    return one.leads


def test_it_leads_while_it_is_told_so_and_stops_before_another_may_begin() -> None:
    """Counted from before it asked, on a clock of its own."""
    lease, one = _lead()
    assert not _leads(one)
    lease.takes_s = 3.0
    one.ask()
    asked_at = 100.0
    assert _leads(one)
    lease.now = asked_at + LEASE_S - 2.1
    assert _leads(one)
    lease.now = asked_at + LEASE_S - 1.9
    assert not _leads(one)


def test_a_database_that_is_away_prolongs_nothing_and_takes_nothing_away() -> None:
    """Nobody else can have taken the lease meanwhile, until its time is over."""
    lease, one = _lead()
    one.ask()
    lease.away = True
    lease.now += 5
    one.ask()
    assert _leads(one)
    lease.now += 5
    one.ask()
    assert not _leads(one)


def test_who_is_told_that_another_leads_stops_at_once() -> None:
    """It was late, and its lease was taken."""
    lease, one = _lead()
    one.ask()
    lease.fence = None
    one.ask()
    assert not _leads(one)


def test_a_copied_home_is_known_by_its_fence() -> None:
    """Each of two takes the name in turn; a start over what a dead one left, or a cut, is no copy."""
    names = OneOfThisName()
    assert [names.is_another_there(fence) for fence in (4, 4, 4)] == [False] * 3
    assert names.is_another_there(6)
    assert not names.is_another_there(6)
    assert names.is_another_there(8)


def test_duties_begin_and_end_with_the_lead() -> None:
    """Each gets an event of its own reign: one that comes again does not wake the old ones."""
    began: list[threading.Event] = []
    reign = Reign([began.append])
    assert not reign.set(False)
    assert reign.set(True)
    wait_for(lambda: len(began) == 1, timeout_s=5, what="the duty began")
    assert reign.set(False)
    assert began[0].is_set()
    reign.set(True)
    wait_for(lambda: len(began) == 2, timeout_s=5, what="it began again")
    assert not began[1].is_set()


def test_a_ledger_of_this_home_alone_is_led_without_a_question(tmp_path: Path) -> None:
    """There is one scheduler, and its restart waits for no lease."""
    stop, began = threading.Event(), threading.Event()
    with rooms_at(tmp_path / "home") as (rooms, _):
        leader = lead(rooms, Reign([lambda _stop: began.set()]), stop)
        assert leader.leads
        assert began.wait(5)
        assert leader.given_up.is_set()
        assert rooms.ledger.named_leases.all() == []
        stop.set()


def test_a_shared_ledger_has_one_leader_which_gives_the_lead_up_at_its_end(tmp_path: Path) -> None:
    """The next one leads at once, with a fence of its own."""
    with rooms_at(tmp_path / "home") as (alone, _):
        rooms, stop = as_if_shared(alone), threading.Event()
        alone.ledger.named_leases.take("scheduler", owner="gone", lease_ms=0)
        leader = lead(rooms, Reign([]), stop)
        wait_for(lambda: leader.leads, timeout_s=10, what="it leads")
        assert leader.fence == 2
        leases = rooms.ledger.named_leases
        assert leases.take("scheduler", owner="another", lease_ms=1000) is None
        wait_for(
            lambda: rooms.host in {each.spool for each in leases.all()},
            timeout_s=10,
            what="its spool is heard of",
        )
        stop.set()
        assert leader.given_up.wait(10)
        assert leases.take("scheduler", owner="another", lease_ms=1000) == 3
