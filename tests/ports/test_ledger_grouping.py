"""Studies that became quiet, and what is due: bounded batches, deltas, priorities, fair shares."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, text

from dicomrelay.ledger import DeliveryState, DestinationInfo, Ledger, Priority, grouping
from dicomrelay.ledger.engine import database_url
from tests.support.ledger import MINUTE_MS, arrival, claim, due_ids, group, outcomes

HOUR_MS = 60 * MINUTE_MS


def test_a_study_that_still_receives_makes_no_transfer(ledger: Ledger) -> None:
    """Complete is: nothing new for the quiet time."""
    ledger.register([arrival(1)])
    assert group(ledger, quiet_ms=HOUR_MS) == 0
    assert due_ids(ledger) == []
    assert group(ledger, quiet_ms=0) == 1
    assert group(ledger, quiet_ms=0) == 0
    assert len(due_ids(ledger)) == 1


def an_hour_later(url: str) -> None:
    """Let every study have been quiet for an hour more."""
    engine = create_engine(database_url(url))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE studies SET ungrouped_at = ungrouped_at - {HOUR_MS}"))
    engine.dispose()


def test_a_new_arrival_begins_the_quiet_time_again(ledger: Ledger, ledger_url: str) -> None:
    """However long the study was quiet before."""
    ledger.register([arrival(1)])
    an_hour_later(ledger_url)
    ledger.register([arrival(2)])
    assert group(ledger, quiet_ms=MINUTE_MS) == 0
    an_hour_later(ledger_url)
    assert group(ledger, quiet_ms=MINUTE_MS) == 1


def test_a_duplicate_does_not_begin_the_quiet_time_again(ledger: Ledger, ledger_url: str) -> None:
    """A modality that repeats itself would hold its study back for ever."""
    ledger.register([arrival(1)])
    an_hour_later(ledger_url)
    ledger.register([arrival(1, spool_id="again")])
    assert group(ledger, quiet_ms=MINUTE_MS) == 1


def test_late_arrivals_become_a_transfer_of_just_themselves(ledger: Ledger) -> None:
    """The delta: nothing is sent twice because something came late."""
    ledger.register([arrival(1), arrival(2)])
    group(ledger)
    (first,) = due_ids(ledger)
    claimed = claim(ledger, first)
    ledger.record_outcomes(first, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED))
    ledger.finish_transfer(first, claimed.fence, retry_in_ms=None)
    ledger.register([arrival(3)])
    assert group(ledger, quiet_ms=HOUR_MS) == 0
    assert group(ledger) == 1
    late = claim(ledger, due_ids(ledger)[0])
    assert [delivery.instance.sop_instance_uid for delivery in late.deliveries] == ["1.2.3.3"]


def test_a_duplicate_without_anything_new_keeps_a_study_complete(ledger: Ledger) -> None:
    """A modality that sends the study once more makes no work."""
    ledger.register([arrival(1)])
    group(ledger)
    ledger.register([arrival(1, spool_id="again")])
    assert group(ledger) == 0


@pytest.mark.parametrize(
    ("sizes", "batch_instances", "batch_bytes", "expected"),
    [
        ([10] * 5, 2, 1000, [2, 2, 1]),
        ([10] * 4, 4, 1000, [4]),
        ([400, 400, 400], 10, 800, [2, 1]),
        ([5000, 10, 10], 10, 100, [1, 2]),
        ([10, 5000, 10], 10, 100, [1, 1, 1]),
    ],
)
def test_a_transfer_is_bounded(
    ledger: Ledger, sizes: list[int], batch_instances: int, batch_bytes: int, expected: list[int]
) -> None:
    """In instances and in bytes; an instance that is larger than a batch goes by itself."""
    ledger.sync_destinations([DestinationInfo("pacs", "PACS", "h", 104, associations=64)])
    ledger.register([arrival(number, data_set_bytes=size) for number, size in enumerate(sizes)])
    made = group(ledger, batch_instances=batch_instances, batch_bytes=batch_bytes)
    claimed = [claim(ledger, transfer_id) for transfer_id in sorted(due_ids(ledger))]
    assert made == len(expected)
    assert [len(transfer.deliveries) for transfer in claimed] == expected
    sent = [d.instance.sop_instance_uid for transfer in claimed for d in transfer.deliveries]
    assert sent == [f"1.2.3.{number}" for number in range(len(sizes))]


def test_a_transfer_is_of_one_study_destination_priority_and_job(ledger: Ledger) -> None:
    """Four things that are never mixed."""
    ledger.register(
        [
            arrival(1),
            arrival(2, destinations=("second",)),
            arrival(3, priority=Priority.URGENT),
            arrival(4, job_id="job-1"),
            arrival(5, study_instance_uid="1.2.2"),
            arrival(6),
        ]
    )
    ledger.sync_destinations([DestinationInfo("pacs", "PACS", "h", 104, associations=64)])
    assert group(ledger) == 5
    claimed = [claim(ledger, transfer_id) for transfer_id in due_ids(ledger)]
    shape = {
        (c.study_instance_uid, c.destination, c.priority, c.job_id): sorted(
            d.instance.sop_instance_uid[-1] for d in c.deliveries
        )
        for c in claimed
    }
    assert shape == {
        ("1.2.1", "pacs", Priority.NORMAL, ""): ["1", "6"],
        ("1.2.1", "second", Priority.NORMAL, ""): ["2"],
        ("1.2.1", "pacs", Priority.URGENT, ""): ["3"],
        ("1.2.1", "pacs", Priority.NORMAL, "job-1"): ["4"],
        ("1.2.2", "pacs", Priority.NORMAL, ""): ["5"],
    }


def test_a_huge_study_is_grouped_in_several_calls(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """One call holds the one writer for a bounded time; nothing is left behind and nothing grouped twice."""
    monkeypatch.setattr(grouping, "DELIVERIES_AT_ONCE", 7)
    ledger.register([arrival(number, study_instance_uid=f"1.2.{number % 3}") for number in range(30)])
    made = 0
    for _ in range(10):
        made += group(ledger, batch_instances=5)
    assert group(ledger, batch_instances=5) == 0
    ledger.sync_destinations([DestinationInfo("pacs", "PACS", "h", 104, associations=64)])
    taken = [
        d.instance.sop_instance_uid
        for transfer in due_ids(ledger)
        for d in claim(ledger, transfer).deliveries
    ]
    assert sorted(taken) == sorted(f"1.2.3.{number}" for number in range(30))
    assert made >= 6


def test_the_limit_is_of_studies(ledger: Ledger) -> None:
    """The study that has been quiet for longest comes first."""
    for number in range(3):
        ledger.register([arrival(number, study_instance_uid=f"1.2.{number}")])
    made = ledger.complete_quiet_studies(quiet_ms=0, batch_instances=10, batch_bytes=10**9, limit=2)
    assert made == 2


def test_a_job_that_is_registered_to_the_last_item_does_not_wait(ledger: Ledger) -> None:
    """Nothing is to come, so its studies need no quiet time, whichever of the two is known first."""
    ledger.create_job("job-1", kind="send", expected=2)
    ledger.register([arrival(1, job_id="job-1")])
    assert group(ledger, quiet_ms=HOUR_MS) == 0
    ledger.register([arrival(2, job_id="job-1", study_instance_uid="1.2.2")])
    assert group(ledger, quiet_ms=HOUR_MS) == 2

    ledger.register([arrival(3, job_id="job-2")])
    assert group(ledger, quiet_ms=HOUR_MS) == 0
    ledger.create_job("job-2", kind="send", expected=1)
    assert group(ledger, quiet_ms=HOUR_MS) == 1


def test_urgent_goes_before_normal_before_bulk(ledger: Ledger) -> None:
    """With one free place, the most urgent transfer that is due is the one to wake."""
    ledger.sync_destinations([DestinationInfo("pacs", "PACS", "h", 104, associations=1)])
    for number, priority in enumerate((Priority.BULK, Priority.NORMAL, Priority.URGENT)):
        ledger.register([arrival(number, priority=priority)])
    group(ledger)
    order = []
    for _ in range(3):
        (transfer,) = ledger.due(limit=10).transfers
        order.append(transfer.priority)
        claimed = claim(ledger, transfer.id)
        ledger.finish_transfer(transfer.id, claimed.fence, retry_in_ms=HOUR_MS)
    assert order == [Priority.URGENT, Priority.NORMAL, Priority.BULK]


def test_the_backlog_of_one_destination_does_not_hide_the_others(ledger: Ledger) -> None:
    """Invariant 8: each destination gets its free places, also when one has far more that is due than the limit."""
    ledger.sync_destinations(
        [
            DestinationInfo("slow", "SLOW", "h", 104, associations=2),
            DestinationInfo("fast", "FAST", "h", 104, associations=3),
        ]
    )
    ledger.register([arrival(n, study_instance_uid=f"1.2.{n}", destinations=("slow",)) for n in range(50)])
    ledger.register(
        [arrival(n, study_instance_uid=f"1.2.{n}", destinations=("fast",)) for n in range(50, 60)]
    )
    group(ledger)
    due = ledger.due(limit=10)
    assert sorted(transfer.destination for transfer in due.transfers) == ["fast"] * 3 + ["slow"] * 2
    for transfer in due.transfers:
        if transfer.destination == "slow":
            claim(ledger, transfer.id)
    assert {transfer.destination for transfer in ledger.due(limit=10).transfers} == {"fast"}
    assert len(ledger.due(limit=10, destination="fast").transfers) == 3
    assert ledger.due(limit=10, destination="slow").transfers == ()
    assert len(ledger.due(limit=1).transfers) == 1


@pytest.mark.parametrize(("waits_longer", "other"), [("ant", "zebra"), ("zebra", "ant")])
def test_a_limit_passes_no_destination_over_for_ever(ledger: Ledger, waits_longer: str, other: str) -> None:
    """The destination whose oldest transfer is due for longest comes first, whatever its name."""
    ledger.register([arrival(1, destinations=(waits_longer, other))])
    group(ledger)
    for transfer in ledger.due(limit=10).transfers:
        claimed = claim(ledger, transfer.id)
        since = -HOUR_MS if transfer.destination == waits_longer else -MINUTE_MS
        ledger.finish_transfer(transfer.id, claimed.fence, retry_in_ms=since)
    assert [transfer.destination for transfer in ledger.due(limit=1).transfers] == [waits_longer]
