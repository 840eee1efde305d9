"""The one adapter to Celery outside the workers: the queue's configuration, and sending wake-ups.

A message says "there is work" or "transfer 7f… is due": an opaque id and nothing else. It may be lost or come twice;
the ledger knows what is due, and the sweeper says it again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from dicomrelay.runtime import broker_options, home, servers
from dicomrelay.runtime.broker_errors import broker_errors
from dicomrelay.runtime.queue_names import FORWARD_QUEUES, INTAKE_QUEUES, KEEP_QUEUES, Queue, QueueNames
from dicomrelay.settings import Settings

if TYPE_CHECKING:
    from celery import Celery

__all__ = [
    "FORWARD_QUEUES",
    "INTAKE_QUEUES",
    "KEEP_QUEUES",
    "Queue",
    "Task",
    "WakeUps",
    "build_celery",
    "names_of",
]


class Task(StrEnum):
    """The names of the tasks on the wire: never derived from module paths, so that code may move."""

    GROUP = "dicomrelay.group"
    FORWARD = "dicomrelay.forward"
    ARCHIVE = "dicomrelay.archive"
    FRAMES = "dicomrelay.frames"
    RELEASE = "dicomrelay.release"
    VERIFY = "dicomrelay.verify"
    REPORTS = "dicomrelay.reports"
    PULL = "dicomrelay.pull"


_TASK_QUEUE: Final = {
    Task.GROUP: Queue.GROUP,
    Task.ARCHIVE: Queue.ARCHIVE,
    Task.FRAMES: Queue.FRAMES,
    Task.RELEASE: Queue.MAINTENANCE,
    # Beside the forwarding: it waits for peers, and nothing urgent waits for it.
    Task.VERIFY: Queue.FORWARD_BULK,
    # Where the spool is.
    Task.REPORTS: Queue.MAINTENANCE,
    # As verification.
    Task.PULL: Queue.FORWARD_BULK,
}


# Of RabbitMQ and of kombu's Redis alike: nobody has declared such a queue.
_NOT_FOUND: Final = "404"


def names_of(settings: Settings) -> QueueNames:
    """What the queues are called here.

    Raises
    ------
    ConfigurationError
        The file with the name of the spool is damaged.
    """
    return QueueNames(home.known_spool_name(settings) if home.has_own_queues(settings) else "")


def build_celery(settings: Settings) -> Celery:
    """A Celery application for our queues.

    Redelivery on Redis is by time (`visibility_timeout`), so tasks are bounded well under it, and what a lost or
    doubled message could harm is guarded by leases in the ledger.

    Raises
    ------
    ConfigurationError
        As `names_of`, or broker.password_file cannot be read.
    """
    # Late: half a second of imports that the gateway and most commands can do without.
    from celery import Celery  # noqa: PLC0415
    from kombu.entity import Queue as KombuQueue  # noqa: PLC0415

    url, timeout_s = home.broker_url(settings), settings.broker.timeout_s
    names = names_of(settings)
    arguments = broker_options.queue_arguments(url)
    app = Celery("dicomrelay", broker=url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        result_accept_content=["json"],
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_create_missing_queues=False,
        task_default_queue=names.of(Queue.MAINTENANCE),
        task_queues=[KombuQueue(name, queue_arguments=arguments or None) for name in names.all()],
        task_track_started=True,
        task_publish_retry=False,
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_soft_shutdown_timeout=10,
        # True makes an idle worker sleep the whole of the above before it stops.
        worker_enable_soft_shutdown_on_idle=False,
        # True kills the worker at a broker restart (celery issues 7185 and 9250).
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=timeout_s,
        broker_use_ssl=servers.broker_tls(settings.broker) or False,
        **broker_options.celery_options(url, timeout_s=timeout_s),
    )
    return app


class WakeUps:
    """Sends wake-ups; one for a process, safe between threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app: Celery | None = None
        self._names = QueueNames()
        self._lock = threading.Lock()

    def send(
        self, task: Task, *, ids: Sequence[str] = (), queue: Queue | None = None, here: bool = False
    ) -> None:
        """Put one message on the task's queue.

        Parameters
        ----------
        ids : sequence of str
            Opaque ids, and nothing else.
        queue : Queue, optional
            Where the task has no queue of its own (forwarding).
        here : bool
            Of forwarding: for the workers of this host alone, where the broker serves others too.

        Raises
        ------
        ServiceUnavailable
            The broker does not take it within `broker.timeout_s`; the sweeper will say it again.
        """
        with self._lock, broker_errors():
            app = self._celery()
            target = self._names.of(queue or _TASK_QUEUE[task])
            name = (self._names.forward_here if here else "") or target
            app.send_task(task.value, args=list(ids), queue=name, ignore_result=True, retry=False)

    def is_waiting(self, task: Task) -> bool:
        """Whether a message waits on the task's own queue.

        Raises
        ------
        ServiceUnavailable
            The broker does not answer.
        """
        with self._lock, broker_errors(), self._connected() as connection:
            return _depth(connection, self._names.of(_TASK_QUEUE[task])) > 0

    def depths(self, queues: Sequence[Queue] = tuple(Queue)) -> dict[Queue, int]:
        """How many messages wait in each queue; of those that are a spool's, in this spool's.

        RabbitMQ writes an error into its log for each that nobody has declared: ask for what somebody takes from.

        Raises
        ------
        ServiceUnavailable
            The broker does not answer.
        """
        with self._lock, broker_errors(), self._connected() as connection:
            return {queue: _depth(connection, self._names.of(queue)) for queue in queues}

    def depth_here(self) -> int:
        """How many messages wait for the forward workers of this host alone.

        Raises
        ------
        ServiceUnavailable
            The broker does not answer.
        """
        with self._lock, broker_errors(), self._connected() as connection:
            name = self._names.forward_here
            return _depth(connection, name) if name else 0

    def close(self) -> None:
        """Close the connections."""
        if self._app is not None:
            self._app.close()

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """A connection of the pool. One that was closed because its broker was lost stays so until somebody connects it again."""
        with self._celery().pool.acquire(block=True) as connection:
            if connection.transport.driver_type == "amqp" and not connection.connected:
                connection.connect()
            yield connection

    def _celery(self) -> Celery:
        if self._app is None or (not self._names.spool and names_of(self._settings).spool):
            names, app = names_of(self._settings), build_celery(self._settings)
            url, timeout_s = home.broker_url(self._settings), self._settings.broker.timeout_s
            app.conf.broker_transport_options |= broker_options.publisher_options(url, timeout_s=timeout_s)
            self.close()
            self._names, self._app = names, app
        return self._app


def _depth(connection: Any, name: str) -> int:
    from kombu.exceptions import ChannelError  # noqa: PLC0415

    # On Redis an empty queue does not exist; on RabbitMQ one that nobody has declared, and then the channel is closed.
    is_amqp = connection.transport.driver_type == "amqp"
    channel = connection.channel() if is_amqp else connection.default_channel
    try:
        return int(channel.queue_declare(queue=name, passive=True).message_count)
    except ChannelError as error:
        if str(error.reply_code) != _NOT_FOUND:
            raise
        return 0
    finally:
        if is_amqp:
            channel.close()
