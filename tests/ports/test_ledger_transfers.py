"""Transfers: leases, fences, outcomes and every state they lead to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import create_engine, text

from dicomrelay.errors import LedgerError
from dicomrelay.ledger import (
    AttentionKind,
    ClaimedTransfer,
    DeliveryOutcome,
    DeliveryState,
    Ledger,
    TransferState,
)
from dicomrelay.ledger.engine import database_url
from tests.support.ledger import MINUTE_MS, PACS, arrival, claim, claimed_transfer, due_ids, group, outcomes

DELIVERED, WARNING = DeliveryState.DELIVERED, DeliveryState.WARNING
FAILED, REFUSED = DeliveryState.FAILED, DeliveryState.REFUSED


@pytest.fixture
def two(ledger: Ledger) -> ClaimedTransfer:
    """A claimed transfer of two instances."""
    return claimed_transfer(ledger, [arrival(1), arrival(2)])


def test_a_claim_brings_everything_that_is_needed_to_send(ledger: Ledger) -> None:
    """Address, fence, attempt, and the facts of each instance, in the order of arrival."""
    ledger.register([arrival(2, archive=False), arrival(1, archive=False)])
    group(ledger)
    claimed = claim(ledger, due_ids(ledger)[0])
    assert (claimed.destination, claimed.address) == ("pacs", PACS)
    assert (claimed.fence, claimed.attempt, claimed.study_instance_uid) == (1, 1, "1.2.1")
    assert [delivery.instance.sop_instance_uid for delivery in claimed.deliveries] == ["1.2.3.2", "1.2.3.1"]
    facts = claimed.deliveries[0].instance
    assert (facts.data_set_offset, facts.data_set_bytes, facts.digest) == (900, 1000, f"{2:064x}")
    assert (facts.spool_id, facts.host, facts.archive_path, facts.source_path) == (
        "spool-000002",
        "gateway-1",
        "",
        "",
    )


def test_a_leased_transfer_cannot_be_claimed(ledger: Ledger, two: ClaimedTransfer) -> None:
    """Invariant 5: a second runner finds the claim and stops. It is not due either."""
    assert ledger.claim_transfer(two.id, owner="other", lease_ms=MINUTE_MS) is None
    assert due_ids(ledger) == []


def test_what_is_not_there_cannot_be_claimed(ledger: Ledger) -> None:
    """A wake-up for a transfer of a database that was replaced does nothing."""
    assert ledger.claim_transfer("no such", owner="runner", lease_ms=MINUTE_MS) is None


def test_an_expired_lease_can_be_claimed_with_the_next_fence(ledger: Ledger) -> None:
    """The runner died: due at once when its lease ends, one fence and one attempt later."""
    first = claimed_transfer(ledger, [arrival(1)], lease_ms=0)
    assert due_ids(ledger) == [first.id]
    second = claim(ledger, first.id)
    assert (second.fence, second.attempt) == (first.fence + 1, first.attempt + 1)
    assert len(second.deliveries) == 1


def test_a_lease_is_renewed_by_its_holder_only(ledger: Ledger) -> None:
    """Renewing makes an expired lease live again, as long as nobody else has claimed."""
    first = claimed_transfer(ledger, [arrival(1)], lease_ms=-1)
    assert ledger.renew_transfer(first.id, first.fence, lease_ms=MINUTE_MS)
    assert ledger.claim_transfer(first.id, owner="other", lease_ms=MINUTE_MS) is None
    assert not ledger.renew_transfer(first.id, first.fence + 1, lease_ms=MINUTE_MS)
    assert not ledger.renew_transfer("no such", 1, lease_ms=MINUTE_MS)


def test_a_finished_transfer_has_no_lease_to_renew(ledger: Ledger, two: ClaimedTransfer) -> None:
    """Finishing gives the lease back."""
    ledger.record_outcomes(two.id, two.fence, outcomes(two, DELIVERED))
    ledger.finish_transfer(two.id, two.fence, retry_in_ms=None)
    assert not ledger.renew_transfer(two.id, two.fence, lease_ms=MINUTE_MS)


@pytest.mark.parametrize(
    ("states", "retry_in_ms", "expected"),
    [
        ((DELIVERED, DELIVERED), None, TransferState.DONE),
        ((DELIVERED, WARNING), 0, TransferState.DONE),
        ((DELIVERED, FAILED), 0, TransferState.WAITING),
        ((DELIVERED, FAILED), None, TransferState.NEEDS_ATTENTION),
        ((DELIVERED, REFUSED), 0, TransferState.NEEDS_ATTENTION),
        ((FAILED, REFUSED), 0, TransferState.WAITING),
        ((REFUSED, REFUSED), None, TransferState.NEEDS_ATTENTION),
    ],
)
def test_how_a_transfer_finishes(
    ledger: Ledger,
    two: ClaimedTransfer,
    states: tuple[DeliveryState, ...],
    retry_in_ms: int | None,
    expected: TransferState,
) -> None:
    """The table of docs/design/ledger.md: by what is left, and whether another attempt is asked for."""
    assert ledger.record_outcomes(two.id, two.fence, outcomes(two, *states))
    assert ledger.finish_transfer(two.id, two.fence, retry_in_ms=retry_in_ms, reason="why") is expected
    assert due_ids(ledger) == ([two.id] if expected is TransferState.WAITING else [])


def test_a_transfer_without_any_outcome_waits_or_needs_attention(ledger: Ledger) -> None:
    """No association could be made: everything is still pending."""
    first = claimed_transfer(ledger, [arrival(1)])
    assert ledger.finish_transfer(first.id, first.fence, retry_in_ms=0) is TransferState.WAITING
    second = claim(ledger, first.id)
    assert [delivery.attempts for delivery in second.deliveries] == [0]
    assert ledger.finish_transfer(first.id, second.fence, retry_in_ms=None) is TransferState.NEEDS_ATTENTION
    (listed,) = ledger.needs_attention()
    assert (listed.kind, listed.destination, listed.transfer_id) == (AttentionKind.GAVE_UP, "pacs", first.id)


def test_a_transfer_that_waits_is_not_due_before_its_time(ledger: Ledger, two: ClaimedTransfer) -> None:
    """The time of the next attempt is kept by the database's clock."""
    assert ledger.finish_transfer(two.id, two.fence, retry_in_ms=MINUTE_MS) is TransferState.WAITING
    assert due_ids(ledger) == []
    assert ledger.claim_transfer(two.id, owner="eager", lease_ms=MINUTE_MS) is None


def test_a_retry_takes_only_what_is_not_delivered(ledger: Ledger, two: ClaimedTransfer) -> None:
    """Invariant 7: never the whole again, and refused instances not by themselves."""
    ledger.register([arrival(3)])
    ledger.record_outcomes(two.id, two.fence, outcomes(two, WARNING, FAILED))
    ledger.finish_transfer(two.id, two.fence, retry_in_ms=0)
    again = claim(ledger, two.id)
    assert [(d.instance.sop_instance_uid, d.attempts) for d in again.deliveries] == [("1.2.3.2", 1)]
    assert again.attempt == 2


def test_what_was_delivered_stays_delivered(ledger: Ledger, two: ClaimedTransfer) -> None:
    """A later failure of the same instance does not take it back, in one batch or in two."""
    first, second = outcomes(two, DELIVERED, DELIVERED)
    failed = DeliveryOutcome(first.instance_id, FAILED, reason="lost")
    assert ledger.record_outcomes(two.id, two.fence, [first, failed])
    assert ledger.record_outcomes(two.id, two.fence, [failed, second])
    assert ledger.finish_transfer(two.id, two.fence, retry_in_ms=0) is TransferState.DONE


@pytest.mark.parametrize("again", ["claimed again", "finished"])
def test_a_stale_fence_writes_nothing(
    ledger: Ledger, ledger_url: str, delivery_rows: Callable[[], list[tuple[object, ...]]], again: str
) -> None:
    """What the peer acknowledged to the late runner is an event; deliveries and the transfer stay as they are."""
    stale = claimed_transfer(ledger, [arrival(1), arrival(2)], lease_ms=0)
    if again == "claimed again":
        claim(ledger, stale.id)
        state = TransferState.RUNNING
    else:
        state = ledger.finish_transfer(stale.id, stale.fence, retry_in_ms=None)
    before = delivery_rows()
    assert not ledger.record_outcomes(stale.id, stale.fence, outcomes(stale, DELIVERED, FAILED))
    assert not ledger.renew_transfer(stale.id, stale.fence, lease_ms=MINUTE_MS)
    assert ledger.finish_transfer(stale.id, stale.fence, retry_in_ms=0) is state
    assert delivery_rows() == before
    engine = create_engine(database_url(ledger_url))
    with engine.connect() as connection:
        events = connection.execute(text("SELECT instance_id FROM events WHERE kind = 'late_outcome'")).all()
    engine.dispose()
    assert [row.instance_id for row in events] == [stale.deliveries[0].instance.instance_id]


@pytest.fixture
def delivery_rows(ledger_url: str) -> Callable[[], list[tuple[object, ...]]]:
    def read() -> list[tuple[object, ...]]:
        engine = create_engine(database_url(ledger_url))
        with engine.connect() as connection:
            query = "SELECT d.*, t.state, t.fence, t.due_at FROM deliveries d JOIN transfers t ON t.id = d.transfer_id ORDER BY 1"
            found = [tuple(row) for row in connection.execute(text(query))]
        engine.dispose()
        return found

    return read


def test_a_fence_is_good_until_somebody_else_claims(ledger: Ledger) -> None:
    """A lease that ran out over a slow instance loses no fact when nobody took the transfer."""
    late = claimed_transfer(ledger, [arrival(1)], lease_ms=-MINUTE_MS)
    assert ledger.record_outcomes(late.id, late.fence, outcomes(late, DELIVERED))
    assert ledger.finish_transfer(late.id, late.fence, retry_in_ms=None) is TransferState.DONE


def test_each_delivery_holds_its_facts(ledger: Ledger, two: ClaimedTransfer) -> None:
    """Invariant 6: attempt, status, association and bytes; also listed when it needs attention."""
    first, second = two.deliveries
    ledger.record_outcomes(
        two.id,
        two.fence,
        [
            DeliveryOutcome(
                first.instance.instance_id,
                REFUSED,
                status=0xC123,
                reason="no\0 thanks",
                association_id="out-7",
                sent_bytes=1000,
                duration_ms=12,
            ),
            DeliveryOutcome(second.instance.instance_id, FAILED, reason="connection lost"),
        ],
    )
    ledger.finish_transfer(two.id, two.fence, retry_in_ms=None, reason="gave\0 up")
    refused, gave_up = ledger.needs_attention()
    assert (refused.kind, refused.status, refused.reason) == (AttentionKind.REFUSED, 0xC123, "no? thanks")
    assert (gave_up.kind, gave_up.status, gave_up.reason) == (AttentionKind.GAVE_UP, None, "connection lost")
    (row,) = ledger.studies()[0].destinations
    assert (row.refused, row.gave_up, row.pending, row.failed) == (1, 1, 0, 0)


def test_a_transfer_that_needs_attention_can_be_opened_again(ledger: Ledger, two: ClaimedTransfer) -> None:
    """After somebody mended the peer: refused instances too, delivered ones not, attempts from the start."""
    ledger.record_outcomes(two.id, two.fence, outcomes(two, DELIVERED, REFUSED))
    assert not ledger.reopen_transfer(two.id)
    ledger.finish_transfer(two.id, two.fence, retry_in_ms=None)
    assert ledger.reopen_transfer(two.id)
    assert ledger.needs_attention() == []
    again = claim(ledger, two.id)
    assert [delivery.instance.sop_instance_uid for delivery in again.deliveries] == ["1.2.3.2"]
    assert (again.attempt, again.fence) == (1, 2)
    assert not ledger.reopen_transfer(two.id)
    ledger.record_outcomes(two.id, again.fence, outcomes(again, DELIVERED))
    assert ledger.finish_transfer(two.id, again.fence, retry_in_ms=None) is TransferState.DONE
    assert not ledger.reopen_transfer(two.id)


def test_nonsense_is_refused_and_nothing_written(
    ledger: Ledger, two: ClaimedTransfer, delivery_rows: Callable[[], list[tuple[object, ...]]]
) -> None:
    """An outcome that is pending, an instance of another transfer, a transfer that is not there."""
    before = delivery_rows()
    good = outcomes(two, DELIVERED)
    with pytest.raises(LedgerError, match="pending"):
        ledger.record_outcomes(
            two.id, two.fence, [*good, DeliveryOutcome(good[0].instance_id, DeliveryState.PENDING)]
        )
    with pytest.raises(LedgerError, match="has not all the instances"):
        ledger.record_outcomes(two.id, two.fence, [*good, DeliveryOutcome("stranger", DELIVERED)])
    for call in (
        lambda: ledger.record_outcomes("no such", 1, good),
        lambda: ledger.finish_transfer("no such", 1, retry_in_ms=None),
        lambda: ledger.reopen_transfer("no such"),
    ):
        with pytest.raises(LedgerError, match="There is no transfer no such"):
            call()
    assert delivery_rows() == before


def test_a_destination_runs_as_many_transfers_as_it_allows(ledger: Ledger) -> None:
    """pacs allows two: a third waits until one is finished, or its lease has ended."""
    ledger.register([arrival(number, study_instance_uid=f"1.2.{number}") for number in range(4)])
    assert group(ledger) == 4
    first, second = due_ids(ledger)
    one, two = claim(ledger, first), claim(ledger, second)
    assert due_ids(ledger) == []
    everything = {delivery.instance.study_instance_uid for c in (one, two) for delivery in c.deliveries}
    assert len(everything) == 2
    ledger.finish_transfer(first, one.fence, retry_in_ms=MINUTE_MS)
    (third,) = due_ids(ledger)
    claim(ledger, third, lease_ms=0)
    fourth = [transfer_id for transfer_id in due_ids(ledger) if transfer_id != third]
    assert len(fourth) <= 1
    assert ledger.claim_transfer(third, owner="other", lease_ms=MINUTE_MS) is not None
    assert due_ids(ledger) == []
