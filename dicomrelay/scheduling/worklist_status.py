"""Where a scheduled procedure step stands, and what performed steps make of it (docs/design/worklist.md). Pure."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Final


class StepStatus(StrEnum):
    """Scheduled Procedure Step Status (0040,0020): the terms of PS3.3 Section C.4.10, and how a step ends."""

    SCHEDULED = "SCHEDULED"
    ARRIVED = "ARRIVED"
    READY = "READY"
    STARTED = "STARTED"
    DEPARTED = "DEPARTED"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


class PerformedState(StrEnum):
    """Performed Procedure Step Status (0040,0252) of an MPPS."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


# The step is over: its item goes some day.
ENDED: Final = frozenset({StepStatus.DEPARTED, StepStatus.COMPLETED, StepStatus.DISCONTINUED})


def status_of(text: str) -> StepStatus | None:
    """The status that a text is, None for none; DICOM has upper case, and people have not."""
    try:
        return StepStatus(text.strip().upper())
    except ValueError:
        return None


def status_by(performed: Collection[PerformedState]) -> StepStatus | None:
    """What performed steps make of their scheduled step; None when there are none."""
    if not performed:
        return None
    if PerformedState.IN_PROGRESS in performed:
        return StepStatus.STARTED
    return StepStatus.COMPLETED if PerformedState.COMPLETED in performed else StepStatus.DISCONTINUED
