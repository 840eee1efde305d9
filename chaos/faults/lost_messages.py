"""A worker is killed while it takes messages: R3b. How many are lost on their way, and does the sweeper say them again?

Redis hands a message out (BRPOP) before kombu writes down who has it, and a worker that dies in between takes it along.
A real broker, a real worker of ours on the forward queues, and tasks that write down their id and nothing else.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from redis import Redis

from benchmarks.backlog_home import A_TRANSFER, BacklogHome
from chaos.faults import Fault, Outcome, Run
from chaos.figures import Figure
from dicomrelay.ledger.values import DueTransfer
from dicomrelay.runtime import broker, home
from dicomrelay.runtime.process import start
from dicomrelay.runtime.queue import Queue
from dicomrelay.settings import Settings, load
from workers.complete import spark
from workers.rooms import Rooms
from workers.sweep import Sweeper

_TRANSFERS: Final = 200
_WITHIN_S: Final = 30.0
# From the first message that is taken: the worker has most of them still before it.
_KILLED_WITHIN_S: Final = 0.15
_UNACKED: Final = ("unacked", "unacked_index", "unacked_mutex")


@dataclass
class _Came:
    """What the kills came to, in messages."""

    said: int = 0
    taken: int = 0
    lost: int = 0
    kills_with_loss: int = 0
    unhealed: int = 0
    sweeps_s: list[float] = field(default_factory=list)


def killed(run: Run) -> Outcome:
    """Many short lives of one worker; after each, every message is looked for."""
    chance = run.chance
    settings = load(home=run.folder / "home")
    backlog = BacklogHome(run.folder / "home")
    try:
        backlog.fill(_TRANSFERS * A_TRANSFER)
        with _broker(settings) as redis:
            rooms = replace(Rooms.open(settings), host=backlog.host)
            try:
                house = _House(settings, rooms, redis, run.folder / "taken")
                control = house.control()
                came = _Came()
                for number in range(run.trials):
                    house.trial(chance.uniform(0, _KILLED_WITHIN_S), came)
                    if (number + 1) % 100 == 0:
                        run.say(f"{number + 1} kills: {came.lost} of {came.said} messages lost")
            finally:
                rooms.close()
    finally:
        backlog.dispose()
    return Outcome(
        figures=(
            Figure("messages said", came.said),
            Figure("taken before the kill", came.taken, bar=run.trials, at_least=True),
            Figure("lost on their way", came.lost),
            Figure("kills that lost one", came.kills_with_loss),
            Figure("lost, and not said again by one look of the sweeper", came.unhealed, bar=0),
            Figure("such a look, the longest", max(came.sweeps_s, default=0.0), "s"),
        ),
        control=f"a message that was taken out of the queue by hand {'was' if control else 'was NOT'} found missing",
        control_found=control,
        note="a worker of threads on the forward queues; what is lost is a wake-up, never an instance",
    )


class _House:
    """One broker, one ledger, and a worker after the other."""

    def __init__(self, settings: Settings, rooms: Rooms, redis: Redis, taken: Path) -> None:
        self._settings = settings
        self._rooms = rooms
        self._redis = redis
        self._taken = taken

    def control(self) -> bool:
        """Whether a loss would be seen."""
        ids = self._say()
        self._redis.rpop(Queue.FORWARD_NORMAL.value)
        return len(self._missing(ids)) == 1

    def trial(self, after_s: float, came: _Came) -> None:
        """Say all that is due, kill the worker while it takes them, count, and let the sweeper look."""
        ids = self._say()
        self._taken.write_bytes(b"")
        command = [sys.executable, "-m", "chaos.message_taker", str(self._settings.home), str(self._taken)]
        with self._taken.with_suffix(".log").open("ab") as log:
            worker = start(command, output=log)
        try:
            _wait_for_the_first(self._taken)
            time.sleep(after_s)
        finally:
            worker.kill()
            worker.wait()
        missing = self._missing(ids)
        came.said += len(ids)
        came.taken += len(self._done())
        came.lost += len(missing)
        came.kills_with_loss += bool(missing)
        if missing:
            came.unhealed += len(missing - self._said_again(came))

    def _said_again(self, came: _Came) -> set[str]:
        self._empty()
        began = time.monotonic()
        Sweeper(self._rooms).sweep()
        came.sweeps_s.append(time.monotonic() - began)
        return self._on_the_broker({each.id for each in self._due()})

    def _say(self) -> set[str]:
        self._empty()
        due = self._due()
        for each in due:
            spark(self._rooms, each)
        return {each.id for each in due}

    def _due(self) -> Sequence[DueTransfer]:
        rooms = self._rooms
        return rooms.ledger.due(limit=_TRANSFERS, host=rooms.host, closed=frozenset(), keep_ms=0).transfers

    def _missing(self, ids: set[str]) -> set[str]:
        """Neither done nor anywhere on the broker, from where it would be given to another worker."""
        return ids - self._done() - self._on_the_broker(ids)

    def _done(self) -> set[str]:
        # The last line may be half of one: then it was not done.
        return set(self._taken.read_text("ascii").split("\n")[:-1]) if self._taken.exists() else set()

    def _on_the_broker(self, ids: set[str]) -> set[str]:
        waiting = self._redis.lrange(Queue.FORWARD_NORMAL.value, 0, -1)
        held = self._redis.hvals("unacked")
        text = "\n".join(map(str, (*waiting, *held)))
        return {each for each in ids if each in text}

    def _empty(self) -> None:
        self._redis.delete(*_UNACKED, *(queue.value for queue in Queue))


def _wait_for_the_first(taken: Path) -> None:
    until = time.monotonic() + _WITHIN_S
    while not taken.stat().st_size:
        if time.monotonic() > until:
            raise TimeoutError(f"the worker has taken nothing within {_WITHIN_S:.0f} s")
        time.sleep(0.002)


@contextmanager
def _broker(settings: Settings) -> Iterator[Redis]:
    home.prepare(settings)
    with (settings.path("logs") / "broker.log").open("ab") as log:
        process = start(broker.command(settings), output=log)
    try:
        until = time.monotonic() + _WITHIN_S
        while not broker.answers(settings):
            if time.monotonic() > until:
                raise TimeoutError("the embedded broker does not answer")
            time.sleep(0.05)
        with Redis(unix_socket_path=str(home.broker_socket(settings))) as redis:
            yield redis
    finally:
        process.terminate()
        with suppress(OSError):
            process.wait()


FAULTS: Final = (
    Fault(
        "R3b", "SIGKILL of a worker while it takes messages: those lost on their way", "kills", 1000, killed
    ),
)
