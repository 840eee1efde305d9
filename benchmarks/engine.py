"""How fast is the engine beside programs that do nothing but move bytes, and beside its peers?

Question: what do the state machine, the limits, the deadlines and the service port cost? Every pair of sender and
receiver sends the same files over loopback; the pairs take turns, so that what disturbs one disturbs all, and each
figure is the median of its rounds with the spread beside it. A Python sender times itself from before its connection
to after its release; storescu, which starts in milliseconds, is timed from outside.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter, sleep

from benchmarks.data_sets import LOADS, DataSets, write
from dicomrelay.runtime.ports import free_ports

# DCMTK waits for delayed acknowledgements without it (40 ms an instance).
_ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


@dataclass(frozen=True, slots=True)
class Pair:
    """A sender and a receiver by name; `bar` is the least ratio to minimal to minimal that we ask of it."""

    sender: str
    receiver: str
    bar: float = 0.0

    def __str__(self) -> str:
        return f"{self.sender} → {self.receiver}"


REFERENCE = Pair("minimal", "minimal")
PAIRS = (
    REFERENCE,
    Pair("ours", "minimal", bar=0.6),
    Pair("minimal", "ours", bar=0.6),
    Pair("ours", "ours", bar=0.6),
    Pair("ours", "storescp"),
    Pair("storescu", "storescp"),
    Pair("storescu", "ours"),
    Pair("ours", "pynetdicom"),
)
# A receiver that answers when the data is durable is measured beside `minimal-sync`, which does fdatasync.
DURABLE_PAIRS = (Pair("minimal", "minimal-sync"),)

_RECEIVERS: dict[str, list[str]] = {
    "minimal": ["benchmarks.speed_of_light.minimal_receiver"],
    "minimal-sync": ["benchmarks.speed_of_light.minimal_receiver", "sync"],
    "ours": ["benchmarks.our_receiver"],
    "pynetdicom": ["benchmarks.pynetdicom_receiver"],
}
_SENDERS = {"minimal": "benchmarks.speed_of_light.minimal_sender", "ours": "benchmarks.our_sender"}


@dataclass(frozen=True, slots=True)
class Figure:
    """What one pair took on one load: seconds of each round."""

    pair: Pair
    seconds: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)


def available(pairs: Sequence[Pair]) -> list[Pair]:
    """Those whose programs are installed."""
    missing = {name for name in ("storescu", "storescp") if shutil.which(name) is None}
    return [pair for pair in pairs if not {pair.sender, pair.receiver} & missing]


def measure(
    load: DataSets, pairs: Sequence[Pair], rounds: int, directory: Path | None = None
) -> list[Figure]:
    """Every pair on one load, taking turns, after one round that does not count."""
    with tempfile.TemporaryDirectory(dir=directory) as temporary:
        source = Path(temporary, "source")
        write(load, source)
        seconds: dict[Pair, list[float]] = {pair: [] for pair in pairs}
        for round_number in range(rounds + 1):
            for pair in pairs:
                took = _once(pair, load, source, Path(temporary, "received"))
                if round_number:
                    seconds[pair].append(took)
    return [Figure(pair, tuple(found)) for pair, found in seconds.items()]


def table(load: DataSets, figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table, ratios to the minimal pair of the same run."""
    reference = next(figure for figure in figures if figure.pair in (REFERENCE, DURABLE_PAIRS[0])).median_s
    lines = [
        f"| {load.name}: {load.instances} instances | median s | spread s | instances/s | of minimal → minimal |",
        "|---|---|---|---|---|",
    ]
    for figure in figures:
        spread = f"{min(figure.seconds):.3f}–{max(figure.seconds):.3f}"
        rate, ratio = load.instances / figure.median_s, reference / figure.median_s
        lines.append(f"| {figure.pair} | {figure.median_s:.3f} | {spread} | {rate:,.0f} | {ratio:.2f} |")
    return "\n".join(lines)


def under_the_bar(figures: Sequence[Figure]) -> list[str]:
    """The pairs that are slower than we ask, in words."""
    reference = next(figure for figure in figures if figure.pair == REFERENCE).median_s
    return [
        f"{figure.pair}: {reference / figure.median_s:.2f}, asked {figure.pair.bar}"
        for figure in figures
        if reference / figure.median_s < figure.pair.bar
    ]


def loads(names: Sequence[str], scale: float) -> list[DataSets]:
    """The loads by name, made smaller."""
    return [LOADS[name].scaled(scale) for name in names]


def _once(pair: Pair, load: DataSets, source: Path, received: Path) -> float:
    received.mkdir()
    try:
        with _receiver(pair.receiver, received) as port:
            seconds = _send(pair.sender, port, load, source)
        arrived = sum(1 for _ in received.iterdir())
        if arrived != load.instances:
            raise SystemExit(f"{pair}: {arrived} of {load.instances} instances arrived")
        return seconds
    finally:
        shutil.rmtree(received)


def _send(sender: str, port: int, load: DataSets, source: Path) -> float:
    if sender == "storescu":
        command = [
            "storescu",
            "--scan-directories",
            "--propose-implicit",
            "127.0.0.1",
            str(port),
            str(source),
        ]
        command[2:3] = []
        began = perf_counter()
        subprocess.run(command, check=True, env=_ENVIRONMENT)
        return perf_counter() - began
    command = [sys.executable, "-m", _SENDERS[sender], str(port), str(source), load.sop_class_uid]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@contextmanager
def _receiver(name: str, directory: Path) -> Iterator[int]:
    if name == "storescp":
        (port,) = free_ports(1)
        options = ["--max-pdu", "131072", "+B", "-od", str(directory), str(port)]
        process = subprocess.Popen(["storescp", *options], env=_ENVIRONMENT)
        _await_listener(port)
    else:
        module, *options = _RECEIVERS[name]
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(directory), *options], stdout=subprocess.PIPE, text=True
        )
        if process.stdout is None:
            raise SystemExit("no output")
        port = int(process.stdout.readline())
    try:
        yield port
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def _await_listener(port: int) -> None:
    deadline = monotonic() + 10
    while monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            sleep(0.02)
        else:
            return
    raise SystemExit("storescp does not listen")
