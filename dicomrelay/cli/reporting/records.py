"""A report as a sequence of records, the same for every format. No I/O.

Order: one `report`, then `summary`, `chain`, `delivery`, `evidence`, and one `end`. What people read first comes first, and
what it rests on comes last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol, TextIO

from dicomrelay.cli.reporting.deliveries import Deliveries
from dicomrelay.cli.reporting.summary import summarise

NAME: Final = "dicomrelay report"
VERSION: Final = 1


class RecordKind(StrEnum):
    """What a record is; the order in which they stand."""

    REPORT = "report"
    SUMMARY = "summary"
    CHAIN = "chain"
    DELIVERY = "delivery"
    EVIDENCE = "evidence"
    END = "end"


@dataclass(frozen=True, slots=True)
class Record:
    """One record: an object of whole numbers, texts, null, and objects of those."""

    kind: RecordKind
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """A record as it is hashed and written."""

    kind: RecordKind
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """A record as it was found in a file.

    Parameters
    ----------
    place : str
        Where it stands, for people.
    text : str
        All of it that can differ, as `Format.text` gives it of a record that was not touched.
    body : dict, optional
        None where the format keeps only what people read of it; then it is made anew of the evidence, and compared.
    wrong : str
        What is wrong with it by itself, in words.
    """

    kind: RecordKind
    place: str
    text: str
    body: dict[str, Any] | None
    wrong: str = ""


class Format(Protocol):
    """A kind of file that holds a report."""

    def text(self, record: Record) -> str:
        """What is hashed of a record: all that the file says of it."""

    def write(self, lines: Iterable[Line], file: TextIO) -> None:
        """Write them, as they come."""

    def read(self, file: TextIO) -> Iterator[Found]:
        """The records of a file, with those that were changed.

        Raises
        ------
        ValueError
            It is no such file, or so damaged that what follows cannot be told apart.
        """


class ReportHash:
    """SHA-256 over the texts of one record after the other, each with its kind before it and a line feed behind."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.records = 0

    def add(self, kind: RecordKind, text: str) -> None:
        """One more."""
        self._sha256.update(f"{kind.value} {text}\n".encode("utf-8", "backslashreplace"))
        self.records += 1

    def end(self) -> Record:
        """The record that closes a report of those that were added."""
        return Record(RecordKind.END, {"records": self.records, "hash": self._sha256.hexdigest()})


def derived(deliveries: Deliveries) -> tuple[list[Record], Iterator[Record]]:
    """The summary, and the deliveries, that evidence gives."""
    summaries = [Record(RecordKind.SUMMARY, body) for body in summarise(deliveries.in_order())]
    return summaries, (Record(RecordKind.DELIVERY, each.as_json()) for each in deliveries.in_order())


def closed(records: Iterable[Record], text: Callable[[Record], str], *, total: ReportHash) -> Iterator[Line]:
    """The records, and the one that closes them."""
    for record in records:
        line = Line(record.kind, text(record))
        total.add(line.kind, line.text)
        yield line
    yield Line(RecordKind.END, text(total.end()))
