"""Items in a table: a line with keywords, then one line an item. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Final, Protocol

from dicomrelay.errors import ConfigurationError
from dicomrelay.scheduling.worklist_building import Stations, path_of, record_of
from dicomrelay.scheduling.worklist_change import Record, UnreadableFile, bounded, told_apart
from dicomrelay.scheduling.worklist_item import Fault

_DELIMITERS: Final = ",;\t"
_MOST_COLUMNS: Final = 256


class _Reader(Protocol):
    """What `csv.reader` makes."""

    line_num: int

    def __next__(self) -> list[str]:
        """The next row."""


def records(text: str, stations: Stations) -> list[Record]:
    """What each line asks. Parted by comma, semicolon or tab, whichever the first line has most of.

    Raises
    ------
    UnreadableFile
        There is no first line, or it names what is no attribute, or one twice; or there are too many lines.
    """
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [each.strip() for each in next(reader, [])]
    except csv.Error as error:
        raise UnreadableFile(f"line 1: no CSV: {error}") from None
    _check(header)
    return bounded(told_apart(_lines(reader, header, stations)))


def _lines(reader: _Reader, header: list[str], stations: Stations) -> Iterator[Record]:
    """Those behind the first; from one with a quote that is not closed on there are none."""
    while True:
        begins = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Record(
                f"line {begins}", faults=(Fault("", f"no CSV: {error}; nothing behind it was read"),)
            )
            return
        if any(each.strip() for each in row):
            yield _record(f"line {reader.line_num}", header, row, stations)


def _check(header: list[str]) -> None:
    if not any(header):
        raise UnreadableFile("line 1: no names of attributes, such as PatientID")
    if len(header) > _MOST_COLUMNS:
        raise UnreadableFile(f"line 1: more than {_MOST_COLUMNS} columns")
    seen: set[str] = set()
    for number, name in enumerate(header, 1):
        try:
            path = path_of(name)
        except ConfigurationError:
            raise UnreadableFile(
                f"line 1: column {number} is no keyword of the data dictionary, such as PatientID, and no tag"
            ) from None
        if path in seen:
            raise UnreadableFile(f"line 1: {name} stands twice")
        seen.add(path)


def _record(where: str, header: list[str], row: list[str], stations: Stations) -> Record:
    if len(row) > len(header):
        return Record(where, faults=(Fault("", f"{len(row)} values for {len(header)} columns"),))
    return record_of(where, zip(header, row, strict=False), stations)
