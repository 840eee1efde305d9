"""What `sop-classes` and `transfer-syntaxes` share: choosing rows by words, and showing them by category."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dicomrelay.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Row:
    """One entry of a registry, as it is shown.

    Attributes
    ----------
    category : str
        What `--category` takes.
    title : str
        The heading of the category.
    marks : str
        What else is to be said, such as "retired".
    """

    uid: str
    name: str
    category: str
    title: str
    retired: bool
    marks: str = ""


def choose(
    rows: Sequence[Row],
    words: Sequence[str],
    *,
    categories: Sequence[str],
    known: Sequence[str],
    retired: bool | None,
) -> list[Row]:
    """The rows that are meant.

    Parameters
    ----------
    words : sequence of str
        Every one must fit: a whole UID or its last numbers, or the beginning of a word of the name in any case.
        Empty: all.
    categories, known : sequence of str
        Those that are asked for, and those that there are.
    retired : bool, optional
        Only the retired ones, or only the others; None for both.

    Raises
    ------
    ConfigurationError
        There is no such category.
    """
    for category in categories:
        if category not in known:
            raise ConfigurationError(f"there is no category {category!r}; known: {', '.join(known)}")
    return [
        row
        for row in rows
        if (not categories or row.category in categories)
        and (retired is None or row.retired is retired)
        and all(_fits(row, word) for word in words)
    ]


def _fits(row: Row, word: str) -> bool:
    if word.replace(".", "").isdigit() and "." in word:
        return row.uid == word or row.uid.endswith(f".{word}")
    return re.search(rf"(?<![a-z0-9]){re.escape(word)}", row.name, re.IGNORECASE) is not None


def show(rows: Sequence[Row], order: Iterable[str]) -> None:
    """The rows on standard output, by category: folded to the terminal, a line each when piped."""
    width = max((len(row.uid) for row in rows), default=0)
    console = Console(highlight=False) if sys.stdout.isatty() else None
    for category in order:
        chosen = [row for row in rows if row.category == category]
        if chosen and console:
            _show_table(console, chosen, width)
        elif chosen:
            click.echo(_heading(chosen))
            for row in chosen:
                click.echo(f"  {row.uid:<{width}}  {_words(row)}")


def _heading(rows: Sequence[Row]) -> str:
    return f"{rows[0].title} ({rows[0].category}, {len(rows)})"


def _words(row: Row) -> str:
    return f"{row.name}  ({row.marks})" if row.marks else row.name


def _show_table(console: Console, rows: Sequence[Row], width: int) -> None:
    console.print(Text(_heading(rows), style="bold"))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, min_width=width + 2)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(f"  {row.uid}", Text(_words(row)))
    console.print(table)
