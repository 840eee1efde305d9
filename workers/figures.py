"""What one attempt at a transfer comes to, for Prometheus (docs/design/metrics.md)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dicomrelay import metrics, traces
from dicomrelay.ledger.values import ClaimedTransfer, DeliveryOutcome, TransferState
from dicomrelay.metrics.catalogue import (
    ANSWER_SECONDS,
    JOURNEY_SECONDS,
    OUTCOMES,
    SENT_BYTES,
    TASK_FAILURES,
    TASK_SECONDS,
    TRANSFER_SECONDS,
    TRANSFERS,
)
from dicomrelay.runtime.queue import Task
from dicomrelay.spool.layout import begun_ms


class DeliveryFigures:
    """Of one attempt."""

    def __init__(
        self, claimed: ClaimedTransfer, *, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self._destination = claimed.destination
        self._attempt = claimed.attempt
        self._items = {each.instance.instance_id: each.instance for each in claimed.deliveries}
        # An item's name begins with the time at which it came: nothing has to be asked for.
        self._came_ms = {
            each.instance.instance_id: begun_ms(each.instance.spool_id) for each in claimed.deliveries
        }
        self._now_ms = now_ms

    def answered(self, outcome: DeliveryOutcome) -> None:
        """What became of an instance."""
        name = self._destination
        metrics.add(OUTCOMES, name, outcome.state.value)
        if outcome.sent_bytes:
            metrics.add(SENT_BYTES, name, by=outcome.sent_bytes)
        if outcome.status is not None:
            metrics.observe(ANSWER_SECONDS, outcome.duration_ms / 1000, name)
        came_ms = self._came_ms.get(outcome.instance_id)
        if outcome.state.is_delivered and came_ms is not None:
            metrics.observe(JOURNEY_SECONDS, max(0, self._now_ms() - came_ms) / 1000, name)
        facts = self._items.get(outcome.instance_id)
        if facts is not None and traces.is_traced(facts.spool_id):
            traces.span(
                facts.spool_id,
                "deliver",
                outcome.duration_ms / 1000,
                {
                    "dicom.sop_instance_uid": facts.sop_instance_uid,
                    "dicomrelay.destination": name,
                    "dicomrelay.outcome": outcome.state.value,
                    "dicomrelay.status": "" if outcome.status is None else f"{outcome.status:04X}",
                    "dicomrelay.attempt": self._attempt,
                },
                about=name,
                attempt=self._attempt,
                failed=not outcome.state.is_delivered,
            )


def attempt_over(destination: str, state: TransferState, seconds: float) -> None:
    """An attempt at a transfer is over."""
    metrics.add(TRANSFERS, destination, state.value)
    metrics.observe(TRANSFER_SECONDS, seconds, destination)


@contextmanager
def task_timed(task: Task) -> Iterator[None]:
    """A task of the workers runs while the block does."""
    name = task.value.removeprefix("dicomrelay.")
    began = time.monotonic()
    try:
        yield
    except BaseException:
        metrics.add(TASK_FAILURES, name)
        raise
    finally:
        metrics.observe(TASK_SECONDS, time.monotonic() - began, name)
