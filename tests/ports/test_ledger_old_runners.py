"""What comes from runners that have lost their transfer, and who is woken, let in or kept, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from dicomrelay.ledger import DeliveryState, Ledger, TransferState
from dicomrelay.ledger.breaker import BreakerPolicy
from dicomrelay.ledger.engine import database_url
from dicomrelay.ledger.values_operations import Subject, SubjectKind
from dicomrelay.ledger.values_verification import Finding, Found, VerificationRules, VerificationState
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

_ONE = BreakerPolicy(failures=1, initial_s=60.0, maximum_s=60.0)


@pytest.fixture
def sql(ledger_url: str) -> Callable[[str], list[Any]]:
    """What a statement gives; a single column as values."""

    def run(statement: str) -> list[Any]:
        engine = create_engine(database_url(ledger_url))
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            rows = [row[0] if len(row) == 1 else tuple(row) for row in result] if result.returns_rows else []
        engine.dispose()
        return rows

    return run


def test_a_runner_that_lost_its_transfer_does_not_hand_it_back(
    ledger: Ledger, sql: Callable[[str], list[Any]]
) -> None:
    """Another one runs it: it goes on."""
    old = claimed_transfer(ledger, [arrival(1)])
    sql("UPDATE transfers SET due_at = 1")
    new = claim(ledger, old.id)
    assert not ledger.flow.hand_back(old, "late")
    assert sql("SELECT state FROM transfers") == [TransferState.RUNNING.value]
    assert ledger.renew_transfer(new.id, new.fence, lease_ms=MINUTE_MS)
    assert ledger.flow.hand_back(new, "in time")
    assert due_ids(ledger) == [new.id]


@pytest.mark.parametrize("verb", ["hold", "cancel"])
def test_what_a_stopped_runner_still_brought_across_is_kept_until_it_is_verified(
    ledger: Ledger, sql: Callable[[str], list[Any]], verb: str
) -> None:
    """It counts as delivered, and as open: its bytes may be wanted again."""
    ledger.sync_destinations([replace(PACS, verification="find")])
    claimed = claimed_transfer(ledger, [arrival(1)])
    archive_all(ledger)
    getattr(ledger.operations, verb)(Subject(SubjectKind.TRANSFER, claimed.id))
    ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED))
    assert sql("SELECT all_deliveries, open_deliveries FROM instances") == [(1, 1)]
    assert ledger.releasable(host="gateway-1", limit=10) == []

    sql("UPDATE verifications SET due_at = 1")
    (due,) = ledger.verifications.due(limit=10)
    asked = ledger.verifications.claim(due.id, owner="r", lease_ms=MINUTE_MS)
    assert asked is not None
    settled = ledger.verifications.answer(
        asked.id, asked.fence, {"1.2.3.1": Found(Finding.THERE)}, VerificationRules()
    )
    assert settled is not None
    assert settled.state is VerificationState.VERIFIED
    assert sql("SELECT all_deliveries, open_deliveries FROM instances") == [(1, 0)]
    assert ledger.releasable(host="gateway-1", limit=10) == ["spool-000001"]


def test_of_two_that_were_told_of_verifications_of_one_destination_one_asks(
    ledger: Ledger, sql: Callable[[str], list[Any]]
) -> None:
    """Both are due, and known by their ids: the claim itself lets in one."""
    ledger.sync_destinations([replace(PACS, verification="find")])
    for number in (1, 2):
        claimed = claimed_transfer(ledger, [arrival(number, study_instance_uid=f"1.2.{number}")])
        ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED))
        ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=None)
    sql("UPDATE verifications SET due_at = 1")
    first, second = sql("SELECT id FROM verifications ORDER BY id")
    asked = ledger.verifications.claim(first, owner="r", lease_ms=MINUTE_MS)
    assert asked is not None
    assert ledger.verifications.claim(second, owner="s", lease_ms=MINUTE_MS) is None
    assert ledger.verifications.hand_back(asked.id, asked.fence, retry_in_ms=MINUTE_MS, reason="x")
    sql("UPDATE verifications SET due_at = 1")
    assert ledger.verifications.claim(second, owner="s", lease_ms=MINUTE_MS) is not None


@pytest.mark.parametrize("way", ["reached", "finished"])
def test_a_destination_that_is_back_wakes_what_waits_for_it_whatever_its_schedule_says(
    ledger: Ledger, way: str
) -> None:
    ledger.sync_destinations([PACS, replace(PACS, name="other", ae_title="OTHER")])
    ledger.register([arrival(number, destinations=("pacs",)) for number in range(4)])
    ledger.register([arrival(9, destinations=("other",), study_instance_uid="1.2.9")])
    assert group(ledger, batch_instances=2) == 3
    first, second = sorted(t.id for t in ledger.due(limit=9, destination="pacs").transfers)
    (elsewhere,) = (t.id for t in ledger.due(limit=9, destination="other").transfers)
    running = claim(ledger, first)
    for key in (second, elsewhere):
        claimed = claim(ledger, key)
        if key == second:
            ledger.flow.failed("pacs", policy=_ONE, jitter=0.0, error="no connection")
        ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=MINUTE_MS, reason="no connection")
    assert due_ids(ledger) == []
    if way == "reached":
        assert ledger.flow.reached("pacs")
    else:
        ledger.record_outcomes(running.id, running.fence, outcomes(running, DeliveryState.DELIVERED))
        ledger.finish_transfer(running.id, running.fence, retry_in_ms=None, delivered=2)
    assert due_ids(ledger) == [second]


def test_evidence_stays_while_its_last_row_is_young(ledger: Ledger, sql: Callable[[str], list[Any]]) -> None:
    """Of a study that came long ago, and was delivered just now."""
    claimed = claimed_transfer(ledger, [arrival(1)])
    archive_all(ledger)
    sql("UPDATE evidence SET at = 1")
    sql("UPDATE studies SET last_received_at = 1")
    ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED))
    ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=None)
    (before,) = sql("SELECT count(*) FROM evidence")
    ledger.retention.prune_evidence(age_ms=MINUTE_MS, limit=10)
    assert sql("SELECT count(*) FROM evidence") == [before]
    sql("UPDATE evidence SET at = 1")
    ledger.retention.prune_evidence(age_ms=MINUTE_MS, limit=10)
    assert sql("SELECT count(*) FROM evidence") == [0]
