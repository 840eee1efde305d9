"""Jobs, studies and what needs attention: the figures that people see."""

from __future__ import annotations

import pytest

from dicomrelay.errors import LedgerError
from dicomrelay.ledger import AttentionKind, DeliveryState, DestinationInfo, DestinationKind, Ledger, Verdict
from tests.support.ledger import PACS, archive_all, arrival, claim, claimed_transfer, due_ids, group, outcomes

JOB = "job-1"


def test_a_job_counts_what_was_submitted_and_what_became_of_it(ledger: Ledger) -> None:
    """New, duplicate and conflicting items; finished when every item is known and nothing is left to try."""
    ledger.register([arrival(1), arrival(9, study_instance_uid="1.2.9")])
    ledger.create_job(JOB, kind="send", expected=4)
    assert not ledger.job_progress(JOB).finished
    items = [
        arrival(1, job_id=JOB, spool_id="a"),
        arrival(1, job_id=JOB, spool_id="b", digest="f" * 64),
        arrival(2, job_id=JOB, spool_id="c", study_instance_uid="1.2.2"),
    ]
    ledger.register(items)
    ledger.register(items)  # a replay counts once
    progress = ledger.job_progress(JOB)
    assert (progress.registered, progress.expected, progress.finished) == (3, 4, False)
    ledger.register([arrival(3, job_id=JOB, spool_id="d", study_instance_uid="1.2.2")])
    progress = ledger.job_progress(JOB)
    assert progress.verdicts == {Verdict.DUPLICATE: 1, Verdict.CONFLICT: 1, Verdict.NEW: 2}
    assert [(study.study_instance_uid, study.instances) for study in progress.studies] == [
        ("1.2.1", 1),
        ("1.2.2", 2),
    ]
    assert (progress.open, progress.delivered, progress.failed, progress.finished) == (3, 0, 1, False)


def test_a_job_is_finished_when_its_own_deliveries_are(ledger: Ledger) -> None:
    """Deliveries of rules for the same instances are not the job's affair."""
    ledger.register([arrival(1), arrival(2)])
    ledger.create_job(JOB, kind="send", expected=2)
    ledger.register([arrival(1, job_id=JOB, spool_id="a"), arrival(2, job_id=JOB, spool_id="b")])
    group(ledger)
    claimed = [claim(ledger, transfer_id) for transfer_id in due_ids(ledger)]
    (mine,) = [transfer for transfer in claimed if transfer.job_id == JOB]
    first, second = outcomes(mine, DeliveryState.WARNING, DeliveryState.REFUSED)
    ledger.record_outcomes(mine.id, mine.fence, [first])
    assert (ledger.job_progress(JOB).open, ledger.job_progress(JOB).delivered) == (1, 1)
    ledger.record_outcomes(mine.id, mine.fence, [second])
    ledger.finish_transfer(mine.id, mine.fence, retry_in_ms=None)
    archive_all(ledger)
    progress = ledger.job_progress(JOB, with_instances=True)
    assert progress.finished
    assert (progress.delivered, progress.failed, progress.archived) == (1, 1, 2)
    (row,) = progress.destinations
    assert (row.destination, row.warnings, row.refused, row.bytes, row.delivered_bytes) == (
        "pacs",
        1,
        1,
        2000,
        1000,
    )
    assert [
        (item.spool_id, item.state, item.status, item.verdict, item.attempts) for item in progress.instances
    ] == [
        ("a", DeliveryState.WARNING, 0xB000, Verdict.DUPLICATE, 1),
        ("b", DeliveryState.REFUSED, 0xC000, Verdict.DUPLICATE, 1),
    ]


def test_a_job_that_gave_up_is_finished_and_says_so(ledger: Ledger) -> None:
    """Nothing will be tried again by itself: the command that waits for it must end."""
    ledger.create_job(JOB, kind="send", expected=1)
    claimed = claimed_transfer(ledger, [arrival(1, job_id=JOB)])
    ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=0)
    assert not ledger.job_progress(JOB).finished
    again = claim(ledger, claimed.id)
    ledger.finish_transfer(claimed.id, again.fence, retry_in_ms=None)
    progress = ledger.job_progress(JOB)
    assert (progress.finished, progress.failed) == (True, 1)


def test_an_item_of_a_job_that_goes_nowhere_has_a_row_without_destination(ledger: Ledger) -> None:
    """Archive only: one row for each item all the same."""
    ledger.create_job(JOB, kind="send", expected=1)
    ledger.register([arrival(1, job_id=JOB, destinations=())])
    progress = ledger.job_progress(JOB, with_instances=True)
    assert progress.finished
    assert [(item.destination, item.state) for item in progress.instances] == [("", None)]
    assert ledger.job_progress(JOB).instances == ()


def test_a_job_whose_making_was_lost_is_known_by_its_items(ledger: Ledger) -> None:
    """The database was rebuilt from the spool, or the arrivals came first."""
    ledger.register([arrival(1, job_id=JOB)])
    progress = ledger.job_progress(JOB)
    assert (progress.kind, progress.expected, progress.registered) == ("recovered", 0, 1)
    ledger.create_job(JOB, kind="send", expected=5)
    progress = ledger.job_progress(JOB)
    assert (progress.kind, progress.expected) == ("send", 5)


def test_a_job_that_is_not_there_is_an_error(ledger: Ledger) -> None:
    """Named in the message."""
    with pytest.raises(LedgerError, match="There is no job nothing"):
        ledger.job_progress("nothing")


def test_studies_come_newest_first_with_every_destination(ledger: Ledger) -> None:
    """One row a study; the deliveries by destination and state."""
    ledger.register([arrival(1)])
    group(ledger)
    claimed = claim(ledger, due_ids(ledger)[0])
    ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.FAILED))
    ledger.register(
        [
            arrival(
                2,
                study_instance_uid="1.2.2",
                series_instance_uid=f"1.2.2.{n}",
                spool_id=f"{n}",
                sop_instance_uid=f"7.{n}",
            )
            for n in range(3)
        ]
    )
    studies = {study.study_instance_uid: study for study in ledger.studies()}
    assert set(studies) == {"1.2.1", "1.2.2"}
    (row,) = studies["1.2.1"].destinations
    assert (row.failed, row.pending, row.delivered) == (1, 0, 0)
    assert (studies["1.2.2"].series, studies["1.2.2"].instances) == (3, 3)
    assert studies["1.2.2"].first_received_at_ms <= studies["1.2.2"].last_received_at_ms
    times = [study.last_received_at_ms for study in ledger.studies()]
    assert times == sorted(times, reverse=True)
    assert len(ledger.studies(limit=1)) == 1
    assert [study.study_instance_uid for study in ledger.studies(study_instance_uid="1.2.2")] == ["1.2.2"]
    assert ledger.studies(study_instance_uid="9.9") == ()


def test_what_needs_attention_is_listed_up_to_the_limit(ledger: Ledger) -> None:
    """Of each kind: a destination that refuses a hundred thousand does not fill the screen, nor the memory."""
    claimed = claimed_transfer(ledger, [arrival(number) for number in range(20)])
    ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.REFUSED))
    ledger.register([arrival(number, spool_id=f"other{number}", digest="f" * 64) for number in range(7)])
    listed = ledger.needs_attention(limit=5)
    assert [row.kind for row in listed] == [AttentionKind.CONFLICT] * 5 + [AttentionKind.REFUSED] * 5
    assert len(ledger.needs_attention()) == 27


def test_many_of_one_kind_hide_nothing_of_another(ledger: Ledger) -> None:
    """In the list, in the figures, and so in alerts: one that is not told any more is told to be over."""
    claimed = claimed_transfer(ledger, [arrival(number) for number in range(20)])
    ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.REFUSED))
    ledger.register([arrival(50, study_instance_uid="1.2.50", archive=False, destinations=())])
    assert {row.kind for row in ledger.needs_attention(limit=5)} == {
        AttentionKind.REFUSED,
        AttentionKind.UNROUTED,
    }


def test_destinations_are_written_over_and_never_removed(ledger: Ledger) -> None:
    """One that left the settings may have open deliveries: its address stays known."""
    ad_hoc = DestinationInfo("PACS@10.0.0.9:104", "PACS", "10.0.0.9", 104, kind=DestinationKind.AD_HOC)
    ledger.sync_destinations([ad_hoc])
    moved = DestinationInfo("pacs", "PACS2", "10.0.0.10", 11112, associations=7, calling_ae_title="US")
    ledger.sync_destinations([PACS, moved])
    assert ledger.destination("pacs") == moved
    assert ledger.destination(ad_hoc.name) == ad_hoc
    ledger.sync_destinations([])
    assert ledger.destination("pacs") == moved


def test_studies_are_listed_a_page_at_a_time_and_by_the_beginning_of_their_uid(ledger: Ledger) -> None:
    """Those of one moment too: no study is on two pages, and none on no page."""
    uids = [f"1.2.{number}" for number in (1, 2, 3, 10, 11)]
    ledger.register([arrival(number, study_instance_uid=uid) for number, uid in enumerate(uids)])
    found: list[str] = []
    after = None
    while page := ledger.studies(limit=2, after=after):
        found += [study.study_instance_uid for study in page]
        after = page[-1].last_received_at_ms, page[-1].study_instance_uid
    assert sorted(found) == sorted(uids)
    assert {study.study_instance_uid for study in ledger.studies(beginning="1.2.1")} == {
        "1.2.1",
        "1.2.10",
        "1.2.11",
    }
    assert ledger.studies(beginning="1_2") == ()
