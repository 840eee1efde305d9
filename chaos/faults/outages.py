"""The broker dies, forgets, stays away or freezes, the database is locked: R5 to R8, R10-locked."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import partial
from typing import Final

import redis

from chaos.campaign import campaign
from chaos.faults import Fault, Outcome, Run
from chaos.figures import Figure
from chaos.probe import Prober, compared
from chaos.relay import Relay

_CAUGHT_UP_WITHIN_S: Final = 120.0
_DRAINED_BAR_S: Final = 60.0
_TWICE: Final = "deliveries made twice for a trial"


def kill_broker(relay: Relay) -> None:
    """R5."""
    relay.signal("broker", signal.SIGKILL)


def flush_broker(relay: Relay) -> None:
    """R6: every queue, every message under way, every binding of kombu's is gone."""
    with closing(redis.Redis(unix_socket_path=str(relay.broker_socket), socket_timeout=10)) as client:
        client.flushall()


def at_once(do: Callable[[Relay], None], run: Run) -> Outcome:
    """Something that is over in a moment, at random moments."""
    chance = run.chance
    seconds: list[float] = []
    with campaign(run.folder, run.seed) as under_load:
        for _ in range(run.trials):
            time.sleep(chance.uniform(0.3, 2.5))
            under_load.relay.await_ready()
            do(under_load.relay)
            seconds.append(under_load.catch_up(within_s=_CAUGHT_UP_WITHIN_S))
            run.say(f"all of before has arrived after {seconds[-1]:.1f} s")
        account = under_load.finish()
    return Outcome(
        account,
        (
            Figure("all of before has arrived, the longest", max(seconds), "s", bar=_DRAINED_BAR_S),
            Figure(_TWICE, account.duplicates / run.trials, bar=2),
            Figure("refused", account.refused, bar=0),
        ),
    )


@contextmanager
def broker_away(relay: Relay) -> Iterator[None]:
    """R7: connections are refused, for whatever starts as the broker is killed at once."""

    def kill_it() -> None:
        for pid in relay.pids("broker"):
            os.kill(pid, signal.SIGKILL)

    with _Repeat(kill_it):
        yield


@contextmanager
def broker_frozen(relay: Relay) -> Iterator[None]:
    """R8: connections are accepted by the kernel, and nobody answers."""
    pid = relay.signal("broker", signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextmanager
def database_locked(relay: Relay) -> Iterator[None]:
    """R10-locked: somebody holds a write transaction and does not end it."""
    path = relay.settings.path("db", "ledger.sqlite")
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


def outage(do: Callable[[Relay], AbstractContextManager[None]], run: Run) -> Outcome:
    """Something is away for `outage_s` while a prober looks how long an acknowledgement takes."""
    normal: list[float] = []
    meanwhile: list[float] = []
    seconds: list[float] = []
    with campaign(run.folder, run.seed, senders=1) as under_load:
        relay = under_load.relay
        prober = Prober(
            relay.remote, run.folder / "files-probe", run.seed * 100 + 98, under_load.stop_sending
        )
        under_load.senders = [*under_load.senders, prober]
        prober.start()
        for _ in range(run.trials):
            relay.await_ready()
            began = time.monotonic()
            time.sleep(run.outage_s / 3)
            away = time.monotonic()
            with do(relay):
                time.sleep(run.outage_s)
                back = time.monotonic()
            normal += prober.between(began, away)
            meanwhile += prober.between(away, back)
            seconds.append(under_load.catch_up(within_s=_CAUGHT_UP_WITHIN_S))
            run.say(
                f"{run.outage_s:.0f} s away, all of before has arrived {seconds[-1]:.1f} s after its return"
            )
        account = under_load.finish()
    return Outcome(
        account,
        (
            *compared(normal, meanwhile),
            Figure(
                "instances a second acknowledged meanwhile", len(meanwhile) / run.outage_s / run.trials, "/s"
            ),
            Figure("drained after its return, the longest", max(seconds), "s", bar=_DRAINED_BAR_S),
            Figure("refused", account.refused, bar=0),
            Figure(_TWICE, account.duplicates / run.trials, bar=2),
        ),
        note=f"away for {run.outage_s:.0f} s each time",
    )


class _Repeat:
    """Does something again and again in a thread."""

    def __init__(self, do: Callable[[], object]) -> None:
        self._do = do
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            with suppress(ProcessLookupError):
                self._do()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


_OUTAGES: Final = (
    ("R7", "the broker is away, connections are refused", broker_away),
    ("R8", "the broker is frozen by SIGSTOP", broker_frozen),
    ("R10-locked", "the ledger is locked by somebody else", database_locked),
)
FAULTS: Final = (
    Fault("R5", "SIGKILL of the broker", "kills", 20, partial(at_once, kill_broker)),
    Fault("R6", "FLUSHALL at the broker", "flushes", 20, partial(at_once, flush_broker)),
    *(Fault(name, title, "outages", 3, partial(outage, do)) for name, title, do in _OUTAGES),
)
