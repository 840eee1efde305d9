"""The values of a benchmark: rows of figures, the bars that were put to them, and their JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Place(StrEnum):
    """Where the files of a run lie."""

    DISK = "disk"
    MEMORY = "memory"


class Verdict(StrEnum):
    """What a bar said."""

    HELD = "held"
    HELD_WITH_WINDOW = "held with a window only"
    MISSED = "missed"


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one contestant.

    Attributes
    ----------
    values : tuple of float
        One a round, in `unit`.
    unit : str
        "s" for seconds, where less is better; "MiB"; or a rate such as "headers/s", where more is better.
    amount : float
        For seconds: how many things of `thing` were done in them; 0 when a rate says nothing.
    """

    name: str
    values: tuple[float, ...]
    unit: str = "s"
    amount: float = 0
    thing: str = "instances"
    note: str = ""

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def rate(self) -> float:
        """Things a second, by the median."""
        return self.amount / self.median

    def times_as_fast_as(self, other: Row) -> float:
        """By the rates where both have one, else by the seconds or by the values as they stand."""
        if self.unit == "s":
            return self.rate / other.rate if self.amount and other.amount else other.median / self.median
        return self.median / other.median


@dataclass(frozen=True, slots=True)
class Measured:
    """What one row came to beside a bar."""

    row: str
    value: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One sentence of what we ask, and what was found.

    Attributes
    ----------
    asked : str
        In words.
    at_least, at_most : float or None
        One of them.
    measured : tuple of Measured
        The first is the row that the bar is put to; others are the same with a window of asynchronous operations.
    """

    asked: str
    measured: tuple[Measured, ...]
    at_least: float | None = None
    at_most: float | None = None
    unit: str = "×"

    @property
    def limit(self) -> float:
        """The number that was asked."""
        return self.at_least if self.at_least is not None else self.at_most or 0.0

    @property
    def verdict(self) -> Verdict:
        """Whether the row held it."""
        held = [self._holds(each.value) for each in self.measured]
        if held and held[0]:
            return Verdict.HELD
        return Verdict.HELD_WITH_WINDOW if any(held) else Verdict.MISSED

    def _holds(self, value: float) -> bool:
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is not None and value <= self.at_most


@dataclass(frozen=True, slots=True)
class Section:
    """One contest of one question: a table of rows, and bars.

    Attributes
    ----------
    question : str
        The module of `benchmarks/questions/`.
    load : str
        "ct", "small", "big", or what else was moved.
    reference : str
        The row that ratios are taken to; "" when there are none.
    """

    question: str
    title: str
    load: str
    place: Place
    rows: tuple[Row, ...]
    reference: str = ""
    bars: tuple[Bar, ...] = ()
    notes: tuple[str, ...] = ()

    def row(self, name: str) -> Row | None:
        """The row of that name."""
        return next((row for row in self.rows if row.name == name), None)


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run.

    Attributes
    ----------
    machine : mapping of str to str
        Where and when, in words.
    options : mapping
        What was asked for on the command line.
    """

    machine: Mapping[str, str]
    options: Mapping[str, Any]
    sections: list[Section] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """As JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_document(self), indent=1, ensure_ascii=False) + "\n", "utf-8")

    @classmethod
    def read(cls, path: Path) -> Report:
        """From the JSON that `write` made.

        Raises
        ------
        KeyError, TypeError, ValueError
            It is no such file.
        """
        document = json.loads(path.read_text("utf-8"))
        sections = [_section(each) for each in document["sections"]]
        return cls(document["machine"], document["options"], sections)


def ratio_bar(
    rows: Sequence[Row], asked: str, names: Iterable[str], against: str, at_least: float
) -> tuple[Bar, ...]:
    """A bar on how much faster some rows are than another; none when a row is missing (`--only-ours`)."""
    by_name = {row.name: row for row in rows}
    found = [by_name[name] for name in names if name in by_name]
    if not found or against not in by_name:
        return ()
    measured = tuple(Measured(row.name, row.times_as_fast_as(by_name[against])) for row in found)
    return (Bar(asked, measured, at_least=at_least),)


def _document(report: Report) -> dict[str, Any]:
    document = asdict(report)
    for section, values in zip(report.sections, document["sections"], strict=True):
        for row, written in zip(section.rows, values["rows"], strict=True):
            written["median"] = row.median
        for bar, written in zip(section.bars, values["bars"], strict=True):
            written["verdict"] = bar.verdict
    return document


def _section(document: Mapping[str, Any]) -> Section:
    return Section(
        question=document["question"],
        title=document["title"],
        load=document["load"],
        place=Place(document["place"]),
        rows=tuple(_row(each) for each in document["rows"]),
        reference=document["reference"],
        bars=tuple(_bar(each) for each in document["bars"]),
        notes=tuple(document["notes"]),
    )


def _row(document: Mapping[str, Any]) -> Row:
    values = {name: value for name, value in document.items() if name not in ("median", "values")}
    return Row(values=tuple(document["values"]), **values)


def _bar(document: Mapping[str, Any]) -> Bar:
    values = {name: value for name, value in document.items() if name not in ("verdict", "measured")}
    return Bar(measured=tuple(Measured(**each) for each in document["measured"]), **values)
