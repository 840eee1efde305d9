"""Commits what became of each instance, in small batches, while a transfer is under way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from dicomrelay.dicom.status import status_name
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.values import ClaimedTransfer, DeliveryOutcome, DeliveryState
from workers.answers import AnswerJournal
from workers.figures import DeliveryFigures

# What a power cut can make us send twice: at most the responses of the last tenth of a second.
_BATCH: Final = 50
_BATCH_S: Final = 0.1
# Between two commits there is so many times what the last one took: a fifth of the time goes to commits at most, and
# where responses are rarer than that, each is committed at once.
_TIMES_ITS_COST: Final = 4


class OutcomeWriter:
    """Collects outcomes and writes them as soon as it is cheap: every 50, every 100 ms, or sooner where a commit is quick."""

    def __init__(
        self,
        ledger: Ledger,
        claimed: ClaimedTransfer,
        *,
        journal: AnswerJournal | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._journal = journal
        self._claimed = claimed
        self._figures = DeliveryFigures(claimed)
        self._clock = clock
        self._waiting: list[tuple[float, DeliveryOutcome]] = []
        self._flushed_at = clock()
        self._pause_s = 0.0  # the first is committed at once: then it is known what that takes
        self.delivered = 0
        self.sent_bytes = 0
        self.answers = 0
        self.answer_ms = 0
        self.retry_reason = ""
        self.retry_status = ""

    def add(self, outcome: DeliveryOutcome) -> None:
        """One more."""
        if self._journal is not None:
            self._journal.note(outcome)
        now = self._clock()
        self._waiting.append((now, outcome))
        self.sent_bytes += outcome.sent_bytes
        self._figures.answered(outcome)
        if outcome.status is not None:
            self.answers += 1
            self.answer_ms += outcome.duration_ms
        if outcome.state.is_delivered:
            self.delivered += 1
        elif outcome.state is DeliveryState.FAILED:
            self.retry_reason = outcome.reason
            self.retry_status = "" if outcome.status is None else status_name(outcome.status)
        if len(self._waiting) >= _BATCH or now - self._flushed_at > self._pause_s:
            self.flush()

    @property
    def has_unwritten(self) -> bool:
        """Whether something waits still, because the ledger did not take it."""
        return bool(self._waiting)

    def flush(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        began = self._clock()
        outcomes = [_aged(outcome, began - since) for since, outcome in self._waiting]
        self._ledger.record_outcomes(self._claimed.id, self._claimed.fence, outcomes)
        self._waiting = []
        self._flushed_at = self._clock()
        self._pause_s = min(_BATCH_S, _TIMES_ITS_COST * (self._flushed_at - began))


def _aged(outcome: DeliveryOutcome, seconds: float) -> DeliveryOutcome:
    """With how long it waited for its batch: the ledger's time is then that of the answer and not of the commit."""
    if outcome.sent is None:
        return outcome
    return replace(outcome, sent=replace(outcome.sent, ago_ms=round(seconds * 1000)))
