"""Commits what became of each instance, in small batches, while a transfer is under way."""

from __future__ import annotations

import time
from dataclasses import replace

from dicomrelay.dicom.status import status_name
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.values import ClaimedTransfer, DeliveryOutcome, DeliveryState

# What a crash can make us send twice: the responses of the last tenth of a second.
_BATCH = 50
_BATCH_S = 0.1


class OutcomeWriter:
    """Collects outcomes and writes them every 50, or every 100 ms."""

    def __init__(self, ledger: Ledger, claimed: ClaimedTransfer) -> None:
        self._ledger = ledger
        self._claimed = claimed
        self._waiting: list[tuple[float, DeliveryOutcome]] = []
        self._flushed_at = time.monotonic()
        self.delivered = 0
        self.sent_bytes = 0
        self.answers = 0
        self.answer_ms = 0
        self.retry_reason = ""
        self.retry_status = ""

    def add(self, outcome: DeliveryOutcome) -> None:
        """One more."""
        self._waiting.append((time.monotonic(), outcome))
        self.sent_bytes += outcome.sent_bytes
        if outcome.status is not None:
            self.answers += 1
            self.answer_ms += outcome.duration_ms
        if outcome.state.is_delivered:
            self.delivered += 1
        elif outcome.state is DeliveryState.FAILED:
            self.retry_reason = outcome.reason
            self.retry_status = "" if outcome.status is None else status_name(outcome.status)
        if len(self._waiting) >= _BATCH or time.monotonic() - self._flushed_at > _BATCH_S:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            outcomes = [_aged(outcome, time.monotonic() - since) for since, outcome in self._waiting]
            self._ledger.record_outcomes(self._claimed.id, self._claimed.fence, outcomes)
            self._waiting = []
        self._flushed_at = time.monotonic()


def _aged(outcome: DeliveryOutcome, seconds: float) -> DeliveryOutcome:
    """With how long it waited for its batch: the ledger's time is then that of the answer and not of the commit."""
    if outcome.sent is None:
        return outcome
    return replace(outcome, sent=replace(outcome.sent, ago_ms=round(seconds * 1000)))
