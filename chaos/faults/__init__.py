"""One fault, or one family of them, a file; each does its trials and says what they came to."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaos.figures import Figure
from chaos.oracle import Account


@dataclass(frozen=True, slots=True)
class Run:
    """What a fault is asked to do.

    Attributes
    ----------
    folder : Path
        Empty, and its own.
    outage_s : float
        How long something is away, where a fault is an outage.
    say : callable
        Takes a line for people.
    """

    trials: int
    seed: int
    folder: Path
    outage_s: float = 60.0
    say: Callable[[str], None] = print

    @property
    def chance(self) -> random.Random:
        """Of the seed: made anew at each call."""
        return random.Random(self.seed)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What it came to; the fields are those of `figures.Row`.

    Attributes
    ----------
    trials : int
        How many were done, where that is not what was asked for; 0 when it is.
    """

    account: Account | None = None
    figures: tuple[Figure, ...] = ()
    control: str = ""
    control_found: bool = True
    note: str = ""
    trials: int = 0


def _nothing_missing() -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the scorecard.

    Attributes
    ----------
    name : str
        R3 and so on, with a word behind it for one of several.
    unit : str
        What a trial is.
    trials : int
        How many, unless told otherwise.
    missing : callable
        Why it cannot be done here; "" when it can.
    """

    name: str
    title: str
    unit: str
    trials: int
    run: Callable[[Run], Outcome]
    missing: Callable[[], str] = _nothing_missing
