"""When to try again: exponential, capped, jittered. Pure; the caller brings the chance and the clock."""

from __future__ import annotations

from dataclasses import dataclass


def retry_delay_s(attempt: int, initial_s: float, maximum_s: float, jitter: float) -> float:
    """The wait after an attempt that failed, in seconds.

    The schedule doubles from `initial_s` to `maximum_s`; the wait is between half of its step and the whole of it, so
    that what failed together does not come back together.

    Parameters
    ----------
    attempt : int
        Attempts made so far, 1 or more.
    initial_s, maximum_s : float
        First and longest step, in seconds.
    jitter : float
        A random number, 0 <= jitter < 1.

    Raises
    ------
    ValueError
        `attempt` or `jitter` out of range.
    """
    if attempt < 1:
        raise ValueError(f"attempt is {attempt}, and counts from 1")
    if not 0 <= jitter < 1:
        raise ValueError(f"jitter is {jitter}, and goes from 0 to less than 1")
    # 2 ** 1024 is more than a float holds; with any setting the cap is reached long before 2 ** 64.
    step = min(initial_s * 2.0 ** min(attempt - 1, 64), maximum_s)
    return step * (1 + jitter) / 2


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long and how often to try again."""

    initial_s: float
    maximum_s: float
    attempts: int

    def delay_s(self, attempt: int, *, jitter: float) -> float | None:
        """The wait after that many attempts, in seconds; None when there is to be no other."""
        if attempt >= self.attempts:
            return None
        return retry_delay_s(attempt, self.initial_s, self.maximum_s, jitter)
