"""Does an instance larger than memory go through in constant memory, both ways?"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from benchmarks import huge_instance
from benchmarks.contest import place_for
from benchmarks.figures import Bar, Measured, Place, Row, Section
from benchmarks.our_receiver import COUNTS
from benchmarks.peers import RunFailed
from benchmarks.receivers import Receiver, gateway, running
from benchmarks.run import Run, folder_in

TITLE = "One huge multi-frame instance"
SMALL_BYTES = 16_000_000
_GROWTH_MIB = 16.0
_ROOM = 2.2  # of the instance: the gateway's copy, and what the disk holds already should not be its last
_RECEIVED = ("dicomrelay send to the gateway", "the gateway, receiving")
_SENT = ("dicomrelay send from the spool", "a receiver that counts, on our engine")


@dataclass(frozen=True, slots=True)
class _Through:
    """Peaks in MiB of the four programs, and seconds of both ways."""

    peaks: tuple[float, ...]
    seconds: tuple[float, float]


def measure(run: Run) -> Iterator[Section]:
    """One section: the peaks of every program with the huge instance and with one of 16 MB, and what lies between."""
    size = run.huge_bytes
    run.disk.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(run.disk).free
    if free < size * _ROOM:
        raise RunFailed(
            f"{size * _ROOM / 1e9:.0f} GB of disk wanted for the huge instance, {free / 1e9:.0f} are free: "
            "choose another --directory, or a smaller --huge-bytes"
        )
    with folder_in(run.disk) as folder:
        little, great = _through(SMALL_BYTES, folder), _through(size, folder)
    gigabytes = f"{size / 1e9:g} GB"
    rows, bars = [], []
    for name, small, large in zip((*_RECEIVED, *_SENT), little.peaks, great.peaks, strict=True):
        rows.append(Row(f"{name}: at its most with {gigabytes}", (large,), unit="MiB"))
        rows.append(Row(f"{name}: at its most with 0.016 GB", (small,), unit="MiB"))
        asked = f"what {gigabytes} take more than 0.016 GB: {name}"
        bars.append(Bar(asked, (Measured(name, large - small),), at_most=_GROWTH_MIB, unit="MiB"))
    notes = tuple(
        f"{names[0]}: {seconds:.1f} s from start to end, {size / 1e6 / seconds:,.0f} MB/s."
        for names, seconds in zip((_RECEIVED, _SENT), great.seconds, strict=True)
    )
    yield Section("huge", TITLE, gigabytes, Place.DISK, tuple(rows), bars=tuple(bars), notes=notes)


def _through(size_bytes: int, folder: Path) -> _Through:
    source = folder / "source"
    source.mkdir()
    instance = source / "huge.dcm"
    huge_instance.write(instance, size_bytes)
    expected = huge_instance.data_set_of(instance)
    with place_for(folder) as received:
        with running(gateway("gateway"), received) as listening:
            in_s, in_mib = _send(instance, listening.port, folder)
            gateway_mib = listening.peak_mib
            (item,) = listening.files()
        shutil.rmtree(source)
        if huge_instance.data_set_of(item) != expected:
            raise RunFailed(f"the gateway has another data set than was sent, of {expected[0]} bytes")
        with running(_COUNTING, folder / "counted") as counting:
            out_s, out_mib = _send(item, counting.port, folder)
            counting_mib = counting.peak_mib
            lines = (counting.folder / COUNTS).read_text("ascii").splitlines()
        shutil.rmtree(folder / "counted")
    if lines != [f"{huge_instance.SOP_INSTANCE_UID} {expected[0]} {expected[1]}"]:
        raise RunFailed(f"{lines} was counted, {expected[0]} bytes with CRC {expected[1]} were sent")
    return _Through((in_mib, gateway_mib, out_mib, counting_mib), (in_s, out_s))


def _send(instance: Path, port: int, folder: Path) -> tuple[float, float]:
    """Seconds and peak in MiB of `dicomrelay send --direct`: the command that people use, scan and all."""
    home = folder / "home"
    program = str(Path(sys.executable).with_name("dicomrelay"))
    command = [program, "send", "--direct", "--home", str(home), str(instance), f"ANY@127.0.0.1:{port}"]
    began = monotonic()
    with (folder / "send.log").open("wb") as log:
        pid = os.posix_spawn(
            program,
            command,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
            ],
        )
        _, status, usage = os.wait4(pid, 0)
    seconds = monotonic() - began
    if status:
        raise RunFailed(f"dicomrelay send: {(folder / 'send.log').read_text('utf-8', 'replace')[-2000:]}")
    shutil.rmtree(home)
    return seconds, usage.ru_maxrss / 1024


def _counting(folder: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.our_receiver", str(port), str(folder), "count"]


_COUNTING = Receiver("a receiver that counts", _counting, COUNTS)
