"""The pages with 100,000 instances queued: each is answered as `dicomrelay status` is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dicomrelay.ledger import Ledger
from dicomrelay.ledger.migrate import migrate
from dicomrelay.ledger.values import TransferState
from dicomrelay.runtime import home
from dicomrelay.settings import Settings
from monitor.looks import Looks
from monitor.pages.transfer_rows import SPANS
from tests.support.backlog import Backlog
from tests.support.ledger import PACS

# As of the status (tests/ports/test_depth.py): the processor's time, on a machine that may be half as fast.
_BAR_S = 0.4


def _best(ask: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        began = time.process_time()
        ask()
        times.append(time.process_time() - began)
    return min(times)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "backlog",
    [
        Backlog(500, 200),
        Backlog(1_000, 100, batch=1),
        Backlog(500, 200, state="needs_attention", started=True),
    ],
    ids=["many studies", "one instance a transfer", "all of it given up"],
)
def test_every_page_of_100_000_queued_instances(tmp_path: Path, backlog: Backlog) -> None:
    """What each page asks of the ledger."""
    settings = Settings(home=tmp_path)
    settings.path("db").mkdir()
    url = home.ledger_url(settings)
    migrate(url)
    ledger = Ledger.open(url)
    ledger.sync_destinations([PACS])
    backlog.fill(url)
    looks = Looks(settings)
    pages: dict[str, Callable[[], object]] = {
        "transfers": lambda: looks.transfers(ledger, SPANS["day"]),
        "studies": lambda: ledger.studies(limit=50),
        "studies by UID": lambda: ledger.studies(limit=50, beginning="1.2.826.0.1.3680043.8.498.4"),
        "studies by state": lambda: ledger.operations.jobs(limit=50, state=TransferState.READY),
        "attention": lambda: ledger.needs_attention(limit=1000),
        "minutes": ledger.rates.roll_up,
    }
    times = {name: _best(ask) for name, ask in pages.items()}
    print({name: f"{seconds * 1000:.0f} ms" for name, seconds in times.items()})
    assert ledger.studies(limit=1)[0].instances == backlog.instances
    assert {name: seconds for name, seconds in times.items() if seconds > _BAR_S} == {}
    looks.close()
    ledger.dispose()
