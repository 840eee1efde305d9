"""Items in a table: a line with keywords, then one line an item. Pure."""

from __future__ import annotations

import csv
import io
from typing import Final

from dicomrelay.errors import ConfigurationError
from dicomrelay.scheduling.worklist_building import Stations, path_of, record_of
from dicomrelay.scheduling.worklist_change import Record, UnreadableFile
from dicomrelay.scheduling.worklist_item import Fault

_DELIMITERS: Final = ",;\t"
_MOST_COLUMNS: Final = 256


def records(text: str, stations: Stations) -> list[Record]:
    """What each line asks. Parted by comma, semicolon or tab, whichever the first line has most of.

    Raises
    ------
    UnreadableFile
        There is no first line, or it names what is no attribute, or one twice; or a quote is not closed.
    """
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [each.strip() for each in next(reader, [])]
        _check(header)
        return [
            _record(f"line {reader.line_num}", header, row, stations)
            for row in reader
            if any(each.strip() for each in row)
        ]
    except csv.Error as error:
        raise UnreadableFile(f"line {reader.line_num}: no CSV: {error}") from None


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
