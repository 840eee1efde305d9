"""Rows of the index as they come: a table or text for people, JSON or CSV for machines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import click

from archive.attributes import Level
from dicomrelay.cli.archiving.columns import all_columns, plain, shown_columns
from dicomrelay.cli.archiving.table import TableWriter, terminal_width
from dicomrelay.cli.csv_cells import cell


class Writer(Protocol):
    """Takes rows one by one."""

    def write(self, row: Mapping[str, Any]) -> None:
        """One more."""

    def close(self) -> None:
        """That was all."""


class TextWriter:
    """A paragraph a row, a line a value."""

    def __init__(self, level: Level) -> None:
        self._columns = shown_columns(level, above=True)
        self._label = max(len(column.label) for column in self._columns) + 1
        self._is_first = True

    def write(self, row: Mapping[str, Any]) -> None:
        if not self._is_first:
            click.echo()
        self._is_first = False
        for column in self._columns:
            if text := column.text(row):
                click.echo(f"{f'{column.label}:':<{self._label}} {text}")

    def close(self) -> None:
        """Nothing is left."""


class JsonWriter:
    """An array of objects, each written when it comes; members are named by the keywords of the standard."""

    def __init__(self, level: Level) -> None:
        self._columns = all_columns(level)
        self._is_empty = True

    def write(self, row: Mapping[str, Any]) -> None:
        click.echo("[" if self._is_empty else ",")
        self._is_empty = False
        found = {column.keyword: column.value(row) for column in self._columns}
        click.echo(
            json.dumps({key: value for key, value in found.items() if value is not None}, indent=2), nl=False
        )

    def close(self) -> None:
        click.echo("[]" if self._is_empty else "\n]")


class CsvWriter:
    """One line a row; several values are parted by a backslash. UTF-8, the same bytes everywhere."""

    def __init__(self, level: Level) -> None:
        self._columns = all_columns(level)
        self._line([column.keyword for column in self._columns])

    def write(self, row: Mapping[str, Any]) -> None:
        self._line([cell(plain(column.value(row))) for column in self._columns])

    def close(self) -> None:
        """Nothing is left."""

    @staticmethod
    def _line(cells: list[str]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(cells)
        click.echo(line.getvalue().encode(), nl=False)


def _table(level: Level) -> Writer:
    return TableWriter(shown_columns(level, above=False), width=terminal_width())


WRITERS: Final[Mapping[str, Callable[[Level], Writer]]] = {
    "table": _table,
    "json": JsonWriter,
    "text": TextWriter,
    "csv": CsvWriter,
}
