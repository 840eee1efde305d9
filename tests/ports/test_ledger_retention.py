"""What is over is pruned when it is old enough; what somebody still has to get never is."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from sqlalchemy import create_engine, text

from dicomrelay.ledger import DeliveryState, DestinationInfo, Ledger
from dicomrelay.ledger.engine import database_url
from dicomrelay.ledger.retention import Pruned
from dicomrelay.ledger.values_operations import StandingOrder, Subject, SubjectKind
from dicomrelay.ledger.values_pulls import NewPull, PullKind, PullPolicy
from dicomrelay.settings import RetentionSettings
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
from workers.prune import prune

HOUR_MS = 3_600_000
DAYS = RetentionSettings()
TABLES = (
    "standing_orders",
    "transfers",
    "deliveries",
    "jobs",
    "job_items",
    "events",
    "evidence",
    "instances",
    "studies",
)


def counts(url: str) -> Counter[str]:
    """How many rows each table has."""
    engine = create_engine(database_url(url))
    with engine.connect() as connection:
        found = Counter(
            {name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in TABLES}
        )
    engine.dispose()
    return found


def age(url: str, days: float) -> None:
    """Let so much time go by."""
    ms = round(days * 24 * HOUR_MS)
    engine = create_engine(database_url(url))
    with engine.begin() as connection:
        for table, column in (
            ("transfers", "finished_at"),
            ("transfers", "created_at"),
            ("jobs", "created_at"),
            ("standing_orders", "at"),
            ("events", "at"),
            ("evidence", "at"),
            ("instances", "registered_at"),
            ("instances", "released_at"),
            ("studies", "last_received_at"),
        ):
            connection.execute(text(f"UPDATE {table} SET {column} = {column} - :ms"), {"ms": ms})
    engine.dispose()


def delivered(ledger: Ledger, *numbers: int, **changes: object) -> None:
    """Instances that arrived, were archived and delivered."""
    claimed = claimed_transfer(ledger, [arrival(number, **changes) for number in numbers])
    archive_all(ledger)
    ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED))
    ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=None)


def release(ledger: Ledger) -> int:
    """Let go of the spool items that nothing needs."""
    return len(ledger.mark_released(ledger.releasable(host="gateway-1", limit=1000)))


def run(ledger: Ledger, settings: RetentionSettings = DAYS) -> Counter[str]:
    """What an hourly look prunes."""
    return prune(ledger.retention, settings, pause=lambda: False)


def test_what_is_over_goes_when_it_is_old_enough(ledger: Ledger, ledger_url: str) -> None:
    """Not a day earlier; events before transfers, evidence long after; the instance stays as the archive's index."""
    delivered(ledger, 1, 2, job_id="job-1")
    assert release(ledger) == 2
    before = counts(ledger_url)
    assert run(ledger) == Counter()
    age(ledger_url, 31)
    assert run(ledger).keys() == {"events"}
    age(ledger_url, 58)
    assert run(ledger) == Counter()
    age(ledger_url, 2)
    assert run(ledger) == Counter(transfers=1, deliveries=2, jobs=1)
    age(ledger_url, 730 - 92)
    assert run(ledger) == Counter()
    age(ledger_url, 2)
    assert run(ledger) == Counter(evidence=before["evidence"])
    left = counts(ledger_url)
    assert (left["instances"], left["studies"]) == (2, 1)
    assert left["job_items"] == left["evidence"] == left["transfers"] == 0


def test_nothing_goes_of_what_is_open(ledger: Ledger, ledger_url: str) -> None:
    """Pending, ready, running, waiting, failed, refused: ten years later all of it is there."""
    ledger.sync_destinations([DestinationInfo("pacs", "PACS", "h", 104, associations=64)])
    studies = [f"1.2.{number}" for number in range(5)]
    ledger.register([arrival(number, study_instance_uid=uid) for number, uid in enumerate(studies)])
    assert group(ledger) == 5
    archive_all(ledger)
    first, second, third, fourth, _ready = due_ids(ledger)
    claim(ledger, first)  # running
    for transfer, state, retry_in_ms in (
        (second, DeliveryState.FAILED, MINUTE_MS),
        (third, DeliveryState.REFUSED, None),
        (fourth, DeliveryState.FAILED, None),
    ):
        claimed = claim(ledger, transfer)
        ledger.record_outcomes(transfer, claimed.fence, outcomes(claimed, state))
        ledger.finish_transfer(transfer, claimed.fence, retry_in_ms=retry_in_ms)
    ledger.register([arrival(9, study_instance_uid="1.2.9")])  # without a transfer yet
    before = counts(ledger_url)
    age(ledger_url, 3650)
    assert run(ledger).keys() <= {"events"}
    assert counts(ledger_url) - Counter(events=counts(ledger_url)["events"]) == before - Counter(
        events=before["events"]
    )
    assert release(ledger) == 0


def test_a_transfer_stays_while_one_of_its_instances_is_in_the_spool(ledger: Ledger, ledger_url: str) -> None:
    """Another destination has still to get it: the deliveries that are done tell what a duplicate would be sent again for."""
    ledger.sync_destinations([DestinationInfo("second", "SECOND", "h", 104)])
    ledger.register([arrival(1, destinations=("pacs", "second"))])
    assert group(ledger) == 2
    archive_all(ledger)
    pacs = next(each for each in ledger.due(limit=10, destination="pacs").transfers)
    claimed = claim(ledger, pacs.id)
    ledger.record_outcomes(pacs.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED))
    ledger.finish_transfer(pacs.id, claimed.fence, retry_in_ms=None)
    age(ledger_url, 3650)
    assert "transfers" not in run(ledger)
    second = next(each for each in ledger.due(limit=10, destination="second").transfers)
    claimed = claim(ledger, second.id)
    ledger.record_outcomes(second.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED))
    ledger.finish_transfer(second.id, claimed.fence, retry_in_ms=None)
    assert release(ledger) == 1
    assert run(ledger)["transfers"] == 1, "the other one is not old yet"
    assert counts(ledger_url)["deliveries"] == 1


def test_a_job_stays_while_something_of_it_is_to_come(ledger: Ledger, ledger_url: str) -> None:
    """Announced and not registered: it may lie in a spool that comes back."""
    ledger.create_job("job-1", kind="send", expected=2)
    delivered(ledger, 1, job_id="job-1")
    release(ledger)
    age(ledger_url, 3650)
    assert "jobs" not in run(ledger)
    delivered(ledger, 2, job_id="job-1")
    release(ledger)
    age(ledger_url, 3650)
    assert run(ledger)["jobs"] == 1


def test_what_was_cancelled_is_over_when_its_bytes_have_gone(ledger: Ledger, ledger_url: str) -> None:
    """Not while they are only here: nowhere archived, they stay in the spool, and the record of the cancelling with them."""
    for number, is_archived in ((1, True), (2, False)):
        ledger.register([arrival(number, job_id=f"job-{number}", study_instance_uid=f"1.2.{number}")])
        assert group(ledger) == 1
        if is_archived:
            archive_all(ledger)
        ledger.operations.cancel(Subject(SubjectKind.JOB, f"job-{number}"))
    assert release(ledger) == 1
    age(ledger_url, 100)
    gone = run(ledger)
    assert (gone["transfers"], gone["deliveries"], gone["jobs"]) == (1, 1, 1)
    left = counts(ledger_url)
    assert (left["deliveries"], left["standing_orders"]) == (1, 1)


def test_what_is_counted_of_an_instance_stays_true(ledger: Ledger, ledger_url: str) -> None:
    """`all_deliveries` is how many there are, also when some have been pruned."""
    delivered(ledger, 1)
    release(ledger)
    age(ledger_url, 100)
    run(ledger)
    engine = create_engine(database_url(ledger_url))
    with engine.connect() as connection:
        row = connection.execute(text("SELECT all_deliveries, open_deliveries FROM instances")).one()
    engine.dispose()
    assert tuple(row) == (0, 0)
    assert ledger.needs_attention() == []


def test_a_duplicate_after_that_is_delivered_once_more(ledger: Ledger, ledger_url: str) -> None:
    """Nobody knows any more that it was: at least once."""
    delivered(ledger, 1)
    release(ledger)
    age(ledger_url, 100)
    run(ledger)
    ledger.register([arrival(1, spool_id="again")])
    assert group(ledger) == 1
    assert len(claim(ledger, due_ids(ledger)[0]).deliveries) == 1


def test_every_kind_goes_in_as_many_batches_as_it_takes(
    ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pulls too: an hour's look takes all that is old, and says how many."""
    monkeypatch.setattr("workers.prune._TRANSFERS", 1)
    source = DestinationInfo(name="old", ae_title="OLD", host="127.0.0.1", port=104)
    for _ in range(3):
        ledger.pulls.order(NewPull(PullKind.ASKED, source, ("PatientID=1",), PullPolicy()))
    for each in ledger.pulls.newest(limit=100):
        ledger.pulls.cancel(each.id)
    engine = create_engine(database_url(ledger_url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE pulls SET finished_at = finished_at - 3153600000000"))
    engine.dispose()
    assert run(ledger)["pulls"] == 3
    for field in dataclasses.fields(Pruned):
        if field.name != "deliveries":  # they go with their transfers
            assert Pruned(**{field.name: 1}).any, field.name
    assert not Pruned().any


def test_pruning_is_done_in_batches(ledger: Ledger, ledger_url: str) -> None:
    """No call takes more than it was allowed to, and after each there is a pause."""
    for number in range(7):
        delivered(ledger, number, study_instance_uid=f"1.2.{number}")
    release(ledger)
    age(ledger_url, 3650)
    assert ledger.retention.prune_transfers(age_ms=HOUR_MS, limit=3) == Pruned(transfers=3, deliveries=3)
    assert ledger.retention.prune_events(age_ms=HOUR_MS, limit=4) == Pruned(events=4)
    pauses: list[int] = []
    gone = prune(ledger.retention, DAYS, pause=lambda: pauses.append(1) is not None)
    assert gone["transfers"] == 4
    assert len(pauses) >= 3


@pytest.mark.parametrize(("days", "expected"), [(0.0, 1), (1.0, 0)])
def test_a_spool_item_stays_as_long_as_was_asked_for(
    ledger: Ledger, ledger_url: str, days: float, expected: int
) -> None:
    """From its registration, whatever else is done with it."""
    delivered(ledger, 1)
    keep_ms = RetentionSettings(spool_days=days).spool_ms
    assert len(ledger.releasable(host="gateway-1", limit=10, keep_ms=keep_ms)) == expected
    assert ledger.due(limit=10, keep_ms=keep_ms).releasable == expected
    age(ledger_url, 2)
    assert len(ledger.releasable(host="gateway-1", limit=10, keep_ms=keep_ms)) == 1


def test_a_pause_that_says_so_ends_all_of_it(ledger: Ledger, ledger_url: str) -> None:
    """The scheduler is to end: not one batch of the other kinds is begun."""
    for number in range(3):
        delivered(ledger, number, job_id=f"job-{number}", study_instance_uid=f"1.2.{number}")
    release(ledger)
    age(ledger_url, 3650)
    before = counts(ledger_url)
    pauses: list[int] = []
    gone = prune(ledger.retention, DAYS, pause=lambda: pauses.append(1) is None)
    assert (gone, len(pauses)) == (Counter(transfers=3, deliveries=3), 1)
    assert {name: counts(ledger_url)[name] for name in ("jobs", "events", "evidence")} == {
        name: before[name] for name in ("jobs", "events", "evidence")
    }


def test_the_cancel_of_a_study_goes_with_its_last_transfer(ledger: Ledger, ledger_url: str) -> None:
    """Not before, and not while it is young; a hold stays, for somebody waits for what it holds."""
    for number, verb in (
        (1, ledger.operations.cancel),
        (3, ledger.operations.hold),
        (2, ledger.operations.cancel),
    ):
        ledger.register([arrival(number, study_instance_uid=f"1.2.{number}")])
        assert group(ledger) == 1
        if number != 2:
            archive_all(ledger)
        verb(Subject(SubjectKind.STUDY, f"1.2.{number}"))
    ledger.operations.cancel(Subject(SubjectKind.STUDY, "1.2.3"), destination="elsewhere")
    release(ledger)
    assert run(ledger)["orders"] == 0
    age(ledger_url, 100)
    assert run(ledger)["orders"] == 1
    assert {order.subject for order in _orders(ledger)} == {"1.2.2", "1.2.3"}
    assert len(_orders(ledger)) == 3


def _orders(ledger: Ledger) -> list[StandingOrder]:
    studies = [Subject(SubjectKind.STUDY, f"1.2.{number}") for number in (1, 2, 3)]
    return [order for study in studies for order in ledger.operations.job(study).orders]


def test_the_evidence_of_the_study_that_was_quiet_longest_goes_first(ledger: Ledger, ledger_url: str) -> None:
    """As the index is sorted: what went before is never walked through again."""
    for number in (3, 1, 2):
        delivered(ledger, number, study_instance_uid=f"1.2.{number}")
        age(ledger_url, 1)
    age(ledger_url, 3650)
    order = []
    while ledger.retention.prune_evidence(age_ms=HOUR_MS, limit=1).any:
        order.append({uid for uid in ("1.2.1", "1.2.2", "1.2.3") if _pruned(ledger, uid)})
    assert order == [{"1.2.3"}, {"1.2.3", "1.2.1"}, {"1.2.3", "1.2.1", "1.2.2"}]


def _pruned(ledger: Ledger, study: str) -> bool:
    (head,) = ledger.evidence.heads([study])
    return head.pruned > 0
