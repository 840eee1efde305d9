"""How many associations a second, each with 128 presentation contexts and one small instance?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.contest import Pair, contest
from benchmarks.data_sets import DataSets
from benchmarks.figures import Bar, Place, Row, Section
from benchmarks.folders import emptied
from benchmarks.proposal import PROFILE, write_profile
from benchmarks.receivers import NO_DELAY, RECEIVERS
from benchmarks.run import Run
from benchmarks.senders import (
    STORESCU,
    Sender,
    Sent,
    start_of_storescu,
    timed,
    without_no_delay,
    without_start,
)

TITLE = "One association for each instance, 128 contexts"
REFERENCE = "storescu → storescp"
_ASSOCIATIONS = 100


@dataclass(frozen=True, slots=True)
class StorescuEach(Sender):
    """storescu once for each file; its start is measured beside each call, and taken off."""

    def send(self, port: int, load: DataSets, source: Path, start_s: float) -> Sent:  # noqa: ARG002
        """Send all of `source`, one file at a time."""
        with tempfile.TemporaryDirectory() as folder:
            profile = Path(folder, "profile.cfg")
            write_profile(profile)
            options = ("--config-file", str(profile), PROFILE)
            paths = sorted(source.iterdir())
            environment = {**without_no_delay(), **NO_DELAY}
            took_s = starts_s = 0.0
            for path in paths:
                starts_s += start_of_storescu(path, options, times=1)
                took_s += timed([*STORESCU, *options, "127.0.0.1", str(port), str(path)], environment)
        return Sent(without_start(took_s, starts_s))


def measure(run: Run) -> Iterator[Section]:
    """One section, on disk."""
    ours = Sender("ours", "benchmarks.association_client")
    storescu = StorescuEach("storescu", needs=("storescu",))
    receivers = {
        "ours": (ours, storescu),
        "gateway": (ours, storescu),
        "storescp": (ours, storescu),
        "pynetdicom": (ours,),
    }
    pairs = run.present(
        Pair(sender, RECEIVERS[receiver]) for receiver, senders in receivers.items() for sender in senders
    )
    with emptied(run.disk) as folder:
        found = contest(
            run.load("small", instances=_ASSOCIATIONS), pairs, run.rounds, folder, warm_up=run.warm_up
        )
    rows = [replace(row, thing="associations") for row in found]
    yield Section(
        "associations",
        TITLE,
        "small",
        Place.DISK,
        tuple(rows),
        "" if run.only_ours else REFERENCE,
        _bars(run, rows),
    )


def _bars(run: Run, rows: Sequence[Row]) -> tuple[Bar, ...]:
    return (
        *run.faster(rows, "our sender and receiver beside DCMTK's", ("ours → ours",), REFERENCE, 1),
        *run.faster(rows, "our sender beside storescu, to storescp", ("ours → storescp",), REFERENCE, 1),
        *run.faster(
            rows, "our receiver beside storescp, from our sender", ("ours → ours",), "ours → storescp", 1
        ),
        *run.faster(rows, "our receiver beside storescp, from storescu", ("storescu → ours",), REFERENCE, 1),
    )
