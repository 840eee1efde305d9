"""Archive and frames under lease, and when a spool item may go."""

from __future__ import annotations

from dicomrelay.ledger import (
    AttentionKind,
    DeliveryState,
    Ledger,
    Stage,
    StageClaim,
    StageResult,
    TransferState,
)
from tests.support.ledger import (
    MINUTE_MS,
    archive_all,
    arrival,
    claim,
    claimed_transfer,
    due_ids,
    group,
    outcomes,
)

HOST = "gateway-1"


def take(ledger: Ledger, stage: Stage, *, limit: int = 100, lease_ms: int = MINUTE_MS) -> StageClaim:
    claimed = ledger.claim_instances(stage, host=HOST, owner="runner", limit=limit, lease_ms=lease_ms)
    assert claimed is not None
    return claimed


def ids(claimed: StageClaim) -> list[str]:
    return [item.instance.instance_id for item in claimed.items]


def test_archiving_is_claimed_once_in_bounded_batches(ledger: Ledger) -> None:
    """No instance in two claims, none left out."""
    ledger.register([arrival(number) for number in range(5)])
    first, second = take(ledger, Stage.ARCHIVE, limit=3), take(ledger, Stage.ARCHIVE, limit=3)
    assert (len(first.items), len(second.items)) == (3, 2)
    assert not set(ids(first)) & set(ids(second))
    assert first.items[0].attempt == 1
    assert ledger.claim_instances(Stage.ARCHIVE, host=HOST, owner="r", limit=3, lease_ms=1) is None


def test_a_host_archives_its_own_spool_only(ledger: Ledger) -> None:
    """No worker ever needs another host's disk."""
    ledger.register([arrival(1), arrival(2, host="gateway-2")])
    assert [item.instance.host for item in take(ledger, Stage.ARCHIVE).items] == [HOST]
    assert ledger.due(limit=10, host=HOST).archive_pending == 0
    assert ledger.due(limit=10).archive_pending == 1


def test_frames_come_after_the_archive_and_on_any_host(ledger: Ledger) -> None:
    """The archive is shared; its path comes with the claim."""
    ledger.register([arrival(1)])
    assert ledger.claim_instances(Stage.FRAMES, host=HOST, owner="r", limit=3, lease_ms=1) is None
    assert ledger.due(limit=10).frames_pending == 0
    archive_all(ledger)
    assert ledger.due(limit=10).frames_pending == 1
    claimed = ledger.claim_instances(Stage.FRAMES, host="elsewhere", owner="r", limit=3, lease_ms=MINUTE_MS)
    assert claimed is not None
    assert claimed.items[0].instance.archive_path == "1.2.3.1.dcm"
    assert ledger.finish_stage(claimed, [StageResult(ids(claimed)[0], done=True, frames=30)]) == 1
    (study,) = ledger.studies()
    assert (study.archived, study.framed, study.frames) == (1, 1, 30)
    assert ledger.due(limit=10).frames_pending == 0


def test_an_instance_without_frames_is_done_too(ledger: Ledger) -> None:
    """A structured report has no pixel data; that is no fault."""
    ledger.register([arrival(1)])
    archive_all(ledger)
    claimed = take(ledger, Stage.FRAMES)
    ledger.finish_stage(claimed, [StageResult(ids(claimed)[0], done=True, frames=0, reason="no pixel data")])
    (study,) = ledger.studies()
    assert (study.framed, study.frames) == (1, 0)
    assert ledger.needs_attention() == []


def test_a_stage_that_failed_is_tried_again_or_needs_attention(ledger: Ledger) -> None:
    """With a time for the next attempt, or without one."""
    ledger.register([arrival(1), arrival(2), arrival(3)])
    first = take(ledger, Stage.ARCHIVE)
    one, two, three = ids(first)
    ledger.finish_stage(
        first,
        [
            StageResult(one, done=False, reason="disk full", retry_in_ms=0),
            StageResult(two, done=False, reason="no such\0 thing"),
            StageResult(three, done=False, reason="later", retry_in_ms=MINUTE_MS),
        ],
    )
    again = take(ledger, Stage.ARCHIVE)
    assert (ids(again), again.items[0].attempt) == ([one], 2)
    (listed,) = ledger.needs_attention()
    assert (listed.kind, listed.instance_id, listed.reason) == (AttentionKind.ARCHIVE, two, "no such? thing")
    archive_all(ledger)
    ledger.finish_stage(again, [StageResult(one, done=True, archive_path="one.dcm")])
    frames = take(ledger, Stage.FRAMES)
    ledger.finish_stage(frames, [StageResult(one, done=False, reason="broken")])
    assert [row.kind for row in ledger.needs_attention()] == [AttentionKind.ARCHIVE, AttentionKind.FRAMES]


def test_a_stage_claim_that_expired_is_taken_over_and_the_late_one_writes_nothing(ledger: Ledger) -> None:
    """The claim's id is its fence."""
    ledger.register([arrival(1), arrival(2)])
    late = take(ledger, Stage.ARCHIVE, lease_ms=0)
    assert ledger.renew_stage(late, lease_ms=0)
    current = take(ledger, Stage.ARCHIVE, limit=1)
    result = [StageResult(key, done=True, archive_path="late.dcm") for key in ids(late)]
    assert ledger.finish_stage(late, result) == 1
    assert not ledger.renew_stage(late, lease_ms=MINUTE_MS)
    assert ledger.renew_stage(current, lease_ms=MINUTE_MS)
    (study,) = ledger.studies()
    assert study.archived == 1
    assert ledger.finish_stage(late, result) == 0


def test_a_spool_item_may_go_when_archived_and_delivered_everywhere(ledger: Ledger) -> None:
    """Rule 7: neither alone is enough, and a warning counts as delivered."""
    claimed = claimed_transfer(ledger, [arrival(1), arrival(2), arrival(3)])
    ledger.record_outcomes(
        claimed.id,
        claimed.fence,
        outcomes(claimed, DeliveryState.DELIVERED, DeliveryState.WARNING, DeliveryState.REFUSED),
    )
    assert ledger.releasable(host=HOST, limit=10) == []
    assert ledger.mark_released(["spool-000001"]) == []
    archive_all(ledger)
    assert ledger.releasable(host=HOST, limit=10) == ["spool-000001", "spool-000002"]
    assert ledger.releasable(host=HOST, limit=1) == ["spool-000001"]
    assert ledger.releasable(host="gateway-2", limit=10) == []
    assert ledger.due(limit=10).releasable == 2
    assert ledger.mark_released(["spool-000001", "spool-000003", "unknown"]) == ["spool-000001"]
    assert ledger.releasable(host=HOST, limit=10) == ["spool-000002"]
    assert ledger.released(["spool-000001", "spool-000002", "unknown"]) == ["spool-000001"]


def test_a_delivery_that_failed_and_then_arrived_is_counted_once(ledger: Ledger) -> None:
    """Two destinations, several attempts, outcomes said twice: open until the last one has it."""
    ledger.register([arrival(1, destinations=("pacs", "second"))])
    group(ledger)
    archive_all(ledger)
    for destination in ("pacs", "second"):
        (transfer,) = ledger.due(limit=10, destination=destination).transfers
        first = claim(ledger, transfer.id)
        ledger.record_outcomes(transfer.id, first.fence, outcomes(first, DeliveryState.FAILED))
        ledger.finish_transfer(transfer.id, first.fence, retry_in_ms=0)
        assert ledger.releasable(host=HOST, limit=10) == []
        again = claim(ledger, transfer.id)
        for _ in range(2):
            ledger.record_outcomes(transfer.id, again.fence, outcomes(again, DeliveryState.DELIVERED))
        assert ledger.finish_transfer(transfer.id, again.fence, retry_in_ms=0) is TransferState.DONE
    assert ledger.releasable(host=HOST, limit=10) == ["spool-000001"]


def test_without_an_archive_one_delivery_releases(ledger: Ledger) -> None:
    """When the archive does not want it, all of its destinations must have it, and there must be one."""
    claimed = claimed_transfer(ledger, [arrival(1, archive=False)])
    assert ledger.releasable(host=HOST, limit=10) == []
    ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED))
    assert ledger.releasable(host=HOST, limit=10) == ["spool-000001"]


def test_what_nobody_wants_is_listed_and_not_dropped(ledger: Ledger) -> None:
    """No destination and no archive: nothing is dropped silently."""
    ledger.register([arrival(1, archive=False, destinations=())])
    assert ledger.releasable(host=HOST, limit=10) == []
    (listed,) = ledger.needs_attention()
    assert (listed.kind, listed.spool_id) == (AttentionKind.UNROUTED, "spool-000001")


def test_archive_only_is_released_when_archived(ledger: Ledger) -> None:
    """A rule with send_to = []."""
    ledger.register([arrival(1, destinations=())])
    assert group(ledger) == 0
    archive_all(ledger)
    assert ledger.releasable(host=HOST, limit=10) == ["spool-000001"]
    assert ledger.needs_attention() == []


def test_a_new_delivery_between_asking_and_marking_keeps_the_item(ledger: Ledger) -> None:
    """The spool removes only what mark_released returns."""
    claimed = claimed_transfer(ledger, [arrival(1, archive=False)])
    ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED))
    asked = ledger.releasable(host=HOST, limit=10)
    ledger.register([arrival(1, spool_id="again", archive=False, job_id="job-1")])
    assert ledger.mark_released(asked) == []


def test_what_was_set_aside_is_never_released(ledger: Ledger) -> None:
    """It has no delivery to wait for, and must stay until a person decides."""
    ledger.register([arrival(1), arrival(1, spool_id="other", digest="f" * 64)])
    group(ledger)
    claimed = claim(ledger, due_ids(ledger)[0])
    ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED))
    archive_all(ledger)
    assert ledger.releasable(host=HOST, limit=10) == ["spool-000001"]
    assert ledger.mark_released(["other"]) == []


def test_a_lost_spool_item_can_be_replaced(ledger: Ledger) -> None:
    """The disk was lost and the modality sent again: the duplicate's file takes the place of the lost one."""
    (first,) = ledger.register([arrival(1)])
    ledger.register([arrival(1, spool_id="again", host="gateway-2")])
    ledger.replace_spool_item(first.instance_id, spool_id="again", host="gateway-2", data_set_offset=512)
    group(ledger)
    facts = claim(ledger, due_ids(ledger)[0]).deliveries[0].instance
    assert (facts.spool_id, facts.host, facts.data_set_offset) == ("again", "gateway-2", 512)
