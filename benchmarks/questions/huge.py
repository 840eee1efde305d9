"""Does an instance larger than memory go through in constant memory, both ways?"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import huge_instance
from benchmarks.figures import Bar, Measured, Place, Row, Section
from benchmarks.folders import emptied
from benchmarks.our_receiver import COUNTS
from benchmarks.peers import RunFailed
from benchmarks.receivers import Receiver, gateway, running
from benchmarks.run import Run
from benchmarks.senders import run as run_program

TITLE = "One huge multi-frame instance"
SMALL_BYTES = 16_000_000
_GROWTH_MIB = 16.0
_ROOM = 2.2  # of the instance: the gateway's copy, and as much left for everybody else
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
    free = shutil.disk_usage(run.disk).free
    if free < size * _ROOM:
        raise RunFailed(
            f"{size * _ROOM / 1e9:.0f} GB of disk wanted for the huge instance, {free / 1e9:.0f} are free: "
            "choose another --directory, or a smaller --huge-bytes"
        )
    with emptied(run.disk) as folder:
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
    instance = folder / "huge.dcm"
    huge_instance.write(instance, size_bytes)
    expected = huge_instance.data_set_of(instance)
    with emptied(folder) as received:
        with running(gateway("gateway"), received) as listening:
            in_s, in_mib = _send(instance, listening.port, folder)
            gateway_mib = listening.peak_mib
            (item,) = listening.files()
        if huge_instance.data_set_of(item) != expected:
            raise RunFailed(f"the gateway has another data set than was sent, of {expected[0]} bytes")
        with emptied(folder) as counted, running(_COUNTING, counted) as counting:
            out_s, out_mib = _send(item, counting.port, folder)
            counting_mib = counting.peak_mib
            lines = (counting.folder / COUNTS).read_text("ascii").splitlines()
    if lines != [f"{huge_instance.SOP_INSTANCE_UID} {expected[0]} {expected[1]}"]:
        raise RunFailed(f"{lines} was counted, {expected[0]} bytes with CRC {expected[1]} were sent")
    return _Through((in_mib, gateway_mib, out_mib, counting_mib), (in_s, out_s))


def _send(instance: Path, port: int, folder: Path) -> tuple[float, float]:
    """Seconds and peak in MiB of `dicomrelay send --direct`: the command that people use, scan and all."""
    program = str(Path(sys.executable).with_name("dicomrelay"))
    address, home = f"ANY@127.0.0.1:{port}", str(folder / "home")
    command = [program, "send", "--direct", "--home", home, str(instance), address]
    told = json.loads(run_program([sys.executable, "-m", "benchmarks.peak_of", *command]))
    return told["seconds"], told["peak_mib"]


def _counting(folder: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.our_receiver", str(port), str(folder), "count"]


_COUNTING = Receiver("a receiver that counts", _counting, COUNTS)
