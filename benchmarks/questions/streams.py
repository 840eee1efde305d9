"""A hundred clients stream a study of 600 slices each: is memory flat, is nobody starved, when is the first frame there?"""

from __future__ import annotations

import json
import statistics
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydicom import dcmread

from archive import Archive
from archive.importing import import_files
from benchmarks.archives import ArchiveServer, serving
from benchmarks.data_sets import write
from benchmarks.figures import Bar, Measured, Place, Row, Section
from benchmarks.folders import emptied
from benchmarks.peers import RunFailed
from benchmarks.processes import resident_mib
from benchmarks.run import Run
from benchmarks.senders import run as run_program

TITLE = "Scheduled streams"
CLIENTS = 100
_LEAST_CLIENTS = 10
_APART_S = 0.02
_SHARE = 0.5
_FIRST_MS = 50.0
_GROWTH_MIB = 16.0
_SAMPLE_S = 0.25
_ALONE = 20
_MOST_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class _Round:
    """What came of all clients once."""

    gb_per_s: float
    share: float
    first_ms: float
    alone_ms: float
    peak_mib: float
    growth_mib: float


def measure(run: Run) -> Iterator[Section]:
    """One section: the archive is on disk, and what is streamed in the page cache."""
    if "ct" not in run.loads:
        return
    load = run.load("ct")
    load = replace(load, instances_a_study=load.instances)
    clients = max(_LEAST_CLIENTS, round(CLIENTS * run.scale))
    with emptied(run.disk) as folder, ExitStack() as stack:
        source = folder / "source"
        write(load, source)
        study = str(dcmread(next(source.iterdir()), stop_before_pixels=True).StudyInstanceUID)
        home = stack.enter_context(emptied(folder))
        _fill(home, source)
        port = stack.enter_context(serving(_OURS, home, source, 0))
        pid = _listener(port)
        rounds = [
            _round(port, pid, study, clients, load.instances)
            for _ in range(run.warm_up + min(run.rounds, _MOST_ROUNDS))
        ][run.warm_up :]
    rows = (
        Row("all clients together", tuple(each.gb_per_s for each in rounds), unit="GB/s"),
        Row("the slowest client beside the mean", tuple(each.share for each in rounds), unit="×"),
        Row("first frame, 99 of 100 clients", tuple(each.first_ms for each in rounds), unit="ms"),
        Row("first frame, one client at a time", tuple(each.alone_ms for each in rounds), unit="ms"),
        Row("memory of the server at most", tuple(each.peak_mib for each in rounds), unit="MiB"),
        Row("memory gained in the second half", tuple(each.growth_mib for each in rounds), unit="MiB"),
    )
    notes = (
        f"{clients} clients over WebSocket in one process, one come each {_APART_S * 1000:.0f} ms, each with its primary index",
        "the clients read headers and throw the frames away; server and clients share the machine",
        "first frame: from `open` to the last byte of the frame at the primary index",
    )
    title = f"{TITLE}: {clients} clients, a study of {load.instances} slices each"
    yield Section("streams", title, "ct", Place.DISK, rows, bars=_bars(run, rows), notes=notes)


def _round(port: int, pid: int, study: str, clients: int, slices: int) -> _Round:
    alone = _clients(port, study, min(_ALONE, clients), (), slices)
    sampled: list[float] = []
    stopping = threading.Event()

    def sample() -> None:
        while not stopping.wait(_SAMPLE_S):
            sampled.append(resident_mib(pid))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        told = _clients(port, study, clients, ("--apart", str(_APART_S)), slices)
    finally:
        stopping.set()
        sampler.join()
    sampled = sampled or [resident_mib(pid)]
    half = max(1, len(sampled) // 2)
    return _Round(
        told["bytes"] / told["seconds"] / 1e9,
        min(told["rates"]) / statistics.mean(told["rates"]),
        _percentile(told["first_ms"]),
        _percentile(alone["first_ms"]),
        max(sampled),
        max(sampled[half:], default=0.0) - max(sampled[:half]) if len(sampled) > 1 else 0.0,
    )


def _clients(port: int, study: str, clients: int, options: tuple[str, ...], slices: int) -> dict[str, Any]:
    """The figures, once it is seen that every client had every frame."""
    command = [sys.executable, "-m", "benchmarks.stream_clients", str(port), study, str(clients), *options]
    told: dict[str, Any] = json.loads(run_program(command))
    if told["frames"] != [slices] * clients:
        raise RunFailed(f"streams: {slices} frames were asked for, clients had {told['frames']}")
    return told


def _percentile(values: list[float]) -> float:
    return sorted(values)[max(0, round(len(values) * 0.99) - 1)]


def _bars(run: Run, rows: tuple[Row, ...]) -> tuple[Bar, ...]:
    def measured(number: int) -> tuple[Measured, ...]:
        return (Measured(rows[number].name, rows[number].median),)

    return (
        Bar("the slowest client beside the mean of all", measured(1), at_least=_SHARE * run.ease),
        Bar("the first frame, 99 of 100", measured(2), at_most=_FIRST_MS / run.ease, unit="ms"),
        Bar("memory gained in the second half", measured(5), at_most=_GROWTH_MIB / run.ease, unit="MiB"),
    )


def _command(folder: Path, port: int, _destination_port: int) -> list[str]:
    return [sys.executable, "-m", "dicomrelay", "streamer", "--home", str(folder), "--port", str(port)]


def _nothing(*_: object) -> None:
    """It was filled before."""


_OURS = ArchiveServer("our streamer", "", _command, _nothing)


def _fill(home: Path, source: Path) -> None:
    archive = Archive.open(home / "archive")
    try:
        report = import_files(archive, [source], workers=1)
        if report.problems or report.stopped:
            raise RunFailed(f"our archive did not take all: {report.stopped or report.counts}")
        study = str(dcmread(next(source.iterdir()), stop_before_pixels=True).StudyInstanceUID)
        for stored in archive.instances(study):
            archive.prepare_frames_of(stored)
    finally:
        archive.close()


def _listener(port: int) -> int:
    """The process that listens on a port, by what Linux says of sockets."""
    wanted = f":{port:04X}"
    lines = Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]
    inodes = {
        fields[9] for line in lines if (fields := line.split())[1].endswith(wanted) and fields[3] == "0A"
    }
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith("socket:[") and target[8:-1] in inodes:
            return int(link.parts[2])
    raise RunFailed(f"nobody listens on port {port}")
