"""Does throughput to a slow destination grow with its associations?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.contest import Stored, stored_in
from benchmarks.data_sets import DataSets, write
from benchmarks.figures import Bar, Place, Row, Section
from benchmarks.folders import emptied
from benchmarks.peers import RunFailed
from benchmarks.receivers import Receiver, module, running
from benchmarks.relays import destination, ours, relaying
from benchmarks.run import Run
from benchmarks.senders import ours_with
from benchmarks.slow_receiver import ANSWERS

TITLE = "A destination that answers each C-STORE after 20 ms"
ASSOCIATIONS = (1, 2, 4, 8)
_ANSWER_MS = 20
_EACH = 300  # instances for every association: six seconds of waiting
_OF_LINEAR = 0.8
_WITHIN_S = 300.0
_MOST_ROUNDS = 3
_SLOW = Receiver("slow", module("benchmarks.slow_receiver", str(_ANSWER_MS)), ANSWERS)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the destination says of one C-STORE."""

    sop_instance_uid: str
    data_set_bytes: int
    at_s: float


def measure(run: Run) -> Iterator[Section]:
    """One section, on disk: a study for each number of associations, one after another, through one `dicomrelay up` a round."""
    found: dict[int, list[float]] = {each: [] for each in ASSOCIATIONS}
    with emptied(run.disk) as folder:
        loads = {each: _written(run, each, folder / f"source-{each}") for each in ASSOCIATIONS}
        for number in range(min(run.rounds, _MOST_ROUNDS)):
            order = ASSOCIATIONS if number % 2 == 0 else ASSOCIATIONS[::-1]
            for associations, rate in _round(order, loads, folder):
                found[associations].append(rate)
    rows = [Row(_name(each), tuple(rates), unit="instances/s") for each, rates in found.items()]
    yield Section(
        "slow-destination", TITLE, "small", Place.DISK, tuple(rows), bars=_bars(run, rows), notes=(_NOTE,)
    )


_NOTE = (
    f"{_EACH} instances of one study for every association, timed at the destination from its first answer to its last; "
    f"one association cannot have more than {1000 // _ANSWER_MS} answers a second."
)


def _written(run: Run, associations: int, source: Path) -> tuple[DataSets, Path]:
    instances = max(10, round(_EACH * associations * run.scale))
    load = replace(run.load("small"), instances=instances, instances_a_study=instances)
    write(load, source)
    return load, source


def _tables(port: int) -> str:
    """The same destination under a name for each number of associations; the calling AE title says which is meant."""
    return "".join(
        destination(f"slow-{each}", port, f"associations = {each}")
        + f'[[rules]]\nwhen = {{ source_ae_title = "BENCH-{each}" }}\nsend_to = ["slow-{each}"]\n'
        for each in ASSOCIATIONS
    )


def _round(
    order: Sequence[int], loads: Mapping[int, tuple[DataSets, Path]], folder: Path
) -> Iterator[tuple[int, float]]:
    """Instances a second at the destination, by associations."""
    with (
        emptied(folder) as received,
        emptied(folder) as home,
        running(_SLOW, received) as sink,
        relaying(ours("dicomrelay", _tables), home, sink.port) as listening,
    ):
        answered = 0
        for associations in order:
            load, source = loads[associations]
            sender = replace(ours_with(8), calling=f"BENCH-{associations}")
            sender.send(listening.port, load, source, 0.0)
            answers = _all_answers(received / ANSWERS, answered, stored_in(source.iterdir()))
            answered += len(answers)
            first, last = min(each.at_s for each in answers), max(each.at_s for each in answers)
            yield associations, len(answers) / (last - first + _ANSWER_MS / 1000)


def _all_answers(path: Path, before: int, sent: Stored) -> list[_Answer]:
    """The answers after the first `before`, once there is one for every instance.

    Raises
    ------
    RunFailed
        They are not in time, one instance was sent twice, or bytes are missing.
    """
    deadline = time.monotonic() + _WITHIN_S
    while len(found := _answers(path)[before:]) < sent.instances:
        if time.monotonic() > deadline:
            raise RunFailed(f"{len(found)} of {sent.instances} instances arrived in {_WITHIN_S:g} s")
        time.sleep(0.1)
    if len({answer.sop_instance_uid for answer in found}) != sent.instances:
        raise RunFailed("an instance was sent twice")
    if sum(answer.data_set_bytes for answer in found) != sent.data_set_bytes:
        raise RunFailed("not all bytes of the data sets arrived")
    return found


def _answers(path: Path) -> list[_Answer]:
    if not path.exists():
        return []
    lines = path.read_text("ascii").split("\n")[:-1]  # the last one may be half written
    return [_Answer(uid, int(count), float(at)) for uid, count, at in map(str.split, lines)]


def _name(associations: int) -> str:
    return f"{associations} association{'s' if associations > 1 else ''}"


def _bars(run: Run, rows: Sequence[Row]) -> tuple[Bar, ...]:
    one = _name(ASSOCIATIONS[0])
    return tuple(
        bar
        for each in ASSOCIATIONS[1:]
        for bar in run.faster(rows, f"{_name(each)} beside one", (_name(each),), one, _OF_LINEAR * each)
    )
