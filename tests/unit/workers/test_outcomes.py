"""How soon the responses of a destination are in the ledger, by a clock of the test's own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dicomrelay.errors import ServiceUnavailable
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.values import (
    DeliveryOutcome,
    DeliveryState,
)
from dicomrelay.ledger.values_evidence import SentFacts
from tests.support.claims import claimed_of
from workers.outcomes import OutcomeWriter

_CLAIMED = claimed_of(0, fence=1)
_SENT = SentFacts(
    transfer_syntax_uid="", digest="", calling_ae_title="A", called_ae_title="P", address="h:104", words=""
)


class _Timed(Ledger):
    """A ledger whose commits take a known time, and which notes what each held."""

    def __init__(self, *, commit_s: float) -> None:
        self.now = 100.0
        self.commit_s = commit_s
        self.batches: list[list[DeliveryOutcome]] = []
        self.is_away = False

    def record_outcomes(self, transfer_id: str, fence: int, outcomes: Sequence[DeliveryOutcome]) -> bool:
        self.now += self.commit_s
        if self.is_away:
            raise ServiceUnavailable("the ledger is away (test)")
        self.batches.append(list(outcomes))
        return True


def _answers(ledger: _Timed, count: int, *, every_s: float) -> tuple[OutcomeWriter, list[int]]:
    """Have so many answers come, each so long after the one before was dealt with; how many waited after each."""
    writer = OutcomeWriter(ledger, _CLAIMED, clock=lambda: ledger.now)
    waiting = []
    for number in range(count):
        ledger.now += every_s
        writer.add(DeliveryOutcome(f"i{number}", DeliveryState.DELIVERED, status=0, sent=_SENT))
        waiting.append(number + 1 - sum(map(len, ledger.batches)))
    return writer, waiting


def test_the_answers_of_a_slow_destination_are_committed_as_they_come() -> None:
    """At 12 ms an answer and 2.5 ms a commit a kill finds none that is not written."""
    _, waiting = _answers(_Timed(commit_s=0.0025), 200, every_s=0.012)
    assert set(waiting) == {0}


@pytest.mark.parametrize("commit_s", [0.0005, 0.002, 0.01, 0.012])
def test_commits_take_a_fifth_of_the_time_at_most(commit_s: float) -> None:
    """At 1 ms an answer; a commit of more than 12.5 ms meets the bound of fifty first."""
    ledger = _Timed(commit_s=commit_s)
    began = ledger.now
    _answers(ledger, 2000, every_s=0.001)
    # The first is committed before it is known what that takes.
    share = (len(ledger.batches) - 1) * commit_s / (ledger.now - began)
    assert share <= 0.2


def test_nothing_waits_longer_than_a_tenth_of_a_second_however_slow_the_ledger() -> None:
    """The bound of before: what a kill makes us send twice."""
    ledger = _Timed(commit_s=0.4)
    _answers(ledger, 400, every_s=0.003)
    waited = [outcome.sent.ago_ms for batch in ledger.batches for outcome in batch if outcome.sent]
    assert 90 <= max(waited) <= 103


def test_no_more_than_fifty_wait_however_quick_the_destination() -> None:
    """The other bound."""
    _, waiting = _answers(_Timed(commit_s=0.02), 1000, every_s=0.0001)
    assert max(waiting) == 49


def test_what_could_not_be_written_is_written_by_the_next_flush() -> None:
    """A ledger that is away for a moment costs no outcome, and each is told to be as old as it is."""
    ledger = _Timed(commit_s=0.001)
    writer, _ = _answers(ledger, 3, every_s=0.01)
    ledger.is_away = True
    ledger.now += 0.01
    with pytest.raises(ServiceUnavailable):
        writer.add(DeliveryOutcome("late", DeliveryState.DELIVERED, status=0, sent=_SENT))
    ledger.is_away = False
    ledger.now += 0.05
    writer.flush()
    (late,) = ledger.batches[-1]
    assert late.sent is not None
    assert (late.instance_id, late.sent.ago_ms) == ("late", 51)
    writer.flush()
    assert sum(map(len, ledger.batches)) == 4
