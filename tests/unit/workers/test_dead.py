"""What a killed process had in hand is taken up at once, and not when its lease ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomrelay.runtime import home
from dicomrelay.runtime.queue import Task
from dicomrelay.settings import load
from tests.support.rooms import NotedWakeUps, rooms_at, spooled
from workers import app
from workers.group import group_arrivals
from workers.lease import LEASE_MS
from workers.rooms import Rooms
from workers.sweep import Sweeper

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")

_TOML = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'
_RUNNER = """
import signal, sys
from pathlib import Path
from dicomrelay.settings import load
from workers.rooms import Rooms
rooms = Rooms.open(load(home=Path(sys.argv[1])))
assert rooms.ledger.claim_next_transfer("pacs", owner=rooms.owner, lease_ms=int(sys.argv[2]))
print("claimed", flush=True)
signal.pause()
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[tuple[Rooms, NotedWakeUps]]:
    """Rooms with one destination, and the queue's notes."""
    with rooms_at(tmp_path / "home", _TOML) as made:
        yield made


@pytest.fixture
def runner(house: tuple[Rooms, NotedWakeUps]) -> Iterator[subprocess.Popen[str]]:
    """A process that has the only transfer in hand, which was said once."""
    rooms, _ = house
    spooled(rooms, "1.2.3.4")
    group_arrivals(rooms)
    Sweeper(rooms).sweep()
    argv = [sys.executable, "-c", _RUNNER, str(rooms.settings.home), str(LEASE_MS)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "claimed\n"
            yield process
        finally:
            process.kill()


def _forwards(queue: NotedWakeUps) -> int:
    return sum(task is Task.FORWARD for task, _ in queue.said)


def test_the_sweeper_says_the_transfer_of_a_killed_process_at_the_next_look(
    house: tuple[Rooms, NotedWakeUps], runner: subprocess.Popen[str]
) -> None:
    """While it lives its lease stands."""
    rooms, queue = house
    sweeper = Sweeper(rooms)
    sweeper.sweep()
    before = _forwards(queue)
    sweeper.sweep()
    assert _forwards(queue) == before
    runner.kill()
    runner.wait()

    sweeper.sweep()
    assert _forwards(queue) == before + 1
    claimed = rooms.ledger.claim_next_transfer("pacs", owner=rooms.owner, lease_ms=LEASE_MS)
    assert claimed is not None
    sweeper.sweep()
    assert rooms.ledger.renew_transfer(claimed.id, claimed.fence, lease_ms=LEASE_MS)


def test_a_worker_that_starts_frees_what_the_one_before_it_had(
    house: tuple[Rooms, NotedWakeUps], runner: subprocess.Popen[str]
) -> None:
    """There may be no scheduler on this host."""
    rooms, _ = house
    settings = load(home=rooms.settings.home)
    app._free(settings)
    assert not rooms.ledger.due(limit=10).transfers
    runner.kill()
    runner.wait()

    app._free(settings)
    assert len(rooms.ledger.due(limit=10).transfers) == 1


def test_a_worker_starts_although_its_ledger_is_away(house: tuple[Rooms, NotedWakeUps]) -> None:
    """The leases end by themselves."""
    rooms, _ = house
    Path(home.ledger_url(rooms.settings).removeprefix("sqlite:///")).rename(
        rooms.settings.path("db", "elsewhere")
    )
    app._free(rooms.settings)
