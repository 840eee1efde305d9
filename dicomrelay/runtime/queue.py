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

from dicomrelay.errors import ServiceUnavailable
from dicomrelay.runtime.home import broker_url
from dicomrelay.settings import Settings

if TYPE_CHECKING:
    from celery import Celery


class Queue(StrEnum):
    """The queues."""

    GROUP = "group"
    FORWARD_URGENT = "forward.urgent"
    FORWARD_NORMAL = "forward.normal"
    FORWARD_BULK = "forward.bulk"
    ARCHIVE = "archive"
    FRAMES = "frames"
    MAINTENANCE = "maintenance"


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


INTAKE_QUEUES: Final = (Queue.GROUP, Queue.MAINTENANCE)
KEEP_QUEUES: Final = (Queue.ARCHIVE, Queue.FRAMES)
# In this order a worker looks for work (queue_order_strategy): urgent studies pass the others.
FORWARD_QUEUES: Final = (Queue.FORWARD_URGENT, Queue.FORWARD_NORMAL, Queue.FORWARD_BULK)

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


def build_celery(settings: Settings) -> Celery:
    """A Celery application for our queues.

    Redelivery on Redis is by time (`visibility_timeout`), so tasks are bounded well under it, and what a lost or
    doubled message could harm is guarded by leases in the ledger. Without `socket_timeout` a worker never notices a
    broker that went silent.
    """
    # Late: half a second of imports that the gateway and most commands can do without.
    from celery import Celery  # noqa: PLC0415
    from kombu.entity import Queue as KombuQueue  # noqa: PLC0415

    app = Celery("dicomrelay", broker=broker_url(settings), set_as_current=False)
    timeout_s = settings.broker.timeout_s
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        result_accept_content=["json"],
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_create_missing_queues=False,
        task_default_queue=Queue.MAINTENANCE.value,
        task_queues=[KombuQueue(queue.value) for queue in Queue],
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
        broker_transport_options={
            "visibility_timeout": 300,
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "socket_keepalive": True,
            "health_check_interval": 5,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "queue_order_strategy": "priority",
        },
    )
    return app


class WakeUps:
    """Sends wake-ups; one for a process, safe between threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app: Celery | None = None
        self._lock = threading.Lock()

    def send(self, task: Task, *, ids: Sequence[str] = (), queue: Queue | None = None) -> None:
        """Put one message on the task's queue.

        Parameters
        ----------
        ids : sequence of str
            Opaque ids, and nothing else.
        queue : Queue, optional
            Where the task has no queue of its own (forwarding).

        Raises
        ------
        ServiceUnavailable
            The broker does not take it within `broker.timeout_s`; the sweeper will say it again.
        """
        with self._lock, _broker_errors():
            target = queue or _TASK_QUEUE[task]
            self._celery().send_task(
                task.value, args=list(ids), queue=target.value, ignore_result=True, retry=False
            )

    def is_waiting(self, task: Task) -> bool:
        """Whether a message waits on the task's own queue.

        Raises
        ------
        ServiceUnavailable
            The broker does not answer.
        """
        with self._lock, _broker_errors(), self._celery().pool.acquire(block=True) as connection:
            return _depth(connection.default_channel, _TASK_QUEUE[task]) > 0

    def depths(self) -> dict[Queue, int]:
        """How many messages wait in each queue.

        Raises
        ------
        ServiceUnavailable
            The broker does not answer.
        """
        with self._lock, _broker_errors(), self._celery().pool.acquire(block=True) as connection:
            channel = connection.default_channel
            return {queue: _depth(channel, queue) for queue in Queue}

    def close(self) -> None:
        """Close the connections."""
        if self._app is not None:
            self._app.close()

    def _celery(self) -> Celery:
        if self._app is None:
            self._app = build_celery(self._settings)
            # One more try and then the caller is told; it has better things to do, and the sweeper will say it again.
            self._app.conf.broker_transport_options |= {
                "max_retries": 1,
                "interval_start": 0,
                "interval_step": 0.1,
            }
        return self._app


def _depth(channel: Any, queue: Queue) -> int:
    from kombu.exceptions import ChannelError  # noqa: PLC0415

    try:
        return int(channel.queue_declare(queue=queue.value, passive=True).message_count)
    except ChannelError:  # on Redis an empty queue does not exist
        return 0


@contextmanager
def _broker_errors() -> Iterator[None]:
    """Turns the broker's errors into ours."""
    from kombu.exceptions import KombuError, OperationalError  # noqa: PLC0415
    from redis.exceptions import RedisError  # noqa: PLC0415

    try:
        yield
    except (OperationalError, KombuError, RedisError, OSError) as error:
        raise ServiceUnavailable(f"the broker does not answer ({type(error).__name__})") from error
