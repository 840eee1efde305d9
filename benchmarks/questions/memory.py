"""What does an open association cost the gateway in memory?"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data_sets import write
from benchmarks.figures import Bar, Measured, Place, Row, Section
from benchmarks.folders import emptied
from benchmarks.peers import RunFailed
from benchmarks.processes import resident_mib
from benchmarks.receivers import Running, gateway, running
from benchmarks.run import Run

TITLE = "Gateway: memory of open associations"
IDLE = "one more association, idle"
USED = "one more association, after a data set"
TOTAL = "the whole gateway, all open, after their data sets"
PEAK = "the whole gateway at its most, all receiving at once"
_MIB_EACH = 2.0
_MIB_IN_ALL = 300.0
_ROOM = 20


@dataclass(frozen=True, slots=True)
class _Held:
    """MiB of the gateway: before anybody called, with idle associations, with used ones, and at its most."""

    alone: float
    idle: float
    used: float
    peak: float


def measure(run: Run) -> Iterator[Section]:
    """One section: the growth of the gateway divided by the associations, buffers and threads with it."""
    count = run.open_associations
    settings = {
        "max_associations": count + _ROOM,
        "max_associations_per_peer": count + _ROOM,
        "reserved_associations": 0,
    }
    load = run.load("ct", instances=1)
    with emptied(run.disk) as folder:
        write(load, folder / "source")
        instance = next((folder / "source").iterdir())
        held = []
        for _ in range(run.rounds):
            with (
                emptied(folder) as received,
                running(gateway("gateway", **settings), received) as listening,
            ):
                _hold(
                    listening, instance, load.sop_class_uid, 1
                )  # what the first association loads is no part of it
                held.append(_hold(listening, instance, load.sop_class_uid, count))
                if len(list(listening.files())) != count + 1:
                    raise RunFailed("not every association's instance arrived")
    rows = (
        Row(IDLE, tuple((each.idle - each.alone) / count for each in held), unit="MiB"),
        Row(USED, tuple((each.used - each.alone) / count for each in held), unit="MiB"),
        Row(TOTAL, tuple(each.used for each in held), unit="MiB"),
        Row(PEAK, tuple(each.peak for each in held), unit="MiB"),
    )
    note = f"{count} associations from one client, each sends one CT slice of 525 kB while all the others do."
    yield Section(
        "memory",
        TITLE,
        f"{count} associations",
        Place.DISK,
        rows,
        bars=_bars(run, rows, count),
        notes=(note,),
    )


def _hold(listening: Running, instance: Path, sop_class_uid: str, count: int) -> _Held:
    alone = resident_mib(listening.process.pid)
    command = [
        sys.executable, "-m", "benchmarks.many_associations",
        str(listening.port), str(instance), sop_class_uid, str(count),
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        if client.stdin is None or client.stdout is None:
            raise RunFailed("the client has no pipes")
        found = []
        for word in ("open", "stored"):
            if client.stdout.readline() != f"{word}\n":
                raise RunFailed(f"the client of {count} associations did not come to {word!r}")
            found.append(resident_mib(listening.process.pid))
            client.stdin.write("go on\n")
            client.stdin.flush()
    if client.returncode:
        raise RunFailed(f"the client of {count} associations failed")
    idle, used = found
    return _Held(alone, idle, used, listening.peak_mib)


def _bars(run: Run, rows: tuple[Row, ...], count: int) -> tuple[Bar, ...]:
    by_name = {row.name: row.median for row in rows}
    return (
        Bar(
            "memory of an association, its buffer with it",
            (Measured(USED, by_name[USED]),),
            at_most=_MIB_EACH / run.ease,
            unit="MiB",
        ),
        Bar(
            f"memory of the gateway with {count} associations",
            (Measured(PEAK, by_name[PEAK]),),
            at_most=_MIB_IN_ALL,
            unit="MiB",
        ),
    )
