"""What do eight senders at once gain over one, into a gateway that is durable before each answer?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.contest import stored_in, turns, verify
from benchmarks.data_sets import DataSets, write
from benchmarks.figures import Bar, Place, Row, Section
from benchmarks.folders import emptied
from benchmarks.peers import RunFailed
from benchmarks.receivers import Receiver, gateway, running
from benchmarks.run import Run
from benchmarks.senders import OUR_SENDER

TITLE = "Gateway: eight associations at once"
AT_ONCE = 8
REFERENCE = "1 association → gateway"
_RECEIVERS = (gateway("gateway"), gateway("gateway of 2 processes", processes=2))
_WITHIN_S = 600.0


def measure(run: Run) -> Iterator[Section]:
    """A section for each load, on disk: one sender and eight in turn, each with a part of the same instances."""
    for name in run.among("ct", "small"):
        load = run.load(name)
        with emptied(run.disk) as folder:
            rows = _contest(run, load, folder)
        yield Section("together", TITLE, name, Place.DISK, tuple(rows), REFERENCE, _bars(run, rows))


def _contest(run: Run, load: DataSets, folder: Path) -> list[Row]:
    source = folder / "source"
    write(load, source)
    contestants = [(senders, receiver) for receiver in _RECEIVERS for senders in (1, AT_ONCE)]
    found: dict[str, list[float]] = {_name(*each): [] for each in contestants}
    for (senders, receiver), counts in turns(contestants, run.rounds, run.warm_up):
        seconds = _once(senders, receiver, load, source, folder)
        if counts:
            found[_name(senders, receiver)].append(seconds)
    return [Row(name, tuple(values), amount=load.instances) for name, values in found.items()]


def _once(senders: int, receiver: Receiver, load: DataSets, source: Path, folder: Path) -> float:
    sent = stored_in(source.iterdir())
    with emptied(folder) as received, running(receiver, received) as listening:
        os.sync()
        seconds = _send(min(senders, load.instances), listening.port, load, source)
        verify(_name(senders, receiver), listening, sent)
    return seconds


def _send(senders: int, port: int, load: DataSets, source: Path) -> float:
    """Seconds from the first connection to the last release; all are started before any begins."""
    command = [sys.executable, "-m", OUR_SENDER, str(port), str(source), load.sop_class_uid, "--wait"]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, "--part", f"{number}/{senders}"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(1, senders + 1)
        ]
        for process in processes:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise RunFailed("a sender of ours does not start")
        for process in processes:
            if process.stdin is not None:
                process.stdin.write("go\n")
                process.stdin.flush()
        answers = [process.communicate(timeout=_WITHIN_S)[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RunFailed("a sender of ours failed")
    told = [json.loads(answer) for answer in answers]
    return float(max(each["ended"] for each in told) - min(each["began"] for each in told))


def _name(senders: int, receiver: Receiver) -> str:
    return f"{senders} association{'s' if senders > 1 else ''} → {receiver.name}"


def _bars(run: Run, rows: Sequence[Row]) -> tuple[Bar, ...]:
    one, two = (_name(AT_ONCE, receiver) for receiver in _RECEIVERS)
    return (
        *run.faster(rows, "eight associations beside one", (one,), REFERENCE, 1.3),
        *run.faster(rows, "eight associations and two processes beside one and one", (two,), REFERENCE, 1.3),
    )
