"""The performed procedure steps of a home, for commands that look at them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.runtime import home
from dicomrelay.scheduling.performed_steps import PerformedSteps
from dicomrelay.settings import Settings


@contextmanager
def opened_steps(settings: Settings) -> Iterator[PerformedSteps]:
    """Those of the ledger that is there; none is made.

    Raises
    ------
    ConfigurationError, ServiceUnavailable
        As `opened_ledger`.
    """
    with opened_ledger(settings):
        steps = PerformedSteps.open(home.ledger_url(settings))
        try:
            yield steps
        finally:
            steps.dispose()
