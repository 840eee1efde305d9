"""What each kind of broker is told beside the rest of Celery's settings (docs/design/hosts.md). No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

_AMQP: Final = ("amqp://", "amqps://")
# Two beats that do not come, and the connection is dropped on both sides.
_HEARTBEAT_S: Final = 10
_QUORUM: Final = {"x-queue-type": "quorum"}


def speaks_amqp(url: str) -> bool:
    """Whether a broker is RabbitMQ, by its URL."""
    return url.startswith(_AMQP)


def celery_options(url: str, *, timeout_s: float) -> dict[str, Any]:
    """Celery's settings for that broker.

    Parameters
    ----------
    url : str
        As kombu names it.
    timeout_s : float
        For it to connect or to answer.
    """
    if speaks_amqp(url):
        return {
            "broker_heartbeat": _HEARTBEAT_S,
            "worker_detect_quorum_queues": True,
            # read_timeout would end a consumer that has nothing to read: heartbeats watch over those.
            "broker_transport_options": {"confirm_publish": True, "write_timeout": timeout_s},
        }
    return {
        "broker_transport_options": {
            "visibility_timeout": 300,
            # Without it a worker never notices a broker that went silent.
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "socket_keepalive": True,
            "health_check_interval": 5,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "queue_order_strategy": "priority",
        }
    }


def publisher_options(url: str, *, timeout_s: float) -> dict[str, Any]:
    """Transport options of who only sends and asks: one more try and then the caller is told; the sweeper says it again."""
    again: dict[str, Any] = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1}
    return again | {"read_timeout": timeout_s} if speaks_amqp(url) else again


def queue_arguments(url: str) -> dict[str, str]:
    """What a queue is declared with."""
    return dict(_QUORUM) if speaks_amqp(url) else {}


def without_delayed_delivery(steps: Sequence[str]) -> list[str]:
    """A consumer's steps without the one that declares 28 more quorum queues, for messages that are to come later: none are."""
    return [step for step in steps if not step.endswith(":DelayedDelivery")]
