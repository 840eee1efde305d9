"""What moved in each minute, on both databases."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from dicomrelay.ledger import DeliveryState, Ledger
from dicomrelay.ledger.engine import database_url
from dicomrelay.ledger.rates_counting import KEPT_MINUTES, MINUTE_MS, Direction, Moved
from dicomrelay.ledger.values import Stage
from tests.support.ledger import arrival, claimed_transfer, outcomes


def _run(url: str, statement: str, **values: object) -> None:
    engine = create_engine(database_url(url))
    with engine.begin() as connection:
        connection.execute(text(statement), values)
    engine.dispose()


def _minutes_ago(url: str, minutes: float) -> None:
    """Let everything have happened so long ago."""
    by = round(minutes * MINUTE_MS)
    for table, columns in (
        ("instances", ("registered_at",)),
        ("deliveries", ("updated_at",)),
        ("events", ("at",)),
        ("studies", ("first_received_at", "last_received_at")),
    ):
        for column in columns:
            _run(url, f"UPDATE {table} SET {column} = {column} - :by", by=by)


def _sums(ledger: Ledger, direction: Direction, *, steps: int = 60, minutes: int = 1) -> dict[str, Moved]:
    history = ledger.rates.history(direction, steps=steps, minutes=minutes)
    assert {len(each) for each in history.series.values()} <= {steps}
    return {
        name: Moved(sum(each.instances for each in of), sum(each.bytes for each in of))
        for name, of in history.series.items()
    }


def _deliver(ledger: Ledger, count: int, *, finish: bool) -> None:
    claimed = claimed_transfer(ledger, [arrival(number) for number in range(count)])
    assert ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED))
    if finish:
        ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=None, delivered=count)


@pytest.mark.parametrize("finish", [True, False])
def test_what_was_delivered_and_received_is_counted_by_the_minute(
    ledger: Ledger, ledger_url: str, finish: bool
) -> None:
    """Of a transfer that is over, and of one that still runs; said again it stays what it is."""
    _deliver(ledger, 3, finish=finish)
    _minutes_ago(ledger_url, 5)
    assert not ledger.rates.roll_up()
    assert not ledger.rates.roll_up()
    assert _sums(ledger, Direction.TO) == {"pacs": Moved(3, 3000)}
    assert _sums(ledger, Direction.FROM) == {"CT_1": Moved(3, 3000)}
    moved = [
        each for each in ledger.rates.history(Direction.TO, steps=60, minutes=1).of("pacs") if each.instances
    ]
    assert moved == [Moved(3, 3000)]


def test_the_minute_that_runs_is_not_counted_yet(ledger: Ledger, ledger_url: str) -> None:
    """It is counted when it is over, once."""
    assert not ledger.rates.roll_up()
    _deliver(ledger, 2, finish=True)
    assert not ledger.rates.roll_up()
    assert _sums(ledger, Direction.TO) == {}
    _minutes_ago(ledger_url, 2)
    _run(ledger_url, "UPDATE transfer_rates SET minute = minute - 3 WHERE direction = 'until'")
    assert not ledger.rates.roll_up()
    assert _sums(ledger, Direction.TO) == {"pacs": Moved(2, 2000)}


def test_what_a_scheduler_missed_is_counted_in_portions_of_an_hour(ledger: Ledger, ledger_url: str) -> None:
    """Of the last day at most."""
    _deliver(ledger, 2, finish=True)
    assert not ledger.rates.roll_up()
    _minutes_ago(ledger_url, 150)
    _run(ledger_url, "UPDATE transfer_rates SET minute = minute - 180 WHERE direction = 'until'")
    assert ledger.rates.roll_up()
    assert ledger.rates.roll_up()
    assert not ledger.rates.roll_up()
    assert _sums(ledger, Direction.TO) == {}
    assert _sums(ledger, Direction.TO, steps=96, minutes=15) == {"pacs": Moved(2, 2000)}


def test_what_is_old_is_removed(ledger: Ledger, ledger_url: str) -> None:
    """So that the table stays as small as two days are."""
    _deliver(ledger, 1, finish=True)
    _minutes_ago(ledger_url, 5)
    ledger.rates.roll_up()
    by = KEPT_MINUTES
    _run(ledger_url, "UPDATE transfer_rates SET minute = minute - :by WHERE direction <> 'until'", by=by)
    _run(ledger_url, "UPDATE transfer_rates SET minute = minute - 1 WHERE direction = 'until'")
    ledger.rates.roll_up()
    assert _sums(ledger, Direction.TO, steps=4 * KEPT_MINUTES) == {}


def test_of_many_sources_those_with_most_bytes_keep_their_names(ledger: Ledger, ledger_url: str) -> None:
    """A scanner with random AE titles fills no chart."""
    ledger.register(
        [
            arrival(number, calling_ae_title=f"AE_{number}", data_set_bytes=1000 + number)
            for number in range(250)
        ]
    )
    _minutes_ago(ledger_url, 5)
    ledger.rates.roll_up()
    found = _sums(ledger, Direction.FROM)
    assert len(found) == 200
    assert {"AE_249", "other"} <= found.keys()
    assert sum(each.instances for each in found.values()) == 250


def test_what_arrives_now_is_told_by_source(ledger: Ledger, ledger_url: str) -> None:
    """Of the last ten seconds."""
    ledger.register([arrival(1), arrival(2), arrival(3, calling_ae_title="MR_1")])
    assert ledger.rates.arriving() == {"CT_1": Moved(2, 2000), "MR_1": Moved(1, 1000)}
    _minutes_ago(ledger_url, 0.5)
    assert ledger.rates.arriving() == {}


def test_what_waits_is_told_by_queue(ledger: Ledger, tmp_path: Path) -> None:
    """Studies before they are grouped, transfers by priority, instances by stage; each with its age."""
    ledger.register([arrival(1), arrival(2)])
    found = {each.queue: each for each in ledger.rates.waiting()}
    assert (found["group"].count, found["archive"].count) == (1, 2)
    assert found["forward.normal"].count == 0
    assert found["forward.normal"].oldest_ms is None
    claimed_transfer(ledger, [arrival(3)])
    found = {each.queue: each for each in ledger.rates.waiting()}
    assert (found["group"].count, found["forward.normal"].count, found["frames"].count) == (0, 1, 0)
    assert (found["archive"].oldest_ms or 0) < MINUTE_MS


def test_what_is_in_work_is_as_old_as_it_is(ledger: Ledger, ledger_url: str) -> None:
    """A lease, or a time until the next attempt, makes nothing new."""
    ledger.register([arrival(1), arrival(2)])
    _minutes_ago(ledger_url, 5)
    assert ledger.claim_instances(Stage.ARCHIVE, host="gateway-1", owner="w", limit=10, lease_ms=MINUTE_MS)
    found = {each.queue: each for each in ledger.rates.waiting()}
    assert found["archive"].count == 2
    assert (found["archive"].oldest_ms or 0) >= 5 * MINUTE_MS
