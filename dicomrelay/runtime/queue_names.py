"""The queues, and what they are called where several hosts share a broker (docs/design/hosts.md)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Queue(StrEnum):
    """The queues."""

    GROUP = "group"
    FORWARD_URGENT = "forward.urgent"
    FORWARD_NORMAL = "forward.normal"
    FORWARD_BULK = "forward.bulk"
    ARCHIVE = "archive"
    FRAMES = "frames"
    MAINTENANCE = "maintenance"


INTAKE_QUEUES: Final = (Queue.GROUP, Queue.MAINTENANCE)
KEEP_QUEUES: Final = (Queue.ARCHIVE, Queue.FRAMES)
# In this order a worker looks for work (queue_order_strategy): urgent studies pass the others.
FORWARD_QUEUES: Final = (Queue.FORWARD_URGENT, Queue.FORWARD_NORMAL, Queue.FORWARD_BULK)
# What is done where the spool is.
OF_A_SPOOL: Final = frozenset({Queue.GROUP, Queue.ARCHIVE, Queue.MAINTENANCE})
# Of what is not archived, the sending too.
_FORWARD_HERE: Final = "forward"
# RabbitMQ takes any name of up to 255 bytes; Celery's option for queues divides at commas.
_ODD: Final = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class QueueNames:
    """The names on the wire.

    Attributes
    ----------
    spool : str
        The name of this host's spool; "" where there is one host, and queues are called as they are.
    """

    spool: str = ""

    def of(self, queue: Queue) -> str:
        """The queue's name."""
        return self._bound(queue.value) if queue in OF_A_SPOOL else queue.value

    @property
    def forward_here(self) -> str:
        """The queue of what only this host can forward; "" where that is everything."""
        return self._bound(_FORWARD_HERE) if self.spool else ""

    def all(self) -> list[str]:
        """Every name that this host says or hears."""
        return [*map(self.of, Queue), *filter(None, [self.forward_here])]

    def taken_by(self, queues: Sequence[Queue]) -> list[str]:
        """The names that a worker on these queues takes from, in their order: what only it can do comes first."""
        here = self.forward_here if set(queues) & set(FORWARD_QUEUES) else ""
        return [*filter(None, [here]), *map(self.of, queues)]

    def _bound(self, name: str) -> str:
        return f"{name}@{_ODD.sub('_', self.spool)}" if self.spool else name
