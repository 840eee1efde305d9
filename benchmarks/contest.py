"""Pairs of a sender and a receiver take turns with the same load, and every turn is verified."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.data_sets import DataSets, write
from benchmarks.figures import Row
from benchmarks.folders import emptied
from benchmarks.peers import RunFailed, require
from benchmarks.processes import processor_s
from benchmarks.receivers import Receiver, Running, running
from benchmarks.senders import Sender, Sent, start_of_storescu
from dicomrelay.dicom.part10 import parse_file_meta
from dicomrelay.errors import NotDicom

_T = TypeVar("_T")

# A receiver that does one thing at a time: no sender can be done before it has computed.
COMPUTES_ALONE = "storescp"
_HEAD_BYTES = 4096  # our spool's meta, with its record, is the longest


@dataclass(frozen=True, slots=True)
class Pair:
    """Who sends to whom."""

    sender: Sender
    receiver: Receiver

    @property
    def name(self) -> str:
        """As the tables have it."""
        return f"{self.sender.name} → {self.receiver.name}"

    @property
    def needs(self) -> set[str]:
        """Programs that have to be installed."""
        return {*self.sender.needs, *self.receiver.needs}


@dataclass(frozen=True, slots=True)
class Stored:
    """What lies in files: how many instances, and the bytes of their data sets."""

    instances: int
    data_set_bytes: int


def present(pairs: Iterable[Pair], *, only_ours: bool) -> list[Pair]:
    """The pairs that can be measured.

    Raises
    ------
    RunFailed
        A program is missing.
    """
    wanted = [pair for pair in pairs if not (only_ours and is_foreign(pair))]
    require({program for pair in wanted for program in pair.needs})
    return wanted


def is_foreign(pair: Pair) -> bool:
    """Whether a peer takes part."""
    return bool(pair.needs) or pair.receiver.name == "pynetdicom"


def contest(
    load: DataSets, pairs: Sequence[Pair], rounds: int, folder: Path, *, warm_up: int = 1
) -> list[Row]:
    """Every pair on one load, in turn; every other round goes backwards.

    Parameters
    ----------
    rounds, warm_up : int
        That count, and that go before and do not.

    Raises
    ------
    RunFailed
        A program failed, or not every instance arrived with all its bytes.
    """
    source = folder / "source"
    write(load, source)
    sent = stored_in(source.iterdir())
    start_s = 0.0
    if any(not pair.sender.module for pair in pairs):
        start_s = start_of_storescu(next(source.iterdir()))
    found: dict[str, list[Sent]] = {pair.name: [] for pair in pairs}
    busy: dict[str, list[float]] = {}
    for pair, counts in turns(pairs, rounds, warm_up):
        with emptied(folder) as received, running(pair.receiver, received) as receiver:
            os.sync()
            before_s = processor_s(receiver.process.pid)
            result = pair.sender.send(receiver.port, load, source, start_s)
            busy_s = processor_s(receiver.process.pid) - before_s
            verify(pair.name, receiver, sent)
        if counts:
            found[pair.name].append(result)
            if pair.receiver.name == COMPUTES_ALONE:
                busy.setdefault(pair.name, []).append(busy_s)
    return [_row(name, results, load, busy.get(name)) for name, results in found.items()]


def turns(contestants: Sequence[_T], rounds: int, warm_up: int) -> Iterator[tuple[_T, bool]]:
    """Who is next, and whether it counts."""
    for number in range(warm_up + rounds):
        for contestant in contestants if number % 2 == 0 else reversed(contestants):
            yield contestant, number >= warm_up


def verify(name: str, receiver: Running, sent: Stored) -> None:
    """Everything that was sent is there.

    Raises
    ------
    RunFailed
        It is not.
    """
    stored = stored_in(receiver.files())
    if stored != sent:
        raise RunFailed(
            f"{name}: {stored.instances} instances with {stored.data_set_bytes} bytes arrived, "
            f"{sent.instances} with {sent.data_set_bytes} were sent"
        )


def stored_in(paths: Iterable[Path]) -> Stored:
    """The instances among some files: those that begin as a DICOM file does."""
    instances = data_set_bytes = 0
    for path in paths:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if head[128:132] != b"DICM":
            continue
        try:
            offset = parse_file_meta(head).data_set_offset
        except NotDicom as error:
            raise RunFailed(f"{path.name} is a broken file: {error}") from None
        instances += 1
        data_set_bytes += path.stat().st_size - offset
    return Stored(instances, data_set_bytes)


def _row(name: str, results: Sequence[Sent], load: DataSets, busy: Sequence[float] | None) -> Row:
    windows = {result.window for result in results}
    notes = [f"window negotiated: {max(windows)}"] if "window" in name else []
    if busy:
        notes.append(f"the receiver computed for {statistics.median(busy):.2f} s of it")
    seconds = tuple(result.seconds for result in results)
    return Row(name, seconds, amount=load.instances, note="; ".join(notes))
