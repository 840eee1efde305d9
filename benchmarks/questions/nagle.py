"""How long does storescu wait for each answer as it is installed, without TCP_NODELAY?"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.contest import Pair, contest
from benchmarks.figures import Place, Section
from benchmarks.folders import emptied
from benchmarks.receivers import RECEIVERS
from benchmarks.run import Run
from benchmarks.senders import SENDERS

TITLE = "storescu as installed, without TCP_NODELAY"
REFERENCE = "storescu as installed → storescp as installed"
_INSTANCES = 60  # each takes 40 ms and more


def measure(run: Run) -> Iterator[Section]:
    """A section for each load; the gateway is durable before it answers, storescp is not."""
    sender = SENDERS["storescu as installed"]
    taking_part = run.present(
        [
            Pair(sender, RECEIVERS["gateway"]),
            Pair(sender, RECEIVERS["ours"]),
            Pair(sender, RECEIVERS["storescp as installed"]),
        ]
    )
    if not taking_part:
        return
    for name in run.among("ct", "small"):
        with emptied(run.disk) as folder:
            rows = contest(
                run.load(name, instances=_INSTANCES), taking_part, run.rounds, folder, warm_up=run.warm_up
            )
        bars = run.faster(
            rows,
            "our gateway beside storescp, to storescu as installed",
            ("storescu as installed → gateway",),
            REFERENCE,
            10,
        )
        yield Section("nagle", TITLE, name, Place.DISK, tuple(rows), REFERENCE, bars)
