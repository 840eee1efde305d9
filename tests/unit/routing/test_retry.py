"""The schedule of attempts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomrelay.routing import RetryPolicy, retry_delay_s

JUST_UNDER_ONE = 1 - 2**-53


def test_the_step_doubles_up_to_its_cap() -> None:
    """With the default settings: 5, 10, 20 and so on, then 600 seconds; half of it without luck in the draw."""
    assert [retry_delay_s(attempt, 5, 600, 0) for attempt in range(1, 10)] == [
        2.5,
        5,
        10,
        20,
        40,
        80,
        160,
        300,
        300,
    ]
    assert retry_delay_s(1, 5, 600, JUST_UNDER_ONE) == pytest.approx(5)


@given(
    attempt=st.integers(1, 10**9),
    initial=st.floats(0.001, 10_000),
    maximum=st.floats(0.001, 10_000_000),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_a_wait_is_positive_bounded_and_never_shrinks(
    attempt: int, initial: float, maximum: float, jitter: float
) -> None:
    """For any setting, and for an attempt count that no float exponent could hold."""
    wait = retry_delay_s(attempt, initial, maximum, jitter)
    assert 0 < wait <= maximum
    assert min(initial, maximum) / 2 <= wait
    assert wait <= retry_delay_s(attempt + 1, initial, maximum, jitter)


@pytest.mark.parametrize(("attempt", "jitter"), [(0, 0.5), (-1, 0.5), (1, 1.0), (1, -0.1)])
def test_nonsense_is_refused(attempt: int, jitter: float) -> None:
    """Attempts count from 1, chance is less than 1."""
    with pytest.raises(ValueError, match=r"attempt is|jitter is"):
        retry_delay_s(attempt, 5, 600, jitter)


def test_a_policy_ends_after_its_attempts() -> None:
    """None: what is left needs attention."""
    policy = RetryPolicy(5, 600, attempts=3)
    assert [policy.delay_s(attempt, jitter=0.0) for attempt in range(1, 5)] == [2.5, 5.0, None, None]
