"""`dicomrelay scale-signal`: what could be sent at once decides, and not what waits."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicomrelay.cli.main import cli
from dicomrelay.cli.scale_signal import signal_of
from dicomrelay.ledger.breaker import BreakerState
from dicomrelay.ledger.flow_summary import DestinationFlow
from tests.support.ledger import arrival, claimed_transfer
from tests.support.rooms import rooms_at

PACS = DestinationFlow(
    name="pacs", kind="configured", address="PACS@127.0.0.1:104", breaker=BreakerState.CLOSED.value, failures=0,
    probes=0, probe_in_ms=None, open_for_ms=None, held_for_ms=None, associations=40, limit=40, running=3,
    transfers=1000, instances=200_000, bytes=10**11, oldest_ms=60_000, bytes_per_s=0.0, instances_per_s=0.0, eta_s=None,
    last_error="", last_delivered_ms=None,
)  # fmt: skip


def wanted(*flows: DestinationFlow, shut: tuple[str, ...] = ()) -> int:
    return signal_of(flows, shut, places=32, least=0, most=1000).workers


def test_a_backlog_asks_for_what_its_destination_takes_at_once() -> None:
    """A thousand transfers for forty associations are work for two workers of 32; three transfers are for one."""
    few = dataclasses.replace(PACS, transfers=3)

    assert wanted(PACS) == 2
    assert wanted(PACS, dataclasses.replace(PACS, name="other")) == 3  # 80 of 32 each
    assert wanted(few) == 1
    assert wanted(dataclasses.replace(few, transfers=0)) == 0


def test_what_no_worker_could_send_asks_for_none() -> None:
    """Held, outside its windows; of one that is away a single trial, whatever waits for it."""
    away = dataclasses.replace(PACS, breaker=BreakerState.OPEN.value)

    assert wanted(dataclasses.replace(PACS, held_for_ms=1)) == 0
    assert wanted(PACS, shut=("pacs",)) == 0
    assert wanted(*(dataclasses.replace(away, name=str(number)) for number in range(32))) == 1
    assert signal_of([away], (), places=32, least=0, most=9).held_back == 999


# Examples are quick; a machine that is busy with other tests makes them look slow.
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(1, 64), st.sampled_from(list(BreakerState))), max_size=20),
    st.integers(1, 256), st.integers(0, 5), st.integers(5, 50),
)  # fmt: skip
def test_the_workers_have_room_for_all_that_is_runnable(
    rows: list[tuple[int, int, BreakerState]], places: int, least: int, most: int
) -> None:
    """Within the bounds; without them enough, and one less would not be."""
    flows = [
        dataclasses.replace(PACS, name=str(number), transfers=transfers, limit=limit, breaker=breaker.value)
        for number, (transfers, limit, breaker) in enumerate(rows)
    ]
    signal = signal_of(flows, (), places=places, least=least, most=most)

    assert least <= signal.workers <= most
    assert signal.wanted * places >= signal.runnable
    assert (signal.wanted - 1) * places < signal.runnable or signal.wanted == 0
    assert signal.runnable + signal.held_back == signal.transfers


def test_the_command_says_a_number_and_its_reasons(tmp_path: Path) -> None:
    """A bare number on standard output, for scripts; all of it as JSON."""
    toml = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'
    with rooms_at(tmp_path / "home", toml) as (rooms, _):
        claimed_transfer(rooms.ledger, [arrival(number) for number in range(4)])
        home = ["--home", str(rooms.settings.home)]
        runner = CliRunner()
        said = runner.invoke(cli, ["scale-signal", *home], standalone_mode=False)
        machine = runner.invoke(cli, ["scale-signal", "--min", "3", "--json", *home], standalone_mode=False)
        wrong = runner.invoke(cli, ["scale-signal", "--min", "3", "--max", "2", *home], standalone_mode=False)

    assert said.stdout == "1\n"
    assert json.loads(machine.stdout) == {
        "workers": 3, "wanted": 1, "runnable": 1, "running": 1, "transfers": 1, "held_back": 0, "transfers_each": 32,
    }  # fmt: skip
    assert "--min 3 is more than --max 2" in str(wrong.exception)
