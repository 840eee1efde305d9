"""What a fault came to, as values and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from chaos.oracle import Account


class Verdict(StrEnum):
    """Of a row."""

    KEPT = "kept"
    MISSED = "MISSED"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured.

    Attributes
    ----------
    bar : float or None
        The most it may be, with `at_least` the least; None when it is only told.
    """

    name: str
    value: float
    unit: str = ""
    bar: float | None = None
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether it keeps its bar."""
        if self.bar is None:
            return True
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    def __str__(self) -> str:
        text = f"{self.name} {self.value:.4g}{' ' if self.unit else ''}{self.unit}"
        if self.bar is None:
            return text
        return f"{text} ({'at least' if self.at_least else 'at most'} {self.bar:.4g}{'' if self.is_met else ': MISSED'})"


@dataclass(frozen=True, slots=True)
class Row:
    """A fault, its trials, and what came of them.

    Attributes
    ----------
    fault : str
        R3 and so on.
    trials : int
        How often it was done.
    account : Account or None
        None where no instance is sent, and for what was skipped.
    control : str
        What the control came to; empty for a fault without one.
    skipped : str
        Why it was not done; empty when it was.
    """

    fault: str
    title: str
    trials: int
    unit: str
    seed: int
    account: Account | None = None
    figures: tuple[Figure, ...] = ()
    control: str = ""
    control_found: bool = True
    note: str = ""
    skipped: str = ""
    seconds: float = 0.0
    date: str = ""
    revision: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether its bars were kept."""
        if self.skipped:
            return Verdict.SKIPPED
        clean = self.account is None or self.account.is_clean
        met = all(figure.is_met for figure in self.figures)
        return Verdict.KEPT if clean and met and self.control_found else Verdict.MISSED

    @property
    def bound(self) -> float | None:
        """With 95 % confidence the chance that a trial loses anything is under this: the rule of three.

        None where something was lost, and where nothing was counted.
        """
        if self.skipped or not self.trials or self.account is None or self.account.lost:
            return None
        return min(1.0, 3 / self.trials)


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` (0 to 1) of them do not exceed; nan of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def read(path: Path) -> dict[str, Row]:
    """Rows by fault; none when there is no file."""
    if not path.exists():
        return {}
    rows = (_row(each) for each in json.loads(path.read_text("utf-8"))["rows"])
    return {row.fault: row for row in rows}


def write(path: Path, rows: Mapping[str, Row]) -> None:
    """All rows, by number of the fault."""
    ordered = [asdict(rows[name]) for name in sorted(rows, key=order)]
    for figure in (figure for row in ordered for figure in row["figures"]):
        if not math.isfinite(figure["value"]):  # never came; JSON has no word for it
            figure["value"] = None
    path.write_text(json.dumps({"rows": ordered}, indent=1, allow_nan=False) + "\n", "utf-8")


def order(fault: str) -> tuple[int, str]:
    """R3 before R3-pool before R3b before R11."""
    number = fault.removeprefix("R").partition("-")[0].rstrip(ascii_lowercase)
    return int(number), fault.removeprefix(f"R{number}")


def _row(raw: Mapping[str, Any]) -> Row:
    figures = tuple(
        Figure(**{**each, "value": math.inf if each["value"] is None else each["value"]})
        for each in raw["figures"]
    )
    account = None if raw["account"] is None else Account(**raw["account"])
    return Row(**{**raw, "figures": figures, "account": account})
