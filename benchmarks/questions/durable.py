"""How fast is the gateway, durable before each answer, beside its peers?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.contest import Pair, contest
from benchmarks.figures import Bar, Place, Row, Section
from benchmarks.folders import emptied
from benchmarks.receivers import RECEIVERS
from benchmarks.run import Run
from benchmarks.senders import SENDERS, ours_with

TITLE = "Gateway: durable before each answer"
REFERENCE = "minimal → minimal-sync"
_OF_ORTHANC = {"ct": 1.8, "small": 2.5}
_OF_PYNETDICOM = {"ct": 1.5, "small": 4.0}


def pairs(run: Run) -> list[Pair]:
    """Who takes part."""
    return [
        Pair(SENDERS["minimal"], RECEIVERS["minimal-sync"]),
        Pair(SENDERS["ours"], RECEIVERS["gateway"]),
        Pair(ours_with(run.window), RECEIVERS["gateway"]),
        Pair(SENDERS["storescu"], RECEIVERS["gateway"]),
        Pair(SENDERS["storescu"], RECEIVERS["minimal-sync"]),
        Pair(SENDERS["storescu"], RECEIVERS["Orthanc"]),
        Pair(SENDERS["storescu"], RECEIVERS["pynetdicom"]),
    ]


def measure(run: Run) -> Iterator[Section]:
    """A section for each load, on disk: memory has no flush."""
    taking_part = run.present(pairs(run))
    for name in run.among("ct", "small"):
        with emptied(run.disk) as folder:
            rows = contest(run.load(name), taking_part, run.rounds, folder, warm_up=run.warm_up)
        yield Section("durable", TITLE, name, Place.DISK, tuple(rows), REFERENCE, _bars(run, name, rows))


def _bars(run: Run, load: str, rows: Sequence[Row]) -> tuple[Bar, ...]:
    gateway = ("storescu → gateway",)
    orthanc, pynetdicom = "storescu → Orthanc", "storescu → pynetdicom"
    return (
        *run.faster(rows, "our gateway beside Orthanc", gateway, orthanc, _OF_ORTHANC[load]),
        *run.faster(
            rows,
            "our gateway beside pynetdicom's storescp, which does not flush",
            gateway,
            pynetdicom,
            _OF_PYNETDICOM[load],
        ),
    )
