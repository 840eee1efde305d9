"""What does a backlog cost: how long does `status` take, and does the rate of claims and arrivals fall with its depth?"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter

from benchmarks.backlog_home import A_STUDY, A_TRANSFER, DESTINATION, BacklogHome
from benchmarks.figures import Bar, Measured, Place, Row, Section
from benchmarks.folders import emptied
from benchmarks.peers import RunFailed
from benchmarks.run import Run
from benchmarks.senders import without_start

TITLE = "A backlog"
SHALLOW = 1000
STATUS, START = "dicomrelay status, what it takes to start taken off", "dicomrelay, what it takes to start"
_MILLISECONDS = 200.0
_OF_SHALLOW = 0.8
_CLAIMS = 50
_ARRIVALS = 2000
_LEASE_MS = 30_000
_WITHIN_S = 120.0


def measure(run: Run) -> Iterator[Section]:
    """One section, on disk."""
    with emptied(run.disk) as folder:
        queued = BacklogHome(folder)
        try:
            rows = _rows(run, queued)
        finally:
            queued.dispose()
    note = (
        f"studies of {A_STUDY} instances in transfers of {A_TRANSFER}, SQLite; names of items in the spool without their bytes; "
        "the rates are of one process, a transaction for each claim and for 200 arrivals"
    )
    load = f"{run.backlog:,} instances queued"
    yield Section("backlog", TITLE, load, Place.DISK, tuple(rows), bars=_bars(run, rows), notes=(note,))


def _rows(run: Run, queued: BacklogHome) -> list[Row]:
    rounds = range(run.rounds)
    queued.fill(SHALLOW)
    claims = tuple(_claims_a_second(queued) for _ in rounds)
    first_arrivals = _arrivals_a_second(queued)
    queued.fill(run.backlog - _ARRIVALS)
    last_arrivals = _arrivals_a_second(queued)
    deep_claims = tuple(_claims_a_second(queued) for _ in rounds)
    pairs = [(_seconds(queued.folder, "--help"), _seconds(queued.folder, "--json")) for _ in rounds]
    return [
        Row(_claims_name(SHALLOW), claims, unit="claims/s"),
        Row(_claims_name(run.backlog), deep_claims, unit="claims/s"),
        Row(_arrivals_name(SHALLOW), (first_arrivals,), unit="instances/s"),
        Row(_arrivals_name(run.backlog), (last_arrivals,), unit="instances/s"),
        Row(START, tuple(start * 1000 for start, _ in pairs), unit="ms"),
        Row(STATUS, tuple(without_start(took, start) * 1000 for start, took in pairs), unit="ms"),
    ]


def _claims_a_second(queued: BacklogHome) -> float:
    """Claims of the transfer that goes first, one after another; they are handed back afterwards.

    Raises
    ------
    RunFailed
        There was nothing to claim.
    """
    ledger = queued.ledger
    claimed = []
    began = perf_counter()
    for _ in range(_CLAIMS):
        transfer = ledger.claim_next_transfer(DESTINATION, owner="bench", lease_ms=_LEASE_MS)
        if transfer is None:
            raise RunFailed(f"only {len(claimed)} transfers could be claimed of {queued.depth} instances")
        claimed.append(transfer)
    took = perf_counter() - began
    for transfer in claimed:
        ledger.flow.hand_back(transfer, "measured")
    return _CLAIMS / took


def _arrivals_a_second(queued: BacklogHome) -> float:
    """Arrivals, their transfers made with them."""
    began = perf_counter()
    queued.fill(queued.depth + _ARRIVALS)
    return _ARRIVALS / (perf_counter() - began)


def _seconds(folder: Path, option: str) -> float:
    """How long `dicomrelay status` takes, from outside."""
    command = [sys.executable, "-m", "dicomrelay", "status", "--home", str(folder), option]
    began = perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, timeout=_WITHIN_S)
    took = perf_counter() - began
    if done.returncode not in {0, 1}:  # 1: something needs attention, such as a disk that is nearly full
        raise RunFailed(f"dicomrelay status: exit {done.returncode}: {done.stderr.strip()[-2000:]}")
    return took


def _claims_name(depth: int) -> str:
    return f"transfers claimed, {depth:,} instances deep"


def _arrivals_name(depth: int) -> str:
    return f"instances registered and cut into transfers, {depth:,} deep"


def _bars(run: Run, rows: Sequence[Row]) -> tuple[Bar, ...]:
    deep = run.backlog
    status = next(row.median for row in rows if row.name == STATUS)
    return (
        Bar(
            "dicomrelay status",
            (Measured(STATUS, status),),
            at_most=_MILLISECONDS / run.ease,
            unit="ms",
        ),
        *run.faster(rows, "claims from deep down", (_claims_name(deep),), _claims_name(SHALLOW), _OF_SHALLOW),
        *run.faster(
            rows,
            "arrivals on top of a backlog",
            (_arrivals_name(deep),),
            _arrivals_name(SHALLOW),
            _OF_SHALLOW,
        ),
    )
