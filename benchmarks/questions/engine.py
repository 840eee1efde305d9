"""What do the checks of the engine cost, and how fast is it beside its peers, when nobody flushes?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.contest import Pair, contest
from benchmarks.figures import Bar, Row, Section
from benchmarks.folders import emptied
from benchmarks.receivers import RECEIVERS
from benchmarks.run import Run
from benchmarks.senders import SENDERS, ours_with

TITLE = "Engine: no flush"
REFERENCE = "minimal → minimal"
PEERS = "storescu → storescp"
_OF_DCMTK = {"ct": 2.5, "small": 2.0, "big": 2.5}


def pairs(run: Run) -> list[Pair]:
    """Who takes part."""
    windowed = ours_with(run.window)
    return [
        Pair(SENDERS["minimal"], RECEIVERS["minimal"]),
        Pair(SENDERS["ours"], RECEIVERS["minimal"]),
        Pair(SENDERS["minimal"], RECEIVERS["ours"]),
        Pair(SENDERS["ours"], RECEIVERS["ours"]),
        Pair(windowed, RECEIVERS["ours"]),
        Pair(SENDERS["minimal"], RECEIVERS["storescp"]),
        Pair(SENDERS["ours"], RECEIVERS["storescp"]),
        Pair(windowed, RECEIVERS["storescp"]),
        Pair(SENDERS["storescu"], RECEIVERS["storescp"]),
        Pair(SENDERS["storescu"], RECEIVERS["storescp +B"]),
        Pair(SENDERS["storescu"], RECEIVERS["ours"]),
        Pair(SENDERS["ours"], RECEIVERS["pynetdicom"]),
        Pair(SENDERS["storescu"], RECEIVERS["pynetdicom"]),
    ]


def measure(run: Run) -> Iterator[Section]:
    """A section for each load, on disk and in memory."""
    taking_part = run.present(pairs(run))
    for place, directory in run.places():
        for name in run.among("ct", "small", "big"):
            load = run.load(name)
            with emptied(directory) as folder:
                rows = contest(load, taking_part, run.rounds, folder, warm_up=run.warm_up)
            bars = _bars(run, name, rows)
            yield Section("engine", TITLE, name, place, tuple(rows), REFERENCE, bars)


def _bars(run: Run, load: str, rows: Sequence[Row]) -> tuple[Bar, ...]:
    both = ("ours → ours", f"ours, window {run.window} → ours")
    sending = ("ours → storescp", f"ours, window {run.window} → storescp")
    of_dcmtk = _OF_DCMTK[load]
    return (
        *run.faster(rows, "our sender and receiver beside the minimal pair", both, REFERENCE, 0.8),
        *run.faster(rows, "our sender and receiver beside DCMTK's", both, PEERS, of_dcmtk),
        *run.faster(rows, "our sender beside storescu, to storescp", sending, PEERS, 1.6),
    )
