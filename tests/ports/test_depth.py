"""A backlog of 100,000 instances: what people ask is answered at once, and work is found as fast as with 1,000.

Times are those of the processor where all work is in this process (SQLite), so that a busy machine does not fail them; of
a server, which has processors of its own, the ratio is taken.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dicomrelay.cli.status import look
from dicomrelay.ledger import DeliveryState, Ledger
from dicomrelay.runtime.home import ledger_url as ledger_url_of
from tests.support.backlog import Backlog
from tests.support.ledger import MINUTE_MS, PACS, outcomes
from tests.support.rooms import rooms_at

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# The bar is 200 ms, and the benchmark `backlog` holds it; the processor of a machine that others share is at times half as fast.
BAR_S = 0.4
# Of 1,000 and 100,000: a rate that fell with the depth would be a factor of a hundred, of its logarithm 1.7.
RATIO = 2.0
SHAPES = {
    "many studies": Backlog(500, 200),
    "ten huge studies": Backlog(10, 10_000),
    "one instance a transfer": Backlog(1_000, 100, batch=1),
    "all of it blocked": Backlog(500, 200, state="waiting", started=True, advice="mend it"),
    "all of it given up": Backlog(500, 200, state="needs_attention", started=True),
    "held": Backlog(500, 200, state="held"),
}
# The slowest, and the most ordinary one.
SHORT = ("many studies", "ten huge studies")


def _best(ask: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    times = []
    for _ in range(3):
        began = clock()
        ask()
        times.append(clock() - began)
    return min(times)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100,000 items of a spool as names; what they hold is not looked at."""
    folder = tmp_path_factory.mktemp("kept")
    for bucket in range(256):
        (folder / f"{bucket:02x}").mkdir()
    for number in range(100_000):
        os.close(os.open(f"{folder}/{number % 256:02x}/{number:032x}.dcm", os.O_CREAT | os.O_WRONLY))
    return folder


@pytest.mark.parametrize(
    "shape", [each if each in SHORT else pytest.param(each, marks=pytest.mark.long) for each in SHAPES]
)
def test_status_and_jobs_list_of_100_000_queued_instances(tmp_path: Path, kept: Path, shape: str) -> None:
    """The whole command but the interpreter's start, with as many items in the spool."""
    with rooms_at(tmp_path / "home") as (rooms, _):
        rooms.ledger.sync_destinations([PACS])
        SHAPES[shape].fill(ledger_url_of(rooms.settings))
        rooms.settings.path("spool", "kept").rmdir()
        rooms.settings.path("spool", "kept").symlink_to(kept)

        found = look(rooms.settings, 10)

        queued = sum(to.bytes for study in found.studies for to in study.destinations)
        assert (len(found.studies), found.usage.kept, queued > 0) == (10, 100_000, True)
        status_s = _best(lambda: look(rooms.settings, 10))
        jobs_s = _best(lambda: rooms.ledger.operations.jobs(limit=20))
        print(f"{shape}: status {status_s * 1000:.0f} ms, jobs list {jobs_s * 1000:.0f} ms")
        assert (status_s < BAR_S, jobs_s < BAR_S) == (True, True), (shape, status_s, jobs_s)


@pytest.mark.long
def test_work_is_found_as_fast_with_100_000_queued_as_with_1_000(
    ledger: Ledger, ledger_url: str, backend: str
) -> None:
    """Look who wants something, claim what goes first, deliver it, hand it back: a second of a worker, at both depths."""
    clock = time.process_time if backend == "sqlite" else time.perf_counter
    Backlog(5, 200).fill(ledger_url)
    shallow = [_cycle(ledger, clock) for _ in range(4)]
    Backlog(500, 200, first=100).fill(ledger_url)
    deep = [_cycle(ledger, clock) for _ in range(12)]

    # The best of some: what a machine that is busy with something else adds is never less than nothing.
    print(
        f"{backend}: {min(shallow) * 1000:.0f} ms with 1,000 queued, {min(deep) * 1000:.0f} ms with 100,000"
    )
    assert min(deep) / min(shallow) < RATIO, (shallow, deep)


def _cycle(ledger: Ledger, clock: Callable[[], float]) -> float:
    """One transfer of 200 instances, as a runner does it: who wants something, what goes first there, to its end."""
    began = clock()
    (wanted,) = ledger.flow.wanted()
    claimed = ledger.claim_next_transfer(wanted.destination, owner="runner", lease_ms=MINUTE_MS)
    assert claimed is not None
    done = outcomes(claimed, DeliveryState.DELIVERED)
    for start in range(0, len(done), 50):
        assert ledger.record_outcomes(claimed.id, claimed.fence, done[start : start + 50])
    ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=None)
    (wanted,) = ledger.flow.wanted()
    following = ledger.claim_next_transfer(wanted.destination, owner="runner", lease_ms=MINUTE_MS)
    assert following is not None
    assert ledger.flow.hand_back(following, "a test")
    return clock() - began
