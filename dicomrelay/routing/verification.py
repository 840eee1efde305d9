"""How a destination is asked, after sending, whether it has what it answered for (docs/design/verification.md)."""

from __future__ import annotations

from dataclasses import dataclass

from dicomrelay.settings import DestinationSettings, VerificationMethod


@dataclass(frozen=True, slots=True)
class VerificationPolicy:
    """The settings of a destination that are about this; times in seconds.

    Attributes
    ----------
    wait_s : float
        How long an association stays open for a report on it.
    report_s : float
        Time for a report on whatever association.
    attempts : int
        Answers in a row that settle nothing, 1 or more, before somebody has to look.
    resends : int
        How often what is missing is sent again.
    """

    method: VerificationMethod = VerificationMethod.NONE
    wait_s: float = 5.0
    report_s: float = 3600.0
    attempts: int = 5
    resends: int = 2

    @classmethod
    def of(cls, settings: DestinationSettings) -> VerificationPolicy:
        """What the settings say."""
        return cls(
            settings.verification,
            settings.verification_wait_s,
            settings.verification_report_s,
            settings.verification_attempts,
            settings.verification_resends,
        )
