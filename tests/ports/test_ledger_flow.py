"""Breakers, places, priorities, holds and booked bytes, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, text

from dicomrelay.ledger import ClaimedTransfer, DeliveryState, Ledger, Priority, TransferState
from dicomrelay.ledger.breaker import BreakerPolicy, BreakerState
from dicomrelay.ledger.engine import database_url
from dicomrelay.ledger.flow_summary import DestinationFlow
from dicomrelay.ledger.handing_back import Signal
from tests.support.ledger import MINUTE_MS, PACS, arrival, claim, due_ids, group, outcomes

_POLICY = BreakerPolicy(failures=3, initial_s=5, maximum_s=60)


@pytest.fixture
def house(ledger: Ledger, ledger_url: str) -> Iterator[House]:
    """The ledger, and a hand on its clock."""
    made = House(ledger, ledger_url)
    yield made
    made.close()


class House:
    """Walks that many tests make."""

    def __init__(self, ledger: Ledger, url: str) -> None:
        self.ledger = ledger
        self._engine = create_engine(database_url(url))
        self._number = 0

    def close(self) -> None:
        self._engine.dispose()

    def sql(self, statement: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(text(statement))

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with self._engine.begin() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def transfers(self, count: int, priority: Priority = Priority.NORMAL) -> list[str]:
        """New transfers of one instance each, in the order of their making."""
        made = []
        for _ in range(count):
            self._number += 1
            self.ledger.register(
                [arrival(self._number, study_instance_uid=f"1.2.{self._number}", priority=priority)]
            )
            before = set(self._all())
            assert group(self.ledger) == 1
            made += [each for each in self._all() if each not in before]
        return made

    def _all(self) -> list[str]:
        with self._engine.begin() as connection:
            return list(connection.execute(text("SELECT id FROM transfers ORDER BY id")).scalars())

    def fails(self, times: int = 1) -> BreakerState:
        for _ in range(times):
            state = self.ledger.flow.failed("pacs", policy=_POLICY, jitter=0.0, error="no connection")
        return state

    def probe_now(self) -> None:
        """Let the wait for the probe be over."""
        self.sql("UPDATE destinations SET probe_at = probe_at - 100000 WHERE name = 'pacs'")

    @property
    def pacs(self) -> DestinationFlow:
        (flow,) = self.ledger.flow.destinations("pacs")
        return flow


def _finish(
    ledger: Ledger, claimed: ClaimedTransfer, state: DeliveryState = DeliveryState.DELIVERED
) -> TransferState:
    done = state is DeliveryState.DELIVERED
    ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, state))
    return ledger.finish_transfer(
        claimed.id,
        claimed.fence,
        retry_in_ms=5 * MINUTE_MS,
        reason="" if done else "peer said no",
        delivered=int(done),
    )


def test_an_open_breaker_lets_nobody_through_before_the_probe_and_then_one(house: House) -> None:
    """What is due stays due meanwhile, and no worker is told of it."""
    first, second = house.transfers(2)
    assert house.fails(3) is BreakerState.OPEN
    assert house.pacs.probe_in_ms is not None
    assert due_ids(house.ledger) == []
    assert house.ledger.claim_transfer(first, owner="r", lease_ms=MINUTE_MS) is None

    house.probe_now()
    assert due_ids(house.ledger) == [first]
    trial = claim(house.ledger, first)
    assert trial.trial
    assert house.pacs.breaker == BreakerState.HALF_OPEN
    assert due_ids(house.ledger) == []
    assert house.ledger.claim_transfer(second, owner="r", lease_ms=MINUTE_MS) is None


def test_a_probe_that_fails_costs_the_transfer_nothing_and_doubles_the_wait(house: House) -> None:
    """However often: attempts are for sending."""
    (transfer,) = house.transfers(1)
    house.fails(3)
    waits = []
    for _ in range(3):
        house.probe_now()
        trial = claim(house.ledger, transfer)
        assert (trial.trial, trial.attempt) == (True, 1)
        house.ledger.flow.probe_failed(trial, policy=_POLICY, jitter=0.0, error="no connection")
        waits.append(house.pacs.probe_in_ms)
        assert house.pacs.last_error == "no connection"
    assert [round(wait / 1000) for wait in waits if wait] == [5, 10, 20]
    house.probe_now()
    assert due_ids(house.ledger) == [transfer]


def test_an_answer_closes_it_and_everything_that_waits_is_due_now(house: House) -> None:
    """Whatever the schedule of each said; it asked the dead for nothing."""
    made = house.transfers(4)
    waiting = [claim(house.ledger, each) for each in made[:2]]
    for each in waiting:
        assert _finish(house.ledger, each, DeliveryState.FAILED) is TransferState.WAITING
    house.fails(3)
    house.probe_now()
    trial = claim(house.ledger, made[2])

    assert house.ledger.flow.reached("pacs")
    assert not house.ledger.flow.reached("pacs")
    assert (house.pacs.breaker, house.pacs.failures, house.pacs.limit) == (BreakerState.CLOSED, 0, 2)
    assert _finish(house.ledger, trial) is TransferState.DONE
    with_free_places = [
        house.ledger.claim_next_transfer("pacs", owner="r", lease_ms=MINUTE_MS) for _ in range(3)
    ]
    assert [each.id if each else None for each in with_free_places] == [made[3], made[0], None]


def test_while_it_is_open_the_probe_is_the_only_clock(house: House) -> None:
    """A transfer that would have waited minutes is the next trial."""
    (transfer,) = house.transfers(1)
    _finish(house.ledger, claim(house.ledger, transfer), DeliveryState.FAILED)
    assert due_ids(house.ledger) == []
    house.fails(3)
    house.probe_now()
    assert due_ids(house.ledger) == [transfer]


def test_a_runner_that_dies_in_its_trial_leaves_the_next_one_to_another(house: House) -> None:
    """Once its lease has ended."""
    (transfer,) = house.transfers(1)
    house.fails(3)
    house.probe_now()
    claim(house.ledger, transfer)
    house.probe_now()
    assert due_ids(house.ledger) == []
    house.sql("UPDATE transfers SET due_at = 1")
    assert claim(house.ledger, transfer).trial


def test_a_destination_in_trouble_runs_one_at_a_time(house: House) -> None:
    """So it never holds more than one runner."""
    first, second, _ = house.transfers(3)
    house.fails()
    one = claim(house.ledger, first)
    assert one.in_trouble
    assert not one.trial
    assert house.ledger.claim_transfer(second, owner="r", lease_ms=MINUTE_MS) is None
    _finish(house.ledger, one)
    assert house.pacs.limit == 2


def test_turned_away_beside_others_halves_and_each_good_transfer_gives_one_back(house: House) -> None:
    """Alone and turned away counts as failed."""
    wide = PACS.__class__("pacs", "PACS", "10.0.0.9", 104, associations=8)
    house.ledger.sync_destinations([wide])
    running = [claim(house.ledger, each) for each in house.transfers(6)]
    for _ in range(3):  # one volley
        state = house.ledger.flow.turned_away("pacs", policy=_POLICY, jitter=0.0, error="rejected for now")
        assert state is BreakerState.CLOSED
    assert (house.pacs.limit, house.pacs.failures) == (3, 0)

    limits = []
    for each in running:
        _finish(house.ledger, each)
        limits.append(house.pacs.limit)
    assert limits == [4, 5, 6, 7, 8, 8]

    claim(house.ledger, house.transfers(1)[0])
    house.ledger.flow.turned_away("pacs", policy=_POLICY, jitter=0.0, error="rejected for now")
    assert house.pacs.failures == 1


def test_much_slower_halves_once_in_five_seconds(house: House) -> None:
    """And never one that is alone."""
    first, second = house.transfers(2)
    claim(house.ledger, first)
    assert not house.ledger.flow.slower("pacs")
    claim(house.ledger, second)
    assert house.ledger.flow.slower("pacs")
    assert not house.ledger.flow.slower("pacs")
    assert house.pacs.limit == 1


def test_the_urgent_go_first_and_take_the_last_free_place(house: House) -> None:
    """A claim by name of one that is less urgent finds none."""
    bulk = house.transfers(2, Priority.BULK)
    claim(house.ledger, bulk[0])
    (urgent,) = house.transfers(1, Priority.URGENT)
    assert house.ledger.claim_transfer(bulk[1], owner="r", lease_ms=MINUTE_MS) is None
    normal_only = house.ledger.claim_next_transfer(
        "pacs", priorities=[Priority.NORMAL], owner="r", lease_ms=MINUTE_MS
    )
    assert normal_only is None
    found = house.ledger.claim_next_transfer("pacs", owner="r", lease_ms=MINUTE_MS)
    assert found is not None
    assert found.id == urgent


def test_one_of_two_gives_way_to_one_and_leads_the_line_afterwards(house: House) -> None:
    """No attempt is counted, and what was delivered stays so."""
    first, second, third = house.transfers(3)
    running = [claim(house.ledger, first), claim(house.ledger, second)]
    assert [house.ledger.flow.signal(each) for each in running] == [Signal.GO_ON] * 2
    (urgent,) = house.transfers(1, Priority.URGENT)
    assert [house.ledger.flow.signal(each) for each in running] == [Signal.GIVE_WAY] * 2

    assert house.ledger.flow.give_way(running[0])
    assert house.ledger.flow.signal(running[0]) is Signal.LOST
    assert not house.ledger.flow.give_way(running[1])
    assert house.ledger.flow.signal(running[1]) is Signal.GO_ON

    express = house.ledger.claim_next_transfer("pacs", owner="r", lease_ms=MINUTE_MS)
    assert express is not None
    assert express.id == urgent
    _finish(house.ledger, express)
    again = house.ledger.claim_next_transfer("pacs", owner="r", lease_ms=MINUTE_MS)
    assert again is not None
    assert (again.id, again.attempt) == (first, 1)
    assert third in house._all()


def test_eight_that_could_give_way_to_two_are_two(house: House) -> None:
    """The check and the handing back are one transaction."""
    house.ledger.sync_destinations([PACS.__class__("pacs", "PACS", "10.0.0.9", 104, associations=8)])
    running = [claim(house.ledger, each) for each in house.transfers(8)]
    house.transfers(2, Priority.URGENT)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(house.ledger.flow.give_way, running)) == 2


def _two_seconds_later(house: House) -> None:
    """All claims so far were made two seconds earlier."""
    house.sql("UPDATE events SET at = at - 2000 WHERE kind = 'transfer_claimed'")


def test_an_urgent_one_without_an_answer_gets_room_from_those_before_it(house: House) -> None:
    """It has a place, and none with a destination that serves one association at a time: after two seconds others give way."""
    first, second = house.transfers(2, Priority.BULK)
    before = claim(house.ledger, first)
    express = claim(house.ledger, house.transfers(1, Priority.URGENT)[0])
    flow = house.ledger.flow
    assert flow.signal(before) is Signal.GO_ON

    _two_seconds_later(house)
    assert [flow.signal(before), flow.signal(express)] == [Signal.GIVE_WAY, Signal.GO_ON]
    assert flow.give_way(before)
    # Whoever comes after it waits behind it, and does not make room once more.
    after = claim(house.ledger, second)
    assert flow.signal(after) is Signal.GO_ON
    assert not flow.give_way(after)


def test_an_urgent_one_with_an_answer_needs_no_more_room(house: House) -> None:
    """Then the destination serves both. What it answered to an attempt before says nothing about this one."""
    before = claim(house.ledger, house.transfers(1, Priority.BULK)[0])
    express = claim(house.ledger, house.transfers(1, Priority.URGENT)[0])
    _two_seconds_later(house)
    house.ledger.record_outcomes(express.id, express.fence, outcomes(express, DeliveryState.FAILED))
    assert house.ledger.flow.signal(before) is Signal.GO_ON

    house.sql(f"UPDATE deliveries SET updated_at = updated_at - 60000 WHERE transfer_id = '{express.id}'")
    assert house.ledger.flow.signal(before) is Signal.GIVE_WAY


def test_a_hold_stops_claims_and_asks_what_runs_to_give_way(house: House) -> None:
    """Both verbs may be repeated, and a name that nobody knows is told."""
    first, second = house.transfers(2)
    running = claim(house.ledger, first)
    flow = house.ledger.flow
    assert (flow.hold("pacs"), flow.hold("pacs"), flow.hold("nobody")) == (True, False, None)
    assert due_ids(house.ledger) == []
    assert house.ledger.claim_transfer(second, owner="r", lease_ms=MINUTE_MS) is None
    assert flow.signal(running) is Signal.GIVE_WAY
    assert flow.give_way(running)
    assert (flow.release("pacs"), flow.release("pacs"), flow.release("nobody")) == (True, False, None)
    assert due_ids(house.ledger) == [first, second]


def test_what_becomes_of_a_destination_is_an_event_once(house: House) -> None:
    """Held and released, its breaker opened and closed: not every failure, not every probe, and not what was so before."""
    flow = house.ledger.flow
    for _ in range(2):
        flow.hold("pacs")
    for _ in range(2):
        flow.release("pacs")
    house.fails(5)
    for _ in range(2):
        flow.reached("pacs")
    events = house.rows("SELECT kind, destination, study_instance_uid FROM events ORDER BY id")
    told = [kind for kind, destination, study in events if (destination, study) == ("pacs", "")]
    assert told == ["destination_held", "destination_released", "breaker_opened", "breaker_closed"]


def test_booked_bytes_never_overlap(house: House) -> None:
    """Whoever books, the line is spoken for until the one before is through."""
    with ThreadPoolExecutor(8) as pool:
        waits = list(
            pool.map(lambda _: house.ledger.flow.book("pacs", count=100_000, bytes_per_s=10_000), range(8))
        )
    for number, wait in enumerate(sorted(waits)):
        assert number * 10_000 - 3_000 <= wait <= number * 10_000


def test_a_destination_in_figures(house: House) -> None:
    """Depth, age, speed and the time that is left, as a person asks for them."""
    house.ledger.register([arrival(number) for number in range(900, 904)])
    assert group(house.ledger, batch_instances=2) == 2
    house.ledger.register([arrival(910, study_instance_uid="1.2.910")])
    first = claim(house.ledger, due_ids(house.ledger)[0])
    house.ledger.record_outcomes(first.id, first.fence, outcomes(first, DeliveryState.DELIVERED)[:1])
    found = house.pacs
    assert (found.transfers, found.running, found.instances, found.bytes) == (2, 1, 4, 4000)
    assert (found.instances_per_s, found.bytes_per_s, found.eta_s) == (0.1, 100.0, 40.0)
    assert found.oldest_ms is not None
    assert found.oldest_ms < MINUTE_MS
    _finish(house.ledger, first)
    assert house.pacs.instances_per_s == pytest.approx(0.2)
    assert house.pacs.last_delivered_ms is not None


def test_what_is_behind_an_open_breaker_waits_for_the_probe_and_is_not_under_way(house: House) -> None:
    """So whoever follows a job knows that nothing moves, and why."""
    house.ledger.create_job("job", kind="send", expected=2)
    for number in (1, 2):
        house.ledger.register([arrival(number, study_instance_uid=f"1.2.{number}", job_id="job")])
    group(house.ledger)
    assert house.ledger.job_progress("job").active == 2
    house.fails(3)
    progress = house.ledger.job_progress("job")
    assert progress.active == 0
    (waiting,) = progress.waiting
    assert (waiting.transfers, waiting.attempts, waiting.reason) == (2, 3, "no connection")
    assert 2000 < waiting.due_in_ms <= 2500
    assert [row.transfers for row in house.ledger.waiting()] == [2]
