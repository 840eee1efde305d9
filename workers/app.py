"""A worker: Celery with our tasks, on the queues it is told."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from dicomrelay.ledger import migrate
from dicomrelay.log import get_logger
from dicomrelay.net import tls
from dicomrelay.runtime import home
from dicomrelay.runtime.queue import Queue, build_celery
from dicomrelay.settings import Settings
from workers import tasks
from workers.rooms import Rooms

_log = get_logger("dicomrelay.worker")
# worker_soft_shutdown_timeout, and some seconds to say goodbye.
_SHUTDOWN_S = 15.0


class _PerProcess:
    """Rooms for each process of the pool: connections do not survive a fork."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rooms: tuple[int, Rooms] | None = None

    def __call__(self) -> Rooms:
        pid = os.getpid()
        if self._rooms is None or self._rooms[0] != pid:
            self._rooms = (pid, Rooms.open(self._settings))
        return self._rooms[1]


def _bound_the_shutdown() -> None:
    """Let the first signal to stop start a clock.

    Celery may hang in its shutdown when the broker is gone; what is unfinished is safe in the ledger.
    """

    def bounded(previous: Any) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            timer = threading.Timer(_SHUTDOWN_S, os._exit, (1,))
            timer.daemon = True
            timer.start()
            previous(number, frame)

        return handle

    for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT):
        previous = signal.getsignal(number)
        if callable(previous):
            signal.signal(number, bounded(previous))


def run(
    settings: Settings, *, queues: Sequence[Queue], processes: int, name: str, ready: Callable[[], None]
) -> None:
    """Run a worker in this process until SIGTERM or SIGINT.

    Parameters
    ----------
    queues : sequence of Queue
        The most urgent first.
    processes : int
        Tasks at once.
    ready : callable
        Called when it takes work.
    """
    # SIGTERM as soft shutdown: finish within worker_soft_shutdown_timeout, or give the message back.
    os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")
    from celery import signals  # noqa: PLC0415 - it reads the variable when it is imported

    tls.check_destinations(settings)
    migrate(home.ledger_url(settings))
    app = build_celery(settings)
    tasks.register(app, _PerProcess(settings))

    def on_ready(**_: Any) -> None:
        _log.info("taking work", queues=[queue.value for queue in queues], processes=processes)
        _bound_the_shutdown()
        ready()

    signals.worker_ready.connect(on_ready, weak=False)
    # Celery sets up logging of its own unless somebody listens here; ours is set up already.
    signals.setup_logging.connect(lambda **_: None, weak=False)
    app.worker_main(
        [
            "worker",
            f"--hostname={name}@%h",
            f"--queues={','.join(queue.value for queue in queues)}",
            f"--concurrency={processes}",
            "--pool=prefork",
            "--task-events",
            "--without-mingle",
        ]
    )
