"""A worker: Celery with our tasks, on the queues it is told."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from dicomrelay import metrics
from dicomrelay.errors import ServiceUnavailable
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.migrate import migrate
from dicomrelay.log import get_logger
from dicomrelay.metrics.catalogue import FORWARD_PLACES, QUEUE_WORKERS
from dicomrelay.net import tls
from dicomrelay.routing.book import rule_set
from dicomrelay.runtime import home
from dicomrelay.runtime.broker_options import without_delayed_delivery
from dicomrelay.runtime.queue import Queue, WakeUps, build_celery, names_of
from dicomrelay.settings import Settings
from workers import tasks
from workers.dead import end_leases_of_the_dead
from workers.draining import drain_until
from workers.forwarding import Forwarding
from workers.rooms import Rooms
from workers.watchdog import Activity, watch

_log = get_logger("dicomrelay.worker")
# worker_soft_shutdown_timeout, and some seconds to say goodbye.
_SHUTDOWN_S = 15.0
_THREADS_SHUTDOWN_S = 3.0


class _PerProcess:
    """Rooms and runners for each process of the pool: connections do not survive a fork."""

    def __init__(self, settings: Settings, places: int) -> None:
        self._settings = settings
        self._places = places
        self._lock = threading.Lock()
        self._made: tuple[int, Rooms, Forwarding] | None = None

    def rooms(self) -> Rooms:
        """This process's."""
        return self._own()[0]

    def forwarding(self) -> Forwarding:
        """This process's."""
        return self._own()[1]

    def stop(self) -> None:
        """Let what is under way be handed back at the next instance."""
        made = self._made
        if made is not None and made[0] == os.getpid():
            made[1].stopping.set()

    def _own(self) -> tuple[Rooms, Forwarding]:
        pid = os.getpid()
        with self._lock:
            if self._made is None or self._made[0] != pid:
                rooms = Rooms.open(self._settings)
                self._made = pid, rooms, Forwarding(rooms, self._places)
            return self._made[1], self._made[2]


def _activity() -> Activity:
    from celery.worker import state  # noqa: PLC0415 - see REMAP_SIGTERM

    return Activity(sum(state.total_count.values()), len(state.active_requests))


def _free(settings: Settings) -> None:
    """Take up what the process before this one had in hand. The ledger is closed again: it does not survive a fork."""
    ledger = Ledger.open(home.ledger_url(settings))
    try:
        end_leases_of_the_dead(ledger, host=home.spool_name(settings))
    except ServiceUnavailable as error:
        _log.warning("leases of dead processes are left to their time", reason=str(error))
    finally:
        ledger.dispose()


def _bound_the_shutdown(stop: Callable[[], None]) -> None:
    """Let the first signal to stop be told to what is under way, and start a clock.

    Celery may hang in its shutdown when the broker is gone; what is unfinished is safe in the ledger.
    """

    def bounded(previous: Any) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            timer = threading.Timer(_SHUTDOWN_S, os._exit, (1,))
            timer.daemon = True
            timer.start()
            stop()
            previous(number, frame)

        return handle

    for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT):
        previous = signal.getsignal(number)
        if callable(previous):
            signal.signal(number, bounded(previous))


def run(
    settings: Settings,
    *,
    queues: Sequence[Queue],
    processes: int,
    name: str,
    ready: Callable[[], None],
    threads: bool = False,
) -> None:
    """Run a worker in this process until SIGTERM or SIGINT.

    Parameters
    ----------
    queues : sequence of Queue
        The most urgent first.
    processes : int
        Tasks at once.
    threads : bool
        Have a thread for each, in this process; else a process.
    ready : callable
        Called when it takes work.

    Raises
    ------
    ServiceUnavailable
        Celery gave up, and nobody had asked it to end.
    """
    # SIGTERM as soft shutdown: finish within worker_soft_shutdown_timeout, or give the message back.
    os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")
    from celery import signals  # noqa: PLC0415 - it reads the variable when it is imported
    from celery.utils.nodenames import default_nodename, host_format  # noqa: PLC0415
    from celery.worker.consumer import Consumer  # noqa: PLC0415

    tls.check_destinations(settings)
    rule_set(settings)
    migrate(home.ledger_url(settings))
    _free(settings)
    app = build_celery(settings)
    Consumer.Blueprint.default_steps = without_delayed_delivery(Consumer.Blueprint.default_steps)
    own = _PerProcess(settings, processes if threads else 1)
    tasks.register(app, own.rooms, own.forwarding)
    if threads:
        # What is under way is handed back at the next instance: there is no more to wait for.
        app.conf.worker_soft_shutdown_timeout = _THREADS_SHUTDOWN_S

    def on_ready(**_: Any) -> None:
        _log.info("taking work", queues=[queue.value for queue in queues], processes=processes)
        for queue in queues:
            metrics.level(QUEUE_WORKERS, 1, queue.value)
        if any(queue.value.startswith("forward") for queue in queues):
            metrics.level(FORWARD_PLACES, processes)
        _bound_the_shutdown(own.stop)
        watch(_activity, WakeUps(settings), queues)
        if threads and home.is_shared(settings):
            ends = threading.Event()  # with the process
            threading.Thread(target=drain_until, args=(own.rooms, ends), name="drain", daemon=True).start()
        ready()

    signals.worker_ready.connect(on_ready, weak=False)
    # Celery sets up logging of its own unless somebody listens here; ours is set up already.
    signals.setup_logging.connect(lambda **_: None, weak=False)
    # Without Celery's own command line, which imports a shell, Flower and every command there is: a fourth of a second.
    worker = app.Worker(
        hostname=host_format(default_nodename(f"{name}@%h")),
        queues=list(names_of(settings).taken_by(queues)),
        concurrency=processes,
        pool_cls="threads" if threads else "prefork",
        loglevel="WARNING",
        task_events=True,
        without_mingle=True,
    )
    worker.start()
    if worker.exitcode:
        # Such as a broker that refuses the password, which Celery takes for the end. It has said why; Celery's own code is lost.
        raise ServiceUnavailable(
            "the worker ended by itself, the lines before say why; whoever keeps it alive starts it again"
        )
