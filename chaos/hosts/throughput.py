"""Two worker hosts against one, toward a destination that takes its time for each answer."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from chaos.figures import Figure, percentile
from chaos.hosts.fleet import Fleet, fleet
from chaos.instances import make_instances
from chaos.oracle import Account
from chaos.senders import Tally, send_study
from dicomrelay.net.requestor import RemoteAe

ANSWER_S: Final = 2.0
PLACES: Final = 5
_STUDIES, _PER_STUDY, _BYTES = 20, 5, 4_000
_WITHIN_S: Final = 120.0
# One after the other and back, so that a machine that becomes slower is no advantage of either.
_ROUNDS: Final = (1, 2, 2, 1)
_NAME: Final = "north"
_LEAST_RATIO: Final = 1.8


@dataclass(frozen=True, slots=True)
class Throughput:
    """Instances a second with one worker host and with two, a median each, and what was lost of all."""

    rates: dict[int, list[float]]
    account: Account

    @property
    def figures(self) -> tuple[Figure, ...]:
        """With the bar."""
        one, two = (median(self.rates[hosts]) for hosts in (1, 2))
        return (
            Figure("with one worker host", one, "instances/s"),
            Figure("with two", two, "instances/s"),
            Figure("two against one", two / one, bar=_LEAST_RATIO, at_least=True),
        )


def measure(folder: Path, say: Callable[[str], None], *, broker: str = "redis") -> Throughput:
    """Fill, let go, and look at the destination's own notes; four times."""
    keys = f"associations = {4 * PLACES}\nadaptive = false\n"
    with fleet(
        folder,
        broker=broker,
        gateways=1,
        destinations=(_NAME,),
        places=PLACES,
        frames=False,
        delay_s=ANSWER_S,
        destination=keys,
    ) as running:
        rates: dict[int, list[float]] = {1: [], 2: []}
        tallies: list[Tally] = []
        for number, hosts in enumerate(_ROUNDS):
            _only(running, hosts)
            tallies.append(_fill(running, folder / f"files-{number}", number))
            rates[hosts].append(_drain(running, tallies))
            say(f"{hosts} worker hosts: {rates[hosts][-1]:.1f} instances/s")
        return Throughput(rates, _account(running, tallies))


def _only(running: Fleet, hosts: int) -> None:
    """So many of the worker hosts forward."""
    for number, member in enumerate(running.workers):
        if number < hosts:
            member.start()
        elif member.host.is_running("forward"):
            member.host.terminate("forward", within_s=40)


def _fill(running: Fleet, folder: Path, seed: int) -> Tally:
    """Studies for a destination that is on hold, until all of them are archived."""
    folder.mkdir()
    _destinations(running, "hold")
    remote = RemoteAe("DICOMRELAY", running.gateways[0].host.address, 11112)
    source, tally = make_instances(folder, 1000 + seed, per_study=_PER_STUDY, size=_BYTES), Tally()
    for _ in range(_STUDIES):
        send_study(remote, [next(source) for _ in range(_PER_STUDY)], tally)
    wanted = set(tally.acknowledged)
    running.wait_for(
        lambda: not wanted - running.archived_uids(),
        within_s=_WITHIN_S,
        what="all is archived",
    )
    return tally


def _drain(running: Fleet, tallies: list[Tally]) -> float:
    """Let go; the rate between the first and the last tenth of the arrivals."""
    (_, process) = running.destinations[0]
    wanted = set(tallies[-1].acknowledged)
    _destinations(running, "release")
    running.wait_for(
        lambda: not wanted - _there(running), within_s=_WITHIN_S, what="all is at the destination"
    )
    times = sorted(each.at_s for each in process.arrivals if each.copy.sop_instance_uid in wanted)
    first, last = percentile(times, 0.1), percentile(times, 0.9)
    return sum(first <= at < last for at in times) / (last - first)


def _there(running: Fleet) -> set[str]:
    (_, process) = running.destinations[0]
    process.read()
    time.sleep(0.05)
    return process.uids


def _destinations(running: Fleet, verb: str) -> None:
    member = running.gateways[0]
    words = ["destinations", verb, _NAME, "--home", str(member.home)]
    asked = member.host.ask(sys.executable, "-m", "dicomrelay", *words)
    if asked.returncode:
        raise RuntimeError(f"destinations {verb}: {asked.stderr}")


def _account(running: Fleet, tallies: list[Tally]) -> Account:
    for tally in tallies:
        running.tallies.append(tally)
    return running.finish(within_s=_WITHIN_S)[0]
