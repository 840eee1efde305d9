"""How long from the first byte received to the last instance at the destination, through a whole relay?"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contest import Stored, stored_in, turns
from benchmarks.data_sets import LOADS, DataSets, write
from benchmarks.figures import Bar, Place, Row, Section
from benchmarks.folders import emptied
from benchmarks.peers import RunFailed, require
from benchmarks.receivers import RECEIVERS, running
from benchmarks.relays import ORTHANC, ORTHANC_AS_INSTALLED, RELAY, Relay, relaying
from benchmarks.run import Run
from benchmarks.senders import SENDERS, start_of_storescu

TITLE = "Receive, group, forward, archive"
ARCHIVED = "archived too"
_AT_LEAST = {"ct": 3.0, "small": 10.0}
_WITHIN_S = 900.0
# With fewer a relay that waits for the end of a study does nothing but wait.
_LEAST_SCALE = 0.1
_LOOK_EVERY_S = 0.05
# Orthanc takes minutes for the small instances: so many rounds are enough to see how they spread.
_MOST_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class _Times:
    """Seconds since the first byte: until the destination had everything, and the archive of the relay."""

    forwarded: float
    archived: float | None


def measure(run: Run) -> Iterator[Section]:
    """A section for each load, on disk."""
    relays = [RELAY] if run.only_ours else [RELAY, ORTHANC_AS_INSTALLED, ORTHANC]
    require({"storescu", "storescp", *(program for relay in relays for program in relay.needs)})
    for name in run.among("ct", "small"):
        load = LOADS[name].scaled(max(run.scale, _LEAST_SCALE))
        with emptied(run.disk) as folder:
            rows = _contest(run, load, relays, folder)
        asked = "dicomrelay beside Orthanc as installed, that forwards by Lua"
        other = _name(ORTHANC_AS_INSTALLED)
        bars: tuple[Bar, ...] = run.faster(rows, asked, (_name(RELAY),), other, _AT_LEAST[name])
        reference = "" if run.only_ours else other
        yield Section("pipeline", TITLE, name, Place.DISK, tuple(rows), reference, bars)


def _contest(run: Run, load: DataSets, relays: Sequence[Relay], folder: Path) -> list[Row]:
    source = folder / "source"
    write(load, source)
    start_s = start_of_storescu(next(source.iterdir()))
    found: dict[str, list[float]] = {}
    for relay, counts in turns(relays, min(run.rounds, _MOST_ROUNDS), 0):
        times = _once(relay, load, source, start_s, folder)
        if not counts:
            continue
        found.setdefault(_name(relay), []).append(times.forwarded)
        if times.archived is not None:
            found.setdefault(f"{_name(relay)}, {ARCHIVED}", []).append(times.archived)
    return [Row(name, tuple(values), amount=load.instances) for name, values in found.items()]


def _once(relay: Relay, load: DataSets, source: Path, start_s: float, folder: Path) -> _Times:
    sent = stored_in(source.iterdir())
    with (
        emptied(folder) as received,
        emptied(folder) as home,
        running(RECEIVERS["storescp"], received) as sink,
        relaying(relay, home, sink.port) as listening,
    ):
        os.sync()
        began = time.time()  # the clock of the files' times
        SENDERS["storescu"].send(listening.port, load, source, start_s)
        began += start_s
        forwarded = _last(lambda: list(sink.files()), sent, f"{relay.name}: the destination")
        archived = _last(listening.archived, sent, f"{relay.name}: its archive") if relay.archived else None
    return _Times(forwarded - began, None if archived is None else archived - began)


def _last(files: Callable[[], list[Path]], sent: Stored, whose: str) -> float:
    """When the last of the instances was written, once all are there with all their bytes.

    Raises
    ------
    RunFailed
        They are not in time.
    """
    deadline = time.monotonic() + _WITHIN_S
    found = files()
    while len(found) < sent.instances or stored_in(found) != sent:
        if time.monotonic() > deadline:
            raise RunFailed(f"{whose} has {len(found)} of {sent.instances} after {_WITHIN_S:g} s")
        time.sleep(_LOOK_EVERY_S)
        found = files()
    return max(path.stat().st_mtime for path in found)


def _name(relay: Relay) -> str:
    return f"storescu → {relay.name} → storescp"
