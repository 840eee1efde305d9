"""The ledger's invariants on both databases: right while work goes its way, found when broken, mended by repair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from dicomrelay.ledger import DeliveryState, Ledger, Stage
from dicomrelay.ledger.engine import open_engine
from dicomrelay.ledger.mending import Archived
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
from workers.integrity import Finding, Invariant
from workers.integrity.ledger_check import RUNNING_FURTHEST_MS, STAGE_FURTHEST_MS, check_ledger
from workers.integrity.looking import Look

_DAY_MS = 86_400_000


def _look(ledger: Ledger) -> Look:
    return Look(
        spool=None,
        ledger=ledger.inventory,
        archive=None,
        host="gateway-1",
        copies=Path("/nowhere"),
        longest_wait_ms=_DAY_MS,
    )


def _found(ledger: Ledger) -> list[Finding]:
    return list(check_ledger(_look(ledger)))


def _sql(url: str, statement: str) -> None:
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_nothing_is_found_at_any_step_of_the_way(ledger: Ledger) -> None:
    """Registered, grouped, claimed, answered, to be tried again, done, archived, framed, released."""
    steps: list[Callable[[], object]] = [
        lambda: ledger.register([arrival(number) for number in range(5)]),
        lambda: group(ledger),
    ]
    for step in steps:
        step()
        assert _found(ledger) == []
    (transfer_id,) = due_ids(ledger)
    claimed = claim(ledger, transfer_id)
    assert _found(ledger) == []
    some = outcomes(claimed, DeliveryState.DELIVERED)
    ledger.record_outcomes(claimed.id, claimed.fence, some[:3])
    assert _found(ledger) == []
    ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=0)
    assert _found(ledger) == []
    archive_all(ledger)
    claimed = claim(ledger, transfer_id)
    ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED))
    ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=None)
    assert _found(ledger) == []
    released = ledger.mark_released(ledger.releasable(host="gateway-1", limit=10))
    assert len(released) == 5
    assert _found(ledger) == []


def test_pages_hold_every_row_once(ledger: Ledger) -> None:
    """Whatever the size of a page, and in the order of ids."""
    ledger.register([arrival(number) for number in range(23)])
    for page in (1, 7, 23, 100):
        pages = list(ledger.inventory.instances(page))
        ids = [entry.facts.instance_id for entries in pages for entry in entries]
        assert ids == sorted(set(ids))
        assert (len(ids), max(map(len, pages))) == (23, min(page, 23))


@pytest.mark.parametrize(
    ("statement", "invariant"),
    [
        ("UPDATE instances SET all_deliveries = 7", Invariant.LEDGER_COUNTS),
        ("UPDATE instances SET open_deliveries = 0", Invariant.LEDGER_COUNTS),
        ("UPDATE transfers SET due_at = NULL", Invariant.LEDGER_DUE),
        ("UPDATE transfers SET due_at = due_at + 99999999999", Invariant.LEDGER_DUE),
        ("UPDATE transfers SET state = 'held'", Invariant.LEDGER_DUE),
        ("UPDATE stages SET due_at = NULL", Invariant.LEDGER_DUE),
        ("UPDATE stages SET due_at = due_at + 99999999", Invariant.LEDGER_DUE),
        ("UPDATE transfers SET state = 'done', due_at = NULL", Invariant.LEDGER_WAY),
        ("UPDATE deliveries SET transfer_id = NULL", Invariant.LEDGER_WAY),
        ("DELETE FROM stages", Invariant.LEDGER_STAGES),
        ("UPDATE evidence SET body = '{}' WHERE number = 2", Invariant.LEDGER_EVIDENCE),
        ("DELETE FROM evidence WHERE number = 1", Invariant.LEDGER_EVIDENCE),
        ("UPDATE studies SET evidence_count = 0, evidence_hash = ''", Invariant.LEDGER_EVIDENCE),
    ],
)
def test_what_is_broken_is_found_and_mended(
    ledger: Ledger, ledger_url: str, statement: str, invariant: Invariant
) -> None:
    """Only that invariant, and none after the change that repair makes; a chain of evidence is not mended."""
    ledger.register([arrival(number) for number in range(4)])
    group(ledger)
    _sql(ledger_url, statement)

    found = _found(ledger)
    assert {each.invariant for each in found} == {invariant}
    _mend(ledger, found)
    assert {each.invariant for each in _found(ledger)} <= {Invariant.LEDGER_EVIDENCE}


def _mend(ledger: Ledger, found: list[Finding]) -> None:
    """What `workers.integrity.mend_ledger` calls for each, without its words."""
    instances = [each.instance_id for each in found if each.instance_id]
    transfers = [each.transfer_id for each in found if each.transfer_id]
    studies = [each.study_instance_uid for each in found if not each.instance_id and not each.transfer_id]
    by_kind: dict[Invariant, Callable[[], object]] = {
        Invariant.LEDGER_COUNTS: lambda: ledger.mending.count_again(instances),
        Invariant.LEDGER_DUE: lambda: (
            ledger.mending.wake_transfers(transfers, furthest_ms=RUNNING_FURTHEST_MS),
            ledger.mending.wake_stages(instances, furthest_ms=STAGE_FURTHEST_MS),
        ),
        Invariant.LEDGER_WAY: lambda: (
            ledger.mending.wake_transfers(transfers, furthest_ms=_DAY_MS),
            ledger.mending.let_group(studies),
        ),
        Invariant.LEDGER_STAGES: lambda: ledger.mending.redo_stage(instances, Stage.ARCHIVE),
        Invariant.LEDGER_EVIDENCE: lambda: None,
    }
    by_kind[found[0].invariant]()


def test_a_mended_transfer_is_sent(ledger: Ledger, ledger_url: str) -> None:
    """Done by its state with deliveries that are not: claimed again, it has them to do."""
    ledger.register([arrival(number) for number in range(4)])
    group(ledger)
    _sql(ledger_url, "UPDATE transfers SET state = 'done', due_at = NULL")
    assert due_ids(ledger) == []

    _mend(ledger, _found(ledger))

    (transfer_id,) = due_ids(ledger)
    assert len(claim(ledger, transfer_id).deliveries) == 4


def test_a_lease_that_is_alive_is_no_finding_and_is_left_alone(ledger: Ledger) -> None:
    """Repair beside a runner: neither its state nor its fence changes."""
    ledger.register([arrival(1)])
    group(ledger)
    (transfer_id,) = due_ids(ledger)
    claimed = claim(ledger, transfer_id, lease_ms=MINUTE_MS)

    assert _found(ledger) == []
    assert ledger.mending.wake_transfers([transfer_id], furthest_ms=RUNNING_FURTHEST_MS) == []
    assert ledger.renew_transfer(transfer_id, claimed.fence, lease_ms=MINUTE_MS)


@pytest.mark.parametrize("statement", ["DELETE FROM verifications", "UPDATE verifications SET due_at = NULL"])
def test_what_is_to_be_confirmed_is_asked_for(ledger: Ledger, ledger_url: str, statement: str) -> None:
    """A question that got lost, or is never due, is found and asked again; while it waits nothing is wrong."""
    ledger.sync_destinations([replace(PACS, verification="find")])
    claimed = claimed_transfer(ledger, [arrival(number) for number in range(3)])
    ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED))
    ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=None)
    assert _found(ledger) == []
    _sql(ledger_url, statement)

    (found,) = _found(ledger)
    assert (found.invariant, found.transfer_id) == (Invariant.LEDGER_WAY, claimed.id)
    assert [ledger.mending.ask_again([claimed.id]) for _ in range(2)] == [[claimed.id], []]
    assert _found(ledger) == []


def test_a_destination_that_is_asked_no_more_is_taken_by_its_word(ledger: Ledger, ledger_url: str) -> None:
    """Its settings changed and the question got lost: what it acknowledged is delivered."""
    ledger.sync_destinations([replace(PACS, verification="find")])
    claimed = claimed_transfer(ledger, [arrival(number) for number in range(3)])
    ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED))
    ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=None)
    _sql(ledger_url, "DELETE FROM verifications")
    _sql(ledger_url, "UPDATE destinations SET verification = 'none'")

    assert ledger.mending.ask_again([claimed.id]) == [claimed.id]

    assert _found(ledger) == []
    (page,) = ledger.inventory.instances()
    assert [entry.open_deliveries for entry in page] == [0, 0, 0]


def test_what_only_the_archive_has_comes_back_as_archived_and_is_not_sent(ledger: Ledger) -> None:
    """Released, with its path, its frames done, no delivery and nothing to be archived; once, however often it is said."""
    found = [
        Archived(arrival(number, host="", destinations=()), f"data/P/{number}.dcm", frames=number or None)
        for number in range(3)
    ]

    assert [ledger.mending.adopt(found), ledger.mending.adopt(found)] == [3, 0]

    (page,) = ledger.inventory.instances()
    assert [entry.facts.archive_path for entry in page] == [f"data/P/{number}.dcm" for number in range(3)]
    assert all(entry.released_ms_ago is not None and entry.all_deliveries == 0 for entry in page)
    assert [entry.framing.state for entry in page if entry.framing] == ["pending", "done", "done"]
    due = ledger.due(limit=10)
    assert (due.archive_pending, due.frames_pending, due.transfers) == (0, 1, ())
    assert group(ledger) == 0
    assert _found(ledger) == []


def test_what_only_the_archive_has_is_sent_where_somebody_says_so(ledger: Ledger) -> None:
    """`--resend pacs`: one transfer, of bytes that lie in the archive."""
    ledger.mending.adopt([Archived(arrival(1, host="", destinations=("pacs",)), "data/P/1.dcm", None)])
    group(ledger)

    (transfer_id,) = due_ids(ledger)
    (delivery,) = claim(ledger, transfer_id).deliveries
    assert (delivery.instance.released, delivery.instance.archive_path) == (True, "data/P/1.dcm")
    assert _found(ledger) == []
