"""`dicomrelay destinations`, against a real ledger."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dicomrelay.cli.main import cli
from dicomrelay.ledger import DeliveryState
from dicomrelay.ledger.breaker import BreakerPolicy
from tests.support.ledger import arrival, claimed_transfer, outcomes
from tests.support.rooms import rooms_at
from workers.rooms import Rooms

_TOML = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Rooms]:
    """A home with a destination that four instances wait for."""
    with rooms_at(tmp_path / "home", _TOML) as (made, _):
        yield made


def _run(rooms: Rooms, *words: str) -> Result:
    return CliRunner().invoke(
        cli, ["destinations", *words, "--home", str(rooms.settings.home)], standalone_mode=False
    )


def test_what_waits_how_fast_it_goes_and_when_it_is_through(rooms: Rooms) -> None:
    """Of four, one is delivered."""
    claimed = claimed_transfer(rooms.ledger, [arrival(number) for number in range(4)])
    rooms.ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED)[:1])

    said = _run(rooms).stdout
    assert "pacs  PACS@127.0.0.1:104  not tried yet" in said
    assert "3 instances (3.0 kB) in 1 transfer to go" in said
    assert "1 of 2 associations in use: 100 B/s, 0.1 instances/s, 30 s to go" in said
    (row,) = json.loads(_run(rooms, "pacs", "--json").stdout)
    assert (row["instances"], row["running"], row["eta_s"], row["in_window"]) == (3, 1, 30.0, True)


def test_one_that_does_not_answer_is_told_with_its_last_error_and_the_next_probe(rooms: Rooms) -> None:
    """Exit code 1, for a script that looks."""
    policy = BreakerPolicy(failures=1, initial_s=60)
    rooms.ledger.flow.failed("pacs", policy=policy, jitter=random.random(), error="no connection")
    result = _run(rooms)
    assert "does not answer for 0 s; asked again in" in result.stdout
    assert "last error: no connection" in result.stdout
    assert result.return_value == 1


def test_hold_and_release_say_what_happens_and_may_be_repeated(rooms: Rooms) -> None:
    """And what is wrong with the words."""
    assert "pacs is held: nothing is sent to it until" in _run(rooms, "hold", "pacs").stdout
    assert "pacs was held already" in _run(rooms, "hold", "pacs").stdout
    assert "pacs  PACS@127.0.0.1:104  held for 0 s" in _run(rooms, "pacs").stdout
    assert json.loads(_run(rooms, "release", "pacs", "--json").stdout)["changed"]
    assert "was not held" in _run(rooms, "release", "pacs").stdout
    for words, told in (
        (["nobody"], "no destination 'nobody'; known: pacs"),
        (["hold"], "hold which destination"),
        (["hold", "nobody"], "no destination 'nobody'"),
        (["drop", "pacs"], "destinations hold NAME"),
    ):
        assert told in str(_run(rooms, *words).exception)


def test_one_that_refuses_was_tried_and_says_so(rooms: Rooms) -> None:
    """It answers, and what it refused is counted."""
    claimed = claimed_transfer(rooms.ledger, [arrival(number) for number in range(2)])
    rooms.ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.REFUSED))
    rooms.ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=None)

    said = _run(rooms).stdout
    assert "not tried yet" not in said
    assert "answers, and has taken nothing yet" in said
    assert "2 instances refused" in said
