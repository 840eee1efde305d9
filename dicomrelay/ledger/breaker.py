"""The circuit breaker of a destination, as a value: closed, open, half open (docs/design/flow.md draws it). No SQL.

Times are epoch milliseconds by the database's clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

# How long a trial has before another may be made; the trial's lease is renewed, this is not.
TRIAL_MS: Final = 30_000


class BreakerState(StrEnum):
    """What the ledger thinks of a destination."""

    CLOSED = "closed"  # send
    OPEN = "open"  # leave it alone until the probe
    HALF_OPEN = "half_open"  # one transfer is trying


class Contact(StrEnum):
    """What an attempt learned about the destination itself."""

    NONE = "none"
    REACHED = "reached"  # it answered: whatever it said, it is alive
    FAILED = "failed"  # the association failed before any answer
    TURNED_AWAY = "turned_away"  # rejected for now (PS3.8 Table 9-21, result 2): dead, or only full


class Admission(StrEnum):
    """What a claim may be."""

    NO = "no"
    YES = "yes"
    TRIAL = "trial"  # by one, and a probe goes first


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens, and how long it stays so.

    Attributes
    ----------
    failures : int
        Contacts that failed in a row, 1 or more.
    initial_s, maximum_s : float
        First and longest wait for a probe, in seconds.
    """

    failures: int = 3
    initial_s: float = 5.0
    maximum_s: float = 60.0

    def wait_ms(self, probe: int, jitter: float) -> int:
        """The wait before that probe, counted from 1: doubled and capped, and of that the half to the whole.

        Parameters
        ----------
        jitter : float
            0 <= jitter < 1.
        """
        step = min(self.initial_s * 2.0 ** min(probe - 1, 64), self.maximum_s)
        return round(step * (1 + jitter) * 500)


@dataclass(frozen=True, slots=True)
class Breaker:
    """A breaker at a moment.

    Attributes
    ----------
    failures : int
        Contacts that failed in a row.
    opened_at, probe_at : int, optional
        Since when it is open; when a trial may be made.
    probes : int
        Waits since it opened.
    """

    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    opened_at: int | None = None
    probe_at: int | None = None
    probes: int = 0

    @property
    def in_trouble(self) -> bool:
        """Whether the last contact failed: one transfer at a time, then."""
        return self.failures > 0 or self.state is not BreakerState.CLOSED

    def admits(self, *, now: int, live: int) -> Admission:
        """What a claim would be, with `live` leases on transfers to the destination."""
        if self.state is BreakerState.CLOSED:
            return Admission.YES
        # In half_open too: whose probe_at has passed without a word has died, once its lease has ended.
        if live or (self.probe_at is not None and self.probe_at > now):
            return Admission.NO
        return Admission.TRIAL

    def trial(self, now: int) -> Breaker:
        """A trial begins."""
        return replace(self, state=BreakerState.HALF_OPEN, probe_at=now + TRIAL_MS)

    def reached(self) -> Breaker:
        """The peer answered."""
        return Breaker()

    def failed(self, policy: BreakerPolicy, *, now: int, jitter: float) -> Breaker:
        """One more contact failed."""
        failures = self.failures + 1
        if self.state is BreakerState.OPEN or (
            self.state is BreakerState.CLOSED and failures < policy.failures
        ):
            # Open: who says so had begun before it opened.
            return replace(self, failures=failures)
        probes = self.probes + 1
        return Breaker(
            state=BreakerState.OPEN,
            failures=failures,
            opened_at=now if self.opened_at is None else self.opened_at,
            probe_at=now + policy.wait_ms(probes, jitter),
            probes=probes,
        )
