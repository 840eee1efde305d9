"""SIGKILL, at random moments: R1, R3, R4; and SIGTERM one service after the other: R31."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from chaos.campaign import Campaign, campaign
from chaos.faults import Fault, Outcome, Run
from chaos.figures import Figure
from chaos.kill_gateway import run as kill_gateway
from chaos.oracle import Account
from chaos.relay import POOL

# No bar: on a busy machine a worker alone takes half a minute to start.
_BACK_WITHIN_S: Final = 240.0
_CAUGHT_UP_WITHIN_S: Final = 90.0
_RESUMED_BAR_S: Final = 35.0
# Every so many kills: how long until all that was acknowledged before it has arrived.
_MEASURED: Final = 10
# The supervisor waits longer after each death of a minute: a fresh `up` begins with the shortest wait.
_FRESH: Final = 4
# What a destination waits before an answer: workers have something under way at most moments.
_BUSY_S: Final = 0.012
# Between two kills of one trial, at most.
_CLOSE_S: Final = 0.5
# "worker": one of them, whichever.
_EVERY_ROLE: Final = ("gateway", "worker", POOL, "scheduler", "streamer")


def gateway_alone(run: Run) -> Outcome:
    """The gateway without the rest, four senders: many kills in little time."""
    card = kill_gateway(run.trials, run.folder, seed=run.seed, senders=3)
    return Outcome(
        account=Account(
            offered=card.acknowledged,
            acknowledged=card.acknowledged,
            lost=card.lost,
            corrupt=card.corrupt,
            phantom=card.phantom,
            refused=card.refused,
        ),
        figures=(
            Figure("half written files left", card.leftovers, bar=0),
            Figure("half written files swept", card.swept),
            Figure("first acknowledgement after a start, the longest", card.slowest_start_s, "s", bar=5),
        ),
        note="the gateway alone, its spool read afterwards",
    )


def kill(roles: Sequence[str], run: Run) -> Outcome:
    """Roles of a whole relay: in each trial one process of each, in any order, close upon each other."""
    chance = run.chance
    resumed: list[float] = []
    delivering_killed_at: list[float] = []
    with campaign(run.folder, run.seed, delay_s=_BUSY_S) as under_load:
        relay = under_load.relay
        for number in range(run.trials):
            if number and number % _FRESH == 0:
                relay.stop()
                relay.start()
                under_load.catch_up(within_s=_CAUGHT_UP_WITHIN_S)
            time.sleep(chance.uniform(0.1, 2.5))
            before = [len(relay.pids(role)) for role in roles]
            killed: dict[str, int] = {}
            for role in chance.sample(roles, len(roles)):
                if killed:
                    time.sleep(chance.uniform(0, _CLOSE_S))
                if _delivers(role) or len(roles) == 1:
                    delivering_killed_at.append(time.monotonic())
                killed[role] = relay.signal(
                    role, signal.SIGKILL, pick=lambda pids: chance.choice(sorted(pids))
                )
            if number % _MEASURED == 0:
                resumed.append(under_load.catch_up(within_s=_CAUGHT_UP_WITHIN_S))
                run.say(f"trial {number}: all of before has arrived after {resumed[-1]:.1f} s")
            for role, count in zip(roles, before, strict=True):
                _await_back(under_load, role, killed[role], count)
        account = under_load.finish()
    open_ones = sum(each.open_at(at_s) for each in under_load.destinations for at_s in delivering_killed_at)
    return Outcome(
        account,
        (
            Figure("associations to destinations open at the kills", open_ones, bar=1, at_least=True),
            Figure("resumed and caught up, the longest", max(resumed), "s", bar=_RESUMED_BAR_S),
            Figure(
                "duplicates for a kill and open association", account.duplicates / max(1, open_ones), bar=1
            ),
            Figure("needing attention", account.listed, bar=0),
            Figure("drained", under_load.drained_in_s, "s", bar=60),
        ),
        note=f"{len(resumed)} of the trials measured until all of before had arrived",
    )


def _delivers(role: str) -> bool:
    """Whether what it had under way may arrive twice."""
    return role in ("worker", "worker-forward", POOL)


def _await_back(under_load: Campaign, role: str, pid: int, count: int) -> None:
    """The killed one is gone, and as many of its kind run as before."""

    def is_back() -> bool:
        pids = under_load.relay.pids(role)
        return pid not in pids and len(pids) >= count and under_load.relay.is_ready

    under_load.relay.wait_for(is_back, within_s=_BACK_WITHIN_S, what=f"{role} is back")


_ROLLING: Final = (
    "gateway",
    "worker-intake",
    "worker-keep",
    "worker-forward",
    "scheduler",
    "streamer",
    "broker",
)
# worker_soft_shutdown_timeout and the seconds to say goodbye, see workers/app.py, and the bar's five.
_SOFT_S: Final = 20.0


def rolling(run: Run) -> Outcome:
    """Each service in turn is asked to end while instances flow; the supervisor starts it again."""
    waits: list[float] = []
    with campaign(run.folder, run.seed, delay_s=_BUSY_S) as under_load:
        relay = under_load.relay
        for number in range(run.trials):
            if number and number % len(_ROLLING) == 0:
                relay.stop()
                relay.start()
            time.sleep(run.chance.uniform(0.2, 1.5))
            role = _ROLLING[number % len(_ROLLING)]
            before = set(relay.pids(role))
            pid = relay.signal(role, signal.SIGTERM)
            began = time.monotonic()
            relay.wait_for(
                lambda pid=pid, role=role: pid not in relay.pids(role),  # type: ignore[misc]
                within_s=_BACK_WITHIN_S,
                what=f"{role} has ended",
            )
            waits.append(time.monotonic() - began)
            run.say(f"{role} has ended after {waits[-1]:.1f} s")
            _await_back(under_load, role, pid, len(before))
        account = under_load.finish()
    return Outcome(
        account,
        (
            Figure("ended after SIGTERM, the longest", max(waits), "s", bar=_SOFT_S),
            Figure("duplicates", account.duplicates, bar=0),
            Figure("needing attention", account.listed, bar=0),
            Figure("drained", under_load.drained_in_s, "s", bar=60),
        ),
    )


FAULTS: Final = (
    Fault("R1", "SIGKILL of the gateway, four senders", "kills", 300, gateway_alone),
    *(
        Fault(name, f"SIGKILL of {what}", "kills", 30, partial(kill, (role,)))
        for name, what, role in (
            ("R1-relay", "the gateway of a whole relay", "gateway"),
            ("R3", "a forward worker", "worker-forward"),
            ("R3-intake", "the intake worker", "worker-intake"),
            ("R3-keep", "the worker that archives", "worker-keep"),
            ("R3-scheduler", "the scheduler", "scheduler"),
            ("R3-streamer", "the streamer", "streamer"),
            ("R4", "a child of a worker's pool", POOL),
        )
    ),
    Fault(
        "R3-every",
        "SIGKILL of gateway, a worker, a pool child, scheduler and streamer, close upon each other",
        "times all five",
        300,
        partial(kill, _EVERY_ROLE),
    ),
    Fault("R31", "SIGTERM of each service in turn", "restarts", 12, rolling),
)
