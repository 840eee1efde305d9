"""A table that is written as its rows come: widths are those of the first page, and of the terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click
from rich.cells import cell_len, set_cell_size

from dicomrelay.cli.archiving.columns import Column

_FIRST_PAGE: Final = 500
_GAP: Final = "  "
# A column that may shrink: so far while UIDs stay in the row, and so far in the end.
_COMFORTABLE, _LEAST = 16, 10
# No free text takes more of a table, in a pipe either: one name of 3000 characters would pad every row.
_WIDEST: Final = 64


def terminal_width() -> int | None:
    """How many cells a line of standard output has; None when it is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


class TableWriter:
    """Rows for people.

    Parameters
    ----------
    columns : sequence of Column
        The last one may be a UID, which gets a line of its own where it has no room.
    width : int, optional
        Cells of a line; None when lines may be as long as they are.
    """

    def __init__(self, columns: Sequence[Column], *, width: int | None) -> None:
        self._columns = list(columns)
        self._width = width
        self._page: list[list[str]] = []
        self._widths: list[int] | None = None
        self._below: int | None = None

    def write(self, row: Mapping[str, Any]) -> None:
        """One more row."""
        cells = [column.text(row) for column in self._columns]
        if self._widths is not None:
            self._line(cells)
            return
        self._page.append(cells)
        if len(self._page) == _FIRST_PAGE:
            self._begin()

    def close(self) -> None:
        """That was all."""
        if self._widths is None and self._page:
            self._leave_out_the_empty()
            self._begin()

    def _leave_out_the_empty(self) -> None:
        """Columns in which no row has anything; known only when every row is."""
        used = [place for place in range(len(self._columns)) if any(row[place] for row in self._page)]
        self._columns = [self._columns[place] for place in used]
        self._page = [[row[place] for place in used] for row in self._page]

    def _begin(self) -> None:
        natural = [
            max(cell_len(column.heading), *(cell_len(row[place]) for row in self._page))
            for place, column in enumerate(self._columns)
        ]
        natural = [
            min(width, _WIDEST) if self._columns[place].may_shrink else width
            for place, width in enumerate(natural)
        ]
        self._widths, self._below = self._lay_out(natural)
        heads = [self._fit(column.heading, place) for place, column in enumerate(self._columns)]
        click.echo(click.style(self._joined(heads), bold=True))
        if self._below is not None:
            click.echo(click.style(f"{_GAP}{self._columns[self._below].heading}", dim=True))
        for row in self._page:
            self._line(row)
        self._page = []

    def _lay_out(self, natural: list[int]) -> tuple[list[int], int | None]:
        if self._width is None or _total(natural) <= self._width:
            return natural, None
        shrunk = self._shrunk(natural, _COMFORTABLE, self._width)
        if _total(shrunk) <= self._width:
            return shrunk, None
        last = len(natural) - 1
        if self._columns and self._columns[last].vr == "UI":
            return [*self._shrunk(natural[:last], _LEAST, self._width), natural[last]], last
        return self._shrunk(natural, _LEAST, self._width), None

    def _shrunk(self, natural: Sequence[int], least: int, width: int) -> list[int]:
        """The widest of those that may shrink gives a cell, until it fits or all are at their least."""
        widths = list(natural)
        may = [place for place in range(len(widths)) if self._columns[place].may_shrink]
        while _total(widths) > width:
            place = max(may, key=lambda each: widths[each], default=None)
            if place is None or widths[place] <= least:
                break
            widths[place] -= 1
        return widths

    def _line(self, cells: Sequence[str]) -> None:
        click.echo(self._joined([self._fit(text, place) for place, text in enumerate(cells)]))
        if self._below is not None:
            click.echo(click.style(f"{_GAP}{cells[self._below]}", dim=True))

    def _joined(self, cells: Sequence[str]) -> str:
        return _GAP.join(text for place, text in enumerate(cells) if place != self._below).rstrip()

    def _fit(self, text: str, place: int) -> str:
        widths = self._widths
        width = widths[place] if widths is not None else 0
        length = cell_len(text)
        if length > width:
            column = self._columns[place]
            # In a pipe widths are only a matter of looks, but for the longest.
            most = width if self._width is not None else max(width, _WIDEST)
            may_cut = column.vr != "UI" and (self._width is not None or column.may_shrink)
            return f"{set_cell_size(text, most - 1)}…" if may_cut and length > most else text
        padding = " " * (width - length)
        return padding + text if self._columns[place].is_right else text + padding


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * max(0, len(widths) - 1)
