"""One destination among three takes connections and is silent: R18. The other two must not notice."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from typing import Final

from chaos.campaign import Campaign, campaign
from chaos.destination import Behaviour
from chaos.destination_process import DestinationProcess
from chaos.faults import Fault, Outcome, Run
from chaos.figures import Figure
from chaos.gateway_process import usage_of
from chaos.instances import make_instances
from chaos.senders import Tally, send_study

_STUDIES: Final = 30
_PER_STUDY: Final = 30
_SIZE_BYTES: Final = 16_384
# So slow that the destinations are what limits, and not the two cores that all of it shares.
_ANSWER_S: Final = 0.01
_WITHIN_S: Final = 300.0
_RATE_BAR: Final = 0.95
_MEGABYTE: Final = 1 << 20

_HOLES: Final = (
    ("silent from the start", Behaviour(silent=True)),
    ("silent at each C-STORE", Behaviour(end_at=1, end_by="silence")),
)


def isolation(run: Run) -> Outcome:
    """The rate of two healthy destinations alone, and beside a third that is a black hole; in turn."""
    alone: list[float] = []
    beside: list[float] = []
    memory: list[float] = []
    for number in range(run.trials):
        words, hole = _HOLES[number % len(_HOLES)]
        alone.append(_rate(run, f"{number}-alone", None, memory.append))
        beside.append(_rate(run, f"{number}-beside", hole, memory.append))
        run.say(f"{words}: {beside[-1]:.0f} instances/s beside it, {alone[-1]:.0f} alone")
    least = min(with_it / without for with_it, without in zip(beside, alone, strict=True))
    return Outcome(
        figures=(
            Figure("their rate beside it, of that alone, the least", least, bar=_RATE_BAR, at_least=True),
            Figure("instances a second to each of the two, alone", sum(alone) / len(alone), "/s"),
            Figure("memory of all workers, the most", max(memory), "MB"),
        ),
        note=f"{_STUDIES * _PER_STUDY} instances each time, answers after {1000 * _ANSWER_S:.0f} ms; "
        f"{' and '.join(words for words, _ in _HOLES)} in turn",
    )


def _rate(run: Run, name: str, hole: Behaviour | None, weigh: Callable[[float], None]) -> float:
    """Instances a second that each of the two healthy destinations got, from the first to the last."""
    folder = run.folder / name
    folder.mkdir(parents=True)
    names = ("north", "south") if hole is None else ("north", "south", "hole")
    known = [DestinationProcess(each, folder) for each in names]
    with campaign(folder, run.seed, destinations=known, senders=0, storescu=False) as running:
        for destination in known:
            destination.behave(Behaviour(delay_s=_ANSWER_S))
        if hole is not None:
            known[2].behave(hole)
        tally = Tally()
        (folder / "files").mkdir()
        made = make_instances(folder / "files", run.seed, per_study=_PER_STUDY, size=_SIZE_BYTES)
        for _ in range(_STUDIES):
            send_study(running.relay.remote, list(islice(made, _PER_STUDY)), tally)
        _await_all(running, tally)
        weigh(sum(usage_of(pid).rss_bytes for pid in running.relay.pids("worker")) / _MEGABYTE)
        ends = [[each.at_s for each in running.arrivals(one)] for one in ("north", "south")]
        return min((len(times) - 1) / (max(times) - min(times)) for times in ends)


def _await_all(running: Campaign, tally: Tally) -> None:
    wanted = len(tally.acknowledged)
    deadline = time.monotonic() + _WITHIN_S
    while min(len(running.arrivals(name)) for name in ("north", "south")) < wanted:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the healthy destinations do not get their {wanted} instances")
        time.sleep(0.1)


FAULTS: Final = (Fault("R18", "a black hole among three destinations", "black holes", 4, isolation),)
