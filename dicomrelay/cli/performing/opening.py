"""The performed procedure steps of a home, for commands that look at them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.errors import InstanceNotFound
from dicomrelay.runtime import home
from dicomrelay.scheduling.performed_steps import PerformedSteps
from dicomrelay.scheduling.performed_values import StepRow
from dicomrelay.settings import Settings


def step_of(steps: PerformedSteps, uid: str) -> StepRow:
    """A step. Raises InstanceNotFound when there is none of that UID."""
    row = steps.step(uid)
    if row is None:
        raise InstanceNotFound(
            f"there is no performed procedure step {uid}: `dicomrelay mpps list` shows them"
        )
    return row


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
