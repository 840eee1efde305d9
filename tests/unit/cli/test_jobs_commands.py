"""`dicomrelay jobs list` and `show`, on a real ledger: what was refused, what stands still, deliveries counted."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dicomrelay.cli.main import cli
from dicomrelay.ledger import DeliveryState, Ledger
from dicomrelay.ledger.breaker import BreakerPolicy
from dicomrelay.ledger.values import ClaimedTransfer
from tests.support.ledger import arrival, claimed_transfer, group, outcomes
from tests.support.rooms import rooms_at
from workers.rooms import Rooms

_TOML = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'
D = DeliveryState


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Rooms]:
    with rooms_at(tmp_path / "home", _TOML) as (made, _):
        yield made


def _run(rooms: Rooms, *words: str) -> Result:
    return CliRunner().invoke(
        cli, [*words, "--home", str(rooms.settings.home)], standalone_mode=False, catch_exceptions=False
    )


def _json(rooms: Rooms, *words: str) -> Any:
    return json.loads(_run(rooms, *words, "--json").stdout)


def _refuse_one(ledger: Ledger, count: int = 4) -> ClaimedTransfer:
    """A transfer of which the last instance was refused, and the others arrived."""
    claimed = claimed_transfer(ledger, [arrival(number) for number in range(count)])
    states = [D.DELIVERED] * (count - 1) + [D.REFUSED]
    ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, *states))
    ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=None)
    return claimed


@pytest.mark.parametrize("by", ["study", "transfer"])
def test_a_refusal_is_told_with_status_reason_and_what_to_do(rooms: Rooms, by: str) -> None:
    """Wherever one is sent for it."""
    claimed = _refuse_one(rooms.ledger)
    subject = "1.2.1" if by == "study" else claimed.id

    said = _run(rooms, "jobs", "show", subject).stdout
    shown = _json(rooms, "jobs", "show", subject)

    assert "1 refused at pacs: C000" in said
    assert "1 refused: C000 Error: cannot understand" in said
    assert shown["reason"] == "1 refused: C000 Error: cannot understand"
    assert shown["advice"].startswith("The peer's log says why")
    assert shown["delivery_states"] == {"delivered": 3, "refused": 1}
    assert [row["reason"] for row in shown["transfers_shown"]] == [shown["reason"]]


def test_deliveries_are_counted_and_not_transfers(rooms: Rooms) -> None:
    """One refused is one, and not all of its transfer; two destinations are two deliveries of each instance."""
    _refuse_one(rooms.ledger)
    assert "4 deliveries (3 delivered, 1 refused) to pacs" in _run(rooms, "jobs", "list").stdout

    rooms.ledger.register(
        [arrival(n, study_instance_uid="1.2.9", destinations=("pacs", "two")) for n in range(10, 12)]
    )
    assert "4 deliveries (4 arriving) to pacs, two" in _run(rooms, "jobs", "list").stdout
    group(rooms.ledger)
    assert "4 deliveries (4 pending) to pacs, two" in _run(rooms, "jobs", "list").stdout
    for row in _json(rooms, "jobs", "list")["jobs"]:
        assert sum(row["delivery_states"].values()) == 4
        assert "instances" not in row


def _hold(ledger: Ledger) -> None:
    ledger.flow.hold("pacs")


def _open_breaker(ledger: Ledger) -> None:
    policy = BreakerPolicy(failures=1, initial_s=60)
    ledger.flow.failed("pacs", policy=policy, jitter=random.random(), error="no connection")


@pytest.mark.parametrize(
    ("stop", "words", "step"),
    [
        (_hold, "pacs is held: nothing is sent to it", "`dicomrelay destinations release pacs`"),
        (_open_breaker, "pacs does not answer, asked again in ", "`dicomrelay echo pacs`"),
        (None, "pacs is outside of its time windows", "window of pacs opens"),
    ],
)
def test_what_cannot_move_says_which_destination_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: Any, words: str, step: str
) -> None:
    """Ready is no word for what nobody will send."""
    hour = (time.localtime().tm_hour + 12) % 24
    window = "" if stop else f'windows = ["{hour:02}:00-{hour:02}:30"]\n'
    with rooms_at(tmp_path / "home", _TOML + window) as (rooms, _):
        rooms.ledger.register([arrival(1)])
        group(rooms.ledger)
        if stop:
            stop(rooms.ledger)
        # Something runs, so that this is not what keeps it.
        monkeypatch.setattr("dicomrelay.cli.operating.show.runs_here", lambda _: True)

        assert words in _run(rooms, "jobs", "list").stdout
        assert words in _json(rooms, "jobs", "list")["jobs"][0]["stopped_by"][0]
        assert words in _run(rooms, "jobs", "show", "1.2.1").stdout
        assert step in _json(rooms, "jobs", "show", "1.2.1")["next"]
        assert words in _run(rooms, "status").stdout
        assert "sent as soon as" not in _run(rooms, "trace", "1.2.3.1").stdout
