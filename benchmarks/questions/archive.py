"""How long does the index of an archive with a million instances take to answer, and how much memory does an answer take?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from benchmarks.archive_index import fill
from benchmarks.ask_archive import QUESTIONS, SCAN, SELECT, STATISTICS
from benchmarks.figures import Bar, Measured, Place, Row, Section
from benchmarks.folders import emptied
from benchmarks.run import Run
from benchmarks.senders import run as run_program

TITLE = "The archive's index"
FILLED = "instances put into the index, 5,000 in a transaction"
_QUERY_MS = 50.0
_STATISTICS_MS = 200.0
_PEAK_MIB = 128.0
_QUERIES = 200
_STATISTICS = 10
_PERCENTILE = 0.99


@dataclass(frozen=True, slots=True)
class _Asked:
    """How long each took in milliseconds, and the most memory that the process held."""

    took: Sequence[float]
    peak_mib: float

    @property
    def p99(self) -> float:
        """So long or less took 99 of 100."""
        return sorted(self.took)[max(0, round(len(self.took) * _PERCENTILE) - 1)]


def measure(run: Run) -> Iterator[Section]:
    """One section, on disk."""
    with emptied(run.disk) as folder:
        url = f"sqlite:///{folder / 'index.sqlite'}"
        began = perf_counter()
        fill(url, run.archive)
        rate = run.archive / (perf_counter() - began)
        asked = {name: _rounds(run, folder, url, name, _QUERIES) for name in QUESTIONS}
        others = {
            name: _rounds(run, folder, url, name, count)
            for name, count in ((STATISTICS, _STATISTICS), (SCAN, 1), (SELECT, 1))
        }
    rows = (
        Row(FILLED, (rate,), unit="instances/s"),
        *(Row(f"{name}, 99 of 100", _p99(each), unit="ms") for name, each in asked.items()),
        *(Row(name, _p99(each), unit="ms") for name, each in others.items()),
        *(Row(f"memory: {name}", _peaks(each), unit="MiB") for name, each in (asked | others).items()),
    )
    notes = (
        f"SQLite; {_QUERIES} questions a round with other values each time, at most 100 rows an answer, a new process each round",
        "memory is the most that the process held, with the interpreter and the libraries",
    )
    load = f"{run.archive:,} instances"
    yield Section("archive", TITLE, load, Place.DISK, rows, bars=_bars(run, asked, others), notes=notes)


def _rounds(run: Run, folder: Path, url: str, name: str, count: int) -> list[_Asked]:
    found = [_ask(folder, url, name, count, seed) for seed in range(run.warm_up + run.rounds)]
    return found[run.warm_up :]


def _ask(folder: Path, url: str, name: str, count: int, seed: int) -> _Asked:
    """A process of its own, so that what it holds at most is what these questions take."""
    result = folder / "took.json"
    program = [sys.executable, "-m", "benchmarks.ask_archive", url, name, str(count), str(seed), str(result)]
    said = json.loads(run_program([sys.executable, "-m", "benchmarks.peak_of", *program]))
    return _Asked(json.loads(result.read_text("utf-8")), said["peak_mib"])


def _p99(rounds: Sequence[_Asked]) -> tuple[float, ...]:
    return tuple(each.p99 for each in rounds)


def _peaks(rounds: Sequence[_Asked]) -> tuple[float, ...]:
    return tuple(each.peak_mib for each in rounds)


def _median(values: Sequence[float]) -> float:
    return Row("", tuple(values)).median


def _bars(run: Run, asked: dict[str, list[_Asked]], others: dict[str, list[_Asked]]) -> tuple[Bar, ...]:
    slowest = max(asked, key=lambda name: _median(_p99(asked[name])))
    everything = asked | others
    largest = max(everything, key=lambda name: _median(_peaks(everything[name])))
    return (
        Bar(
            "99 of 100 answers of every kind of query",
            (Measured(slowest, _median(_p99(asked[slowest]))),),
            at_most=_QUERY_MS / run.ease,
            unit="ms",
        ),
        Bar(
            "statistics",
            (Measured(STATISTICS, _median(_p99(others[STATISTICS]))),),
            at_most=_STATISTICS_MS / run.ease,
            unit="ms",
        ),
        Bar(
            "the most memory of any of them",
            (Measured(largest, _median(_peaks(everything[largest]))),),
            at_most=_PEAK_MIB,
            unit="MiB",
        ),
    )
