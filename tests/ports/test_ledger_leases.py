"""Leases whose holder is dead are ended, and nobody else's, on both databases."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import create_engine, text

from dicomrelay.ledger import DeliveryState, Ledger, Stage, StageResult, TransferState
from dicomrelay.ledger.engine import database_url
from dicomrelay.ledger.leases import Ended
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

_HOST = "gateway-1"


def make_due(url: str) -> None:
    """As if the destination had had its time."""
    engine = create_engine(database_url(url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE verifications SET due_at = 1 WHERE due_at IS NOT NULL"))
    engine.dispose()


def test_a_transfer_of_a_dead_runner_is_due_and_the_next_has_a_higher_fence(ledger: Ledger) -> None:
    """What the dead one delivered stays delivered; what comes of it later is known by its fence."""
    first = claimed_transfer(ledger, [arrival(1), arrival(2)])
    ledger.record_outcomes(first.id, first.fence, outcomes(first, DeliveryState.DELIVERED)[:1])
    assert not due_ids(ledger)
    assert ledger.leases.owners(host=_HOST) == {"runner"}

    assert ledger.leases.end({"runner"}, host=_HOST) == Ended(transfers=(first.id,))

    assert due_ids(ledger) == [first.id]
    assert ledger.leases.owners(host=_HOST) == set()
    assert ledger.leases.end({"runner"}, host=_HOST) == Ended()
    second = claim(ledger, first.id)
    assert (second.fence, second.attempt) == (first.fence + 1, 2)
    assert [each.instance.sop_instance_uid for each in second.deliveries] == ["1.2.3.2"]
    assert not ledger.renew_transfer(first.id, first.fence, lease_ms=MINUTE_MS)


def test_the_leases_of_others_stand(ledger: Ledger) -> None:
    """Those that live, and those of whom nobody knows."""
    ledger.register([arrival(1), arrival(2, study_instance_uid="1.2.2")])
    group(ledger)
    one, other = due_ids(ledger)
    assert ledger.claim_transfer(one, owner="dead", lease_ms=MINUTE_MS)
    mine = ledger.claim_transfer(other, owner="alive", lease_ms=MINUTE_MS)
    assert mine is not None
    assert ledger.leases.owners(host=_HOST) == {"dead", "alive"}

    assert not ledger.leases.end(set(), host=_HOST)
    assert ledger.leases.end({"dead", "never seen"}, host=_HOST).transfers == (one,)

    assert due_ids(ledger) == [one]
    assert ledger.renew_transfer(mine.id, mine.fence, lease_ms=MINUTE_MS)


def test_what_only_waits_for_its_next_attempt_goes_on_waiting(ledger: Ledger) -> None:
    """Its last runner may be dead by now: it holds nothing."""
    mine = claimed_transfer(ledger, [arrival(1)])
    ledger.record_outcomes(mine.id, mine.fence, outcomes(mine, DeliveryState.FAILED))
    state = ledger.finish_transfer(mine.id, mine.fence, retry_in_ms=MINUTE_MS, reason="busy")
    assert state is TransferState.WAITING

    assert not ledger.leases.end({"runner", ""}, host=_HOST)
    assert not due_ids(ledger)


def test_stages_of_a_dead_worker_are_claimed_again_and_its_results_are_not_taken(ledger: Ledger) -> None:
    """Archiving only of this host's spool, frames of anybody's."""
    ledger.register([arrival(1), arrival(2, host="gateway-2")])
    dead = ledger.claim_instances(Stage.ARCHIVE, host=_HOST, owner="dead", limit=10, lease_ms=MINUTE_MS)
    elsewhere = ledger.claim_instances(
        Stage.ARCHIVE, host="gateway-2", owner="dead", limit=10, lease_ms=MINUTE_MS
    )
    assert dead is not None
    assert elsewhere is not None
    assert archive_all(ledger) is None

    assert ledger.leases.end({"dead"}, host=_HOST) == Ended(stages=1)

    assert archive_all(ledger) is not None
    late = [StageResult(item.instance.instance_id, done=True, archive_path="late.dcm") for item in dead.items]
    assert ledger.finish_stage(dead, late) == 0
    assert ledger.renew_stage(elsewhere, lease_ms=MINUTE_MS)

    frames = ledger.claim_instances(Stage.FRAMES, host=_HOST, owner="dead", limit=10, lease_ms=MINUTE_MS)
    assert frames is not None
    assert ledger.leases.owners(host=_HOST) == {"dead"}
    assert ledger.leases.end({"dead"}, host=_HOST) == Ended(stages=1)
    assert ledger.claim_instances(Stage.FRAMES, host=_HOST, owner="next", limit=10, lease_ms=MINUTE_MS)


def test_a_verification_of_a_dead_worker_is_asked_again(ledger: Ledger, ledger_url: str) -> None:
    """The destination is free for it at once; the dead one's answer is nobody's."""
    ledger.sync_destinations([replace(PACS, verification="find")])
    mine = claimed_transfer(ledger, [arrival(1)])
    ledger.record_outcomes(mine.id, mine.fence, outcomes(mine, DeliveryState.DELIVERED))
    ledger.finish_transfer(mine.id, mine.fence, retry_in_ms=None)
    make_due(ledger_url)
    (due,) = ledger.verifications.due(limit=10)
    dead = ledger.verifications.claim(due.id, owner="dead", lease_ms=MINUTE_MS)
    assert dead is not None
    assert not ledger.verifications.due(limit=10)

    assert ledger.leases.end({"dead"}, host=_HOST) == Ended(verifications=(dead.id,))

    (again,) = ledger.verifications.due(limit=10)
    second = ledger.verifications.claim(again.id, owner="next", lease_ms=MINUTE_MS)
    assert second is not None
    assert second.fence == dead.fence + 1
    assert not ledger.verifications.renew(dead.id, dead.fence, lease_ms=MINUTE_MS)
