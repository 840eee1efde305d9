"""What is done to a fleet under load, one trial each, and what it came to."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chaos.figures import Figure
from chaos.hosts.fleet import Fleet, Member
from chaos.hosts.host import Host
from chaos.hosts.servers import Server

Say = Callable[[str], None]
_CAUGHT_UP_WITHIN_S: Final = 180.0
_CAUGHT_UP_BAR_S: Final = 120.0
_AWAY_S: Final = 15.0
_STOPS_WITHIN_S: Final = 40.0
# What docs/design/hosts.md promises of a part that is told to stop, and one second for the signal and the look.
_STOPS_BAR_S: Final = 31.0
_FORWARD_BAR_S: Final = 16.0
# The lease of the leader, the time between two questions, and the time to look.
_LEADS_BAR_S: Final = 14.0
# Its look, and what a loaded machine adds.
_NOTICES_BAR_S: Final = 2.0
_SLOW_KBIT: Final = 4000


@dataclass(frozen=True, slots=True)
class Trial:
    """One of them."""

    name: str
    title: str
    run: Callable[[Fleet, Say], tuple[Figure, ...]]


def _caught_up(fleet: Fleet, say: Say, since: float, what: str) -> Figure:
    fleet.catch_up(within_s=_CAUGHT_UP_WITHIN_S)
    seconds = time.monotonic() - since
    say(f"all of before is everywhere {seconds:.1f} s after {what}")
    return Figure(f"all of before is everywhere, after {what}", seconds, "s", bar=_CAUGHT_UP_BAR_S)


def _worker_lost(fleet: Fleet, say: Say) -> tuple[Figure, ...]:
    """While it sends; the other takes over when its leases are over."""
    lost = fleet.workers[0]
    lost.host.kill()
    found = _caught_up(fleet, say, time.monotonic(), "the loss")
    lost.host.start()
    lost.start()
    return (found, Figure("something new is everywhere, after its return", fleet.flows(), "s", bar=60))


def _gateway_lost(fleet: Fleet, say: Say) -> tuple[Figure, ...]:
    """What it has acknowledged waits on its disk; the other goes on."""
    lost = fleet.gateways[0]
    before = len(fleet.senders[1].tally.acknowledged)
    lost.host.kill()
    with fleet.more_room():
        time.sleep(_AWAY_S)
    meanwhile = len(fleet.senders[1].tally.acknowledged) - before
    say(f"{meanwhile} acknowledged by the other gateway meanwhile")
    lost.host.start()
    lost.start()
    return (
        Figure("acknowledged by the other gateway meanwhile", meanwhile, bar=1, at_least=True),
        _caught_up(fleet, say, time.monotonic(), "its return"),
    )


def _leader(ask: Member) -> str:
    """The name of the host whose scheduler leads, as another one knows it; "" when nobody does."""
    words = ["hosts", "--json", "--home", str(ask.home)]
    asked = ask.host.ask(sys.executable, "-m", "dicomrelay", *words)
    for row in json.loads(asked.stdout)["hosts"]:
        if row["leads"]:
            return str(row["spool"]).rpartition("-")[0]
    return ""


def _leader_cut(fleet: Fleet, say: Say) -> tuple[Figure, ...]:
    """It stops by its own clock; another begins by the database's."""
    names = {member.host.name: member for member in fleet.gateways}
    leader = names[_leader(fleet.workers[0])]
    other = next(member for member in fleet.gateways if member is not leader)
    lines = other.host.log("scheduler").count('"leads"')
    no_more = leader.host.log("scheduler").count("leads no more")
    leader.host.cut()
    began = time.monotonic()
    fleet.wait_for(
        lambda: other.host.log("scheduler").count('"leads"') > lines, within_s=60, what="another one leads"
    )
    took = time.monotonic() - began
    say(f"{other.host.name} leads {took:.1f} s after {leader.host.name} was cut off")
    time.sleep(max(0.0, _AWAY_S - took))
    both = leader.host.log("scheduler").count("leads no more") > no_more
    leader.host.mend()
    return (
        Figure("another one leads, after the cut", took, "s", bar=_LEADS_BAR_S),
        Figure("the old one has said that it leads no more", both, bar=1, at_least=True),
        _caught_up(fleet, say, time.monotonic(), "the wire was mended"),
    )


def _leader_stopped(fleet: Fleet, say: Say) -> tuple[Figure, ...]:
    """SIGSTOP beyond its lease, SIGCONT: for a moment two may think that they lead, and the one that slept has to notice."""
    names = {member.host.name: member for member in fleet.gateways}
    leader = names[_leader(fleet.workers[0])]
    other = next(member for member in fleet.gateways if member is not leader)
    lines, pid = other.host.log("scheduler").count('"leads"'), leader.host.pid("scheduler")
    no_more = leader.host.log("scheduler").count("leads no more")
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    try:
        fleet.wait_for(
            lambda: other.host.log("scheduler").count('"leads"') > lines,
            within_s=60,
            what="another one leads",
        )
        took = time.monotonic() - began
        time.sleep(max(0.0, _AWAY_S - took))
    finally:
        os.kill(pid, signal.SIGCONT)
    woken_s = fleet.wait_for(
        lambda: leader.host.log("scheduler").count("leads no more") > no_more,
        within_s=30,
        what="the one that slept leads no more",
    )
    say(
        f"{other.host.name} leads after {took:.1f} s; the one that slept noticed {woken_s:.1f} s after it woke"
    )
    return (
        Figure("another one leads, after the stop", took, "s", bar=_LEADS_BAR_S),
        Figure("the old one says that it leads no more, after it woke", woken_s, "s", bar=_NOTICES_BAR_S),
        _caught_up(fleet, say, time.monotonic(), "it woke"),
    )


def _cut(of: Callable[[Fleet], Host], *, accepts: bool = False) -> Callable[[Fleet, Say], tuple[Figure, ...]]:
    """The wire of one host is cut for a while, and mended."""

    def run(fleet: Fleet, say: Say) -> tuple[Figure, ...]:
        host, before = of(fleet), len(fleet.acknowledged())
        host.cut()
        with fleet.more_room():
            time.sleep(_AWAY_S)
        meanwhile = len(fleet.acknowledged()) - before
        host.mend()
        found = _caught_up(fleet, say, time.monotonic(), "the wire was mended")
        taken = Figure("acknowledged while it was cut off", meanwhile, bar=1, at_least=True)
        return (taken, found) if accepts else (found,)

    return run


def _server_lost(
    of: Callable[[Fleet], Server], *, emptied: bool = False
) -> Callable[[Fleet, Say], tuple[Figure, ...]]:
    """A server's host is lost, and comes back with its disk, or an empty one; gateways take instances meanwhile."""

    def run(fleet: Fleet, say: Say) -> tuple[Figure, ...]:
        server, before = of(fleet), len(fleet.acknowledged())
        server.host.kill()
        with fleet.more_room():
            time.sleep(_AWAY_S)
        meanwhile = len(fleet.acknowledged()) - before
        say(f"{meanwhile} acknowledged meanwhile")
        server.host.start()
        if emptied:
            server.forget()
        server.start()
        return (
            Figure("acknowledged while it was away", meanwhile, bar=1, at_least=True),
            _caught_up(fleet, say, time.monotonic(), "its return"),
        )

    return run


def _slow_link(fleet: Fleet, say: Say) -> tuple[Figure, ...]:
    """One worker's wire carries 4 Mbit/s."""
    slow = fleet.workers[1].host
    slow.slow(_SLOW_KBIT)
    before, began = fleet.delivered(), time.monotonic()
    time.sleep(2 * _AWAY_S)
    rate = (fleet.delivered() - before) / (time.monotonic() - began)
    say(f"{rate:.1f} instances/s while one wire is slow")
    slow.quick()
    return (
        Figure("delivered while it was slow", rate, "instances/s", bar=0.1, at_least=True),
        _caught_up(fleet, say, time.monotonic(), "it was quick again"),
    )


def _rolling_restart(fleet: Fleet, say: Say) -> tuple[Figure, ...]:
    """SIGTERM to every part, host by host, and each is begun again when all of its host have ended."""
    longest: dict[str, float] = {}
    for member in fleet.members:
        for label in member.host.labels():
            took = member.host.terminate(label, within_s=_STOPS_WITHIN_S)
            longest[label] = max(longest.get(label, 0.0), took)
            say(f"{member.host.name} {label} ended in {took:.1f} s")
        member.start()
    return (
        *(
            Figure(f"{label} ends", took, "s", bar=_FORWARD_BAR_S if label == "forward" else _STOPS_BAR_S)
            for label, took in sorted(longest.items())
        ),
        _caught_up(fleet, say, time.monotonic(), "the last one began again"),
    )


TRIALS: Final = (
    Trial("worker-lost", "a worker host is lost while it sends", _worker_lost),
    Trial("worker-cut", "a worker host is cut off for 15 s", _cut(lambda fleet: fleet.workers[0].host)),
    Trial("gateway-lost", "a gateway host is lost, and comes back with its disk after 15 s", _gateway_lost),
    Trial("leader-cut", "the gateway host that leads is cut off for 15 s or more", _leader_cut),
    Trial(
        "leader-stopped",
        "the scheduler that leads stands still for 15 s or more, and goes on",
        _leader_stopped,
    ),
    Trial("broker-lost", "the broker's host is lost for 15 s", _server_lost(lambda fleet: fleet.broker)),
    Trial(
        "broker-emptied",
        "the broker's host is lost for 15 s, and comes back with nothing: no message, no queue",
        _server_lost(lambda fleet: fleet.broker, emptied=True),
    ),
    Trial(
        "broker-cut", "the broker is cut off for 15 s", _cut(lambda fleet: fleet.broker.host, accepts=True)
    ),
    Trial(
        "database-lost", "the database's host is lost for 15 s", _server_lost(lambda fleet: fleet.database)
    ),
    Trial(
        "database-cut",
        "the database is cut off for 15 s",
        _cut(lambda fleet: fleet.database.host, accepts=True),
    ),
    Trial(
        "storage-cut",
        "the archive's bucket is cut off for 15 s",
        _cut(lambda fleet: fleet.storage.host, accepts=True),
    ),
    Trial(
        "destination-cut",
        "one of two destinations is cut off for 15 s",
        _cut(lambda fleet: fleet.destinations[0][0], accepts=True),
    ),
    Trial("slow-link", "the wire of a worker host carries 4 Mbit/s", _slow_link),
    Trial("rolling-restart", "SIGTERM to every part, host by host", _rolling_restart),
)
