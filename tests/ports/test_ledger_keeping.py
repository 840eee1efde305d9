"""What a person has still to decide about keeps an instance, and what waits for the archive is counted: on both databases."""

from __future__ import annotations

from dicomrelay.ledger import Ledger, Stage
from dicomrelay.ledger.values import StageResult, WaitingStage
from dicomrelay.ledger.values_operations import Subject, SubjectKind
from tests.support.ledger import MINUTE_MS, PACS, arrival


def test_a_hold_keeps_the_study_or_what_the_job_was_to_send(ledger: Ledger) -> None:
    """Of what is asked about, and no other; for one destination as for all."""
    one, two, job = (
        arrival(1),
        arrival(2, study_instance_uid="9.9"),
        arrival(3, study_instance_uid="8.8", job_id="j"),
    )
    ledger.create_job("j", kind="send", expected=1)
    ledger.register([one, two, job])
    uids = [each.sop_instance_uid for each in (one, two, job)]
    before = ledger.inventory.held(uids)
    study = Subject(SubjectKind.STUDY, one.study_instance_uid)
    ledger.operations.hold(study, destination=PACS.name)
    of_study = ledger.inventory.held(uids)
    ledger.operations.hold(Subject(SubjectKind.JOB, "j"))

    assert (before, of_study) == (set(), {one.sop_instance_uid})
    assert ledger.inventory.held(uids) == {one.sop_instance_uid, job.sop_instance_uid}
    assert ledger.inventory.held([two.sop_instance_uid]) == set()
    ledger.operations.release(study)
    assert ledger.inventory.held(uids) == {job.sop_instance_uid}


def test_a_cancel_is_no_hold(ledger: Ledger) -> None:
    """It ends what is open, and keeps nothing."""
    one = arrival(1)
    ledger.register([one])
    ledger.operations.cancel(Subject(SubjectKind.STUDY, one.study_instance_uid))
    assert ledger.inventory.held([one.sop_instance_uid]) == set()


def test_what_is_set_aside_is_in_conflict(ledger: Ledger) -> None:
    """Under the UID of the one that is kept."""
    one, two = arrival(1), arrival(2)
    other = arrival(3, sop_instance_uid=one.sop_instance_uid)
    ledger.register([one, two, other])
    assert ledger.inventory.in_conflict([one.sop_instance_uid, two.sop_instance_uid]) == {
        one.sop_instance_uid
    }


def test_what_waits_for_the_archive_is_counted_with_its_reason(ledger: Ledger) -> None:
    """What was not tried yet does not wait."""
    ledger.register([arrival(number) for number in range(3)])
    before = ledger.inventory.stages_waiting()
    claimed = ledger.claim_instances(Stage.ARCHIVE, host="gateway-1", owner="me", limit=2, lease_ms=MINUTE_MS)
    assert claimed is not None
    results = [
        StageResult(item.instance.instance_id, done=False, reason="it is away", retry_in_ms=MINUTE_MS)
        for item in claimed.items
    ]
    ledger.finish_stage(claimed, results)
    (waiting,) = ledger.inventory.stages_waiting()

    assert before == ()
    assert 0 < waiting.due_in_ms <= MINUTE_MS
    assert waiting == WaitingStage(Stage.ARCHIVE, 2, 1, "it is away", waiting.due_in_ms)
