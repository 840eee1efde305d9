"""The circuit breaker as a value: every state, every word it is told."""

from __future__ import annotations

import pytest

from dicomrelay.ledger.breaker import TRIAL_MS, Admission, Breaker, BreakerPolicy, BreakerState

_POLICY = BreakerPolicy(failures=3, initial_s=5, maximum_s=60)
_NOW = 1_000_000


def _failed(breaker: Breaker, times: int = 1, *, now: int = _NOW) -> Breaker:
    for _ in range(times):
        breaker = breaker.failed(_POLICY, now=now, jitter=0.0)
    return breaker


def test_it_opens_at_the_failure_that_the_settings_say_and_not_before() -> None:
    """And says when a probe may be made."""
    two = _failed(Breaker(), 2)
    assert (two.state, two.failures, two.probe_at) == (BreakerState.CLOSED, 2, None)
    assert two.admits(now=_NOW, live=0) is Admission.YES

    three = _failed(two)
    assert three == Breaker(BreakerState.OPEN, 3, opened_at=_NOW, probe_at=_NOW + 2500, probes=1)


def test_an_answer_starts_the_count_anew() -> None:
    """Whatever it was."""
    assert _failed(_failed(Breaker(), 2).reached()).failures == 1
    assert _failed(Breaker(), 3).reached() == Breaker()


@pytest.mark.parametrize(
    ("state", "probe_at", "live", "admission"),
    [
        (BreakerState.CLOSED, None, 5, Admission.YES),
        (BreakerState.OPEN, _NOW + 1, 0, Admission.NO),
        (BreakerState.OPEN, _NOW, 0, Admission.TRIAL),
        (BreakerState.OPEN, _NOW, 1, Admission.NO),  # one that had begun before it opened
        (BreakerState.HALF_OPEN, _NOW + 1, 0, Admission.NO),
        (BreakerState.HALF_OPEN, _NOW, 1, Admission.NO),  # a trial that takes its time
        (BreakerState.HALF_OPEN, _NOW, 0, Admission.TRIAL),  # its runner died
    ],
)
def test_who_is_let_through(
    state: BreakerState, probe_at: int | None, live: int, admission: Admission
) -> None:
    """One at a time, and not before the probe's time."""
    assert Breaker(state, 3, 0, probe_at, 1).admits(now=_NOW, live=live) is admission


def test_a_trial_has_thirty_seconds() -> None:
    """Then its runner is taken to be dead."""
    trial = _failed(Breaker(), 3).trial(_NOW + 5000)
    assert (trial.state, trial.probe_at) == (BreakerState.HALF_OPEN, _NOW + 5000 + TRIAL_MS)


def test_each_probe_that_fails_doubles_the_wait_up_to_the_longest() -> None:
    """5, 10, 20, 40, 60, 60 seconds, of which at least the half."""
    breaker = _failed(Breaker(), 3)
    waits = []
    for _ in range(6):
        assert breaker.probe_at is not None
        waits.append(breaker.probe_at - _NOW)
        breaker = _failed(breaker.trial(_NOW))
    assert waits == [2500, 5000, 10_000, 20_000, 30_000, 30_000]
    assert breaker.opened_at == _NOW
    assert _POLICY.wait_ms(1, 0.999) == pytest.approx(5000, rel=0.001)


def test_a_straggler_that_fails_while_it_is_open_moves_no_clock() -> None:
    """It had begun before."""
    breaker = _failed(Breaker(), 3)
    later = _failed(breaker, now=_NOW + 60_000)
    assert (later.probe_at, later.probes, later.failures) == (breaker.probe_at, 1, 4)
