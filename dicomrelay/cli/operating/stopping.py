"""What keeps work back that is ready: a destination that is held, does not answer, or is outside of its time windows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from dicomrelay.ledger import Ledger
from dicomrelay.ledger.values import TransferState
from dicomrelay.ledger.values_operations import JobRow, StoppedDestination
from dicomrelay.routing import closed
from dicomrelay.settings import Settings


@dataclass(frozen=True, slots=True)
class Stopper:
    """Why nothing is sent to a destination now, and what does something about it."""

    words: str
    step: str


def stoppers(ledger: Ledger, settings: Settings) -> dict[str, Stopper]:
    """By the name of the destination; a hold before the rest, for nothing else ends it."""
    found = {name: _outside(name) for name in outside_now(settings)}
    found.update((each.name, stopper_of(each)) for each in ledger.operations.stopped())
    return found


def outside_now(settings: Settings) -> frozenset[str]:
    """The destinations that are outside of their time windows, by the clock on this host's wall."""
    now = time.localtime()
    return closed(settings.destinations, now.tm_hour * 60 + now.tm_min)


def stopper_of(each: StoppedDestination) -> Stopper:
    """Of one that the ledger keeps back."""
    if each.held_for_ms is not None:
        return Stopper(
            f"{each.name} is held: nothing is sent to it",
            f"`dicomrelay destinations release {each.name}` lets it go on",
        )
    when = "asked again in " + _seconds(each.probe_in_ms) if each.probe_in_ms else "asked again now"
    return Stopper(
        f"{each.name} does not answer, {when}: {each.last_error or 'no reason given'}",
        f"`dicomrelay echo {each.name}` asks the destination now; it goes on by itself when that answers",
    )


def _outside(name: str) -> Stopper:
    return Stopper(
        f"{name} is outside of its time windows", f"it goes on by itself when the window of {name} opens"
    )


def stopped_of(row: JobRow, known: Mapping[str, Stopper]) -> list[Stopper]:
    """What keeps something of a job back that is ready or waits."""
    return [known[name] for name in row.moving if name in known]


def nothing_moves(row: JobRow, known: Mapping[str, Stopper]) -> bool:
    """Whether each destination that something of a job waits for is stopped, and nothing of it runs."""
    return (
        bool(row.moving) and not row.transfers.get(TransferState.RUNNING) and known.keys() >= set(row.moving)
    )


def _seconds(milliseconds: int) -> str:
    return f"{max(1, round(milliseconds / 1000))} s"
