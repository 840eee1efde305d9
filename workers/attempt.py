"""One attempt at a transfer: why it ended, what that says of the destination, and when the next is made. No I/O."""

from __future__ import annotations

import random
import traceback
from dataclasses import dataclass
from pathlib import Path

from dicomrelay.dicom.status import Outcome
from dicomrelay.errors import (
    AssociationAborted,
    AssociationError,
    AssociationRejected,
    ConfigurationError,
    HttpRefused,
    NoAcceptedContext,
    RelayError,
)
from dicomrelay.ledger.breaker import Contact
from dicomrelay.ledger.values import ClaimedTransfer
from dicomrelay.net.outcomes import judge
from dicomrelay.routing import RetryPolicy

# A-ASSOCIATE-RJ, result (PS3.8 Table 9-21)
_REJECTED_TRANSIENT = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an attempt ended.

    Attributes
    ----------
    reason : str
    advice : str
        What somebody has to do first, "" when time may mend it.
    contact : Contact
        What it says of the destination, when the destination answered nothing.
    not_before_s : float
        How long it asked to be left alone, in seconds.
    """

    reason: str
    advice: str = ""
    contact: Contact = Contact.NONE
    not_before_s: float = 0.0


def problem_of(error: Exception) -> Problem:
    """By the one table (docs/design/outcomes.md); what is in no row is a fault of our own."""
    if isinstance(error, ConnectionError):  # the peer's end, wherever it came to light
        error = AssociationAborted(f"the connection was lost ({type(error).__name__})")
    if isinstance(error, OSError):  # its text may name a file, and a file a patient
        return Problem(judge(error).name)
    if not isinstance(error, RelayError):
        at = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(at.filename).name}:{at.lineno}"
        error = RelayError(f"a fault on our side: {type(error).__name__} in {where}")
    verdict = judge(error)
    advice = verdict.advice if verdict.outcome is Outcome.REFUSED else ""
    not_before_s = error.retry_after_s if isinstance(error, HttpRefused) else 0.0
    return Problem(str(error), advice, _contact_of(error), not_before_s)


def _contact_of(error: RelayError) -> Contact:
    """What an error says of the destination."""
    if isinstance(error, NoAcceptedContext):
        return Contact.REACHED
    if isinstance(error, AssociationRejected) and error.result == _REJECTED_TRANSIENT:
        return Contact.TURNED_AWAY
    if isinstance(error, HttpRefused):
        return _contact_over_the_web(error.status)
    if isinstance(error, AssociationError | ConfigurationError):
        return Contact.FAILED
    return Contact.NONE


def _contact_over_the_web(status: int) -> Contact:
    """Who is busy turns away; who has a fault, or shuts us out, is left alone; who takes no such thing is there."""
    if status in (429, 503):
        return Contact.TURNED_AWAY
    is_out = status in (401, 403, 407, 408) or (status >= 500 and status != 501)
    return Contact.FAILED if is_out else Contact.REACHED


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a transfer, and what its schedule says of the next."""

    claimed: ClaimedTransfer
    retry: RetryPolicy

    @property
    def is_beyond_the_last(self) -> bool:
        """Whether so many runners began it that it must be it that kills them."""
        return self.claimed.attempt > self.retry.attempts

    def retry_in_ms(self, problem: Problem | None, *, delivered: int) -> int | None:
        """When to try again; None when a person has to look."""
        if self.claimed.attempt >= self.retry.attempts:
            return None
        if problem is not None and problem.advice:
            # What an administrator has to mend, there or here: no hurry, and no end either.
            return round(self.retry.maximum_s * 1000)
        # What moved forward starts the schedule anew.
        attempt = 1 if delivered else self.claimed.attempt
        delay_s = self.retry.delay_s(attempt, jitter=random.random())  # noqa: S311 - spreads load, keeps no secret
        if delay_s is None:
            return None
        return round(1000 * max(delay_s, problem.not_before_s if problem is not None else 0.0))
