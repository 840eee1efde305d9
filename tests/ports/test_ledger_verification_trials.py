"""Verification behind a breaker: it is the trial at the probe, so that nothing waits for ever; on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, text

from dicomrelay.ledger import DeliveryState, Ledger, TransferState
from dicomrelay.ledger.breaker import BreakerPolicy, BreakerState
from dicomrelay.ledger.engine import database_url
from dicomrelay.ledger.flow_summary import DestinationFlow
from dicomrelay.ledger.values_operations import Subject, SubjectKind
from dicomrelay.ledger.values_verification import ClaimedVerification
from tests.support.ledger import (
    MINUTE_MS,
    PACS,
    archive_all,
    arrival,
    claim,
    claimed_transfer,
    due_ids,
    group,
    outcomes,
)

_POLICY = BreakerPolicy(failures=3, initial_s=5, maximum_s=60)


class House:
    """A destination that is verified, and a hand on the clock."""

    def __init__(self, ledger: Ledger, url: str) -> None:
        self.ledger = ledger
        self._engine = create_engine(database_url(url))
        ledger.sync_destinations([replace(PACS, verification="find")])

    def close(self) -> None:
        self._engine.dispose()

    def sql(self, statement: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(text(statement))

    def deliver(self, number: int) -> str:
        """A transfer of one instance, of a study of its own, delivered."""
        claimed = claimed_transfer(self.ledger, [arrival(number, study_instance_uid=f"1.2.{number}")])
        assert self.ledger.record_outcomes(
            claimed.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED)
        )
        self.ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=None)
        archive_all(self.ledger)
        self.sql("UPDATE verifications SET due_at = 1 WHERE due_at IS NOT NULL")
        return claimed.id

    def ready(self, number: int) -> str:
        """A transfer that is due."""
        self.ledger.register([arrival(number, study_instance_uid=f"1.2.{number}")])
        assert group(self.ledger) == 1
        (made,) = due_ids(self.ledger)
        return made

    def fails(self, times: int = 1) -> BreakerState:
        for _ in range(times):
            state = self.ledger.flow.failed("pacs", policy=_POLICY, jitter=0.0, error="no connection")
        return state

    def probe_now(self) -> None:
        self.sql("UPDATE destinations SET probe_at = probe_at - 100000")

    def lease_ends(self) -> None:
        self.sql("UPDATE verifications SET due_at = 1 WHERE state = 'asking'")

    @property
    def due(self) -> list[str]:
        return [each.id for each in self.ledger.verifications.due(limit=10)]

    def take(self) -> ClaimedVerification:
        (due,) = self.due
        claimed = self.ledger.verifications.claim(due, owner="runner", lease_ms=MINUTE_MS)
        assert claimed is not None
        return claimed

    @property
    def pacs(self) -> DestinationFlow:
        (flow,) = self.ledger.flow.destinations("pacs")
        return flow


_ALL = Subject(SubjectKind.ALL)


@pytest.fixture
def house(ledger: Ledger, ledger_url: str) -> Iterator[House]:
    made = House(ledger, ledger_url)
    yield made
    made.close()


def test_a_verification_is_not_asked_before_the_probe_and_is_the_trial_then(house: House) -> None:
    """With nothing to send nobody else would ever make it."""
    house.deliver(1)
    (verification,) = house.due
    assert house.fails(3) is BreakerState.OPEN
    assert house.due == []
    assert house.ledger.verifications.claim(verification, owner="r", lease_ms=MINUTE_MS) is None

    house.probe_now()
    asked = house.take()
    assert asked.trial
    assert house.pacs.breaker == BreakerState.HALF_OPEN


def test_one_trial_at_a_time_whoever_makes_it(house: House) -> None:
    """A verification's keeps transfers out, and a transfer's verifications; what answers opens the way for both."""
    house.deliver(1)
    transfer = house.ready(2)
    house.fails(3)
    house.probe_now()
    asked = house.take()
    assert house.ledger.claim_transfer(transfer, owner="r", lease_ms=MINUTE_MS) is None
    assert due_ids(house.ledger) == []
    assert house.ledger.flow.reached("pacs")
    assert due_ids(house.ledger) == [transfer]
    assert house.ledger.verifications.hand_back(asked.id, asked.fence, retry_in_ms=0, reason="x")

    house.fails(3)
    house.probe_now()
    (due,) = house.due
    assert claim(house.ledger, transfer).trial
    assert house.due == []
    assert house.ledger.verifications.claim(due, owner="r", lease_ms=MINUTE_MS) is None
    house.probe_now()  # the runner of the trial lives: its lease says so
    assert house.ledger.verifications.claim(due, owner="r", lease_ms=MINUTE_MS) is None


def test_an_outage_uses_up_no_attempts_of_a_verification(house: House) -> None:
    """However long: the probe is the only clock."""
    house.deliver(1)
    house.fails(3)
    for wait_s in (5, 10, 20, 30, 30):
        house.probe_now()
        asked = house.take()
        assert (asked.trial, asked.attempt) == (True, 1)
        assert house.fails() is BreakerState.OPEN
        assert house.ledger.verifications.hand_back(
            asked.id, asked.fence, retry_in_ms=0, reason="no connection", counted=False
        )
        assert house.pacs.probe_in_ms is not None
        assert round(house.pacs.probe_in_ms / 1000) == wait_s
        assert house.due == []
    assert house.ledger.needs_attention() == []


def test_a_runner_that_dies_in_its_trial_leaves_the_next_one_to_another(house: House) -> None:
    house.deliver(1)
    house.fails(3)
    house.probe_now()
    first = house.take()
    house.lease_ends()
    assert house.due == []
    house.probe_now()
    second = house.take()
    assert (second.id, second.trial) == (first.id, True)


def test_a_closed_breaker_makes_no_trials(house: House) -> None:
    """Not even where contacts failed: verification has its own schedule then."""
    house.deliver(1)
    assert house.fails(2) is BreakerState.CLOSED
    assert not house.take().trial
    assert house.pacs.breaker == BreakerState.CLOSED


def test_who_is_verified_no_more_is_let_go_whatever_the_breaker_says(house: House) -> None:
    """Nobody is asked for that."""
    transfer = house.deliver(1)
    house.fails(3)
    house.ledger.sync_destinations([PACS])
    asked = house.take()
    assert (asked.method, asked.trial) == ("none", False)
    assert house.pacs.breaker == BreakerState.OPEN
    assert house.ledger.verifications.take_its_word(transfer) == 1
    assert house.due == []
    assert house.ledger.releasable(host="gateway-1", limit=10) == ["spool-000001"]


def test_an_open_breaker_with_nothing_that_waits_closes_with_what_is_tried_next(house: House) -> None:
    """What needs attention waits for a person: `jobs retry` makes the trial, at once."""
    transfer = house.ready(1)
    claimed = claim(house.ledger, transfer)
    house.fails(3)
    state = house.ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=None, reason="no connection")
    assert state is TransferState.NEEDS_ATTENTION
    assert due_ids(house.ledger) == []
    house.ledger.operations.retry(_ALL)
    assert claim(house.ledger, transfer).trial
    assert house.ledger.flow.reached("pacs")
    assert house.pacs.breaker == BreakerState.CLOSED
