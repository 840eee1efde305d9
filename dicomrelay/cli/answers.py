"""Answers of a query, as they come: a table for people, the DICOM JSON model or CSV for machines."""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections.abc import Sequence
from typing import Any, Final, Protocol

import click
from pydicom.dataset import Dataset
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dicomrelay.cli.csv_cells import cell
from dicomrelay.dimse.identifier_buffer import UTF_8
from dicomrelay.dimse.query_keys import Key
from dicomrelay.text import shown

_MAX_CELL: Final = 64
_HIDDEN: Final = frozenset({"QueryRetrieveLevel", "SpecificCharacterSet"})


class Writer(Protocol):
    """Takes answers one by one."""

    def write(self, answer: Dataset) -> None:
        """One more."""

    def close(self) -> None:
        """That was all."""


class TableWriter:
    """Rows with only the columns that any answer has something in; shown at the end, since widths are known then."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = [key for key in keys if key.name not in _HIDDEN]
        self._rows: list[list[str]] = []

    def write(self, answer: Dataset) -> None:
        self._rows.append([shown(value(answer, key))[: _MAX_CELL + 1] for key in self._keys])

    def close(self) -> None:
        if not self._rows:
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        used = [place for place in range(len(self._keys)) if any(row[place] for row in self._rows)]
        for place in used:
            name = self._keys[place].name.rpartition(".")[2]
            table.add_column(name, overflow="fold", no_wrap=name.endswith("UID"))
        for row in self._rows:
            cells = [row[place] for place in used]
            table.add_row(
                *(Text(cell if len(cell) <= _MAX_CELL else f"{cell[: _MAX_CELL - 1]}…") for cell in cells)
            )
        console = Console(highlight=False, markup=False)
        if not console.is_terminal:  # lines for grep: as wide as they are
            console.width = 10_000
        console.print(table)


class JsonWriter:
    """An array of objects of the DICOM JSON model (PS3.18 Annex F), each written when it comes."""

    def __init__(self) -> None:
        self._is_empty = True

    def write(self, answer: Dataset) -> None:
        click.echo("[" if self._is_empty else ",")
        click.echo(json.dumps(as_json(answer), indent=2), nl=False)
        self._is_empty = False

    def close(self) -> None:
        click.echo("[]" if self._is_empty else "\n]")


class CsvWriter:
    """One line an answer, one column a key; several values are parted by a backslash.

    The same bytes, UTF-8, to a terminal, a pipe and a file. What a peer says must not drive the one who looks: control
    characters are written as JSON writes them, and what a spreadsheet would compute has an apostrophe before it.
    """

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = [key for key in keys if key.name not in _HIDDEN]
        self._line([key.name for key in self._keys])

    def write(self, answer: Dataset) -> None:
        self._line([value(answer, key) for key in self._keys])

    def close(self) -> None:
        """Nothing is left."""

    @staticmethod
    def _line(cells: Sequence[str]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(map(cell, cells))
        # Bytes, and not text: of that click takes some away where there is no terminal.
        click.echo(line.getvalue().encode(), nl=False)


def value(answer: Dataset, key: Key) -> str:
    """The value of a key in an answer, "" where it has none."""
    holder = answer
    for step in key.path:
        if step.tag not in holder:
            return ""
        element = holder[step.tag]
        if step.index is None:
            return _text(element.value)
        if element.VR != "SQ" or step.index >= len(element.value):
            return ""
        holder = element.value[step.index]
    return ""


def as_json(answer: Dataset) -> dict[str, Any]:
    """The DICOM JSON model of an answer; an attribute whose value fits its VR in no way is without value.

    All of it is Unicode, and says so (PS3.18 Section F.2.2).
    """
    if "SpecificCharacterSet" in answer:
        answer.SpecificCharacterSet = UTF_8
    found: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote values
        for element in answer:
            try:
                found[f"{element.tag:08X}"] = element.to_json_dict(None, 0)
            except Exception:  # noqa: BLE001 - one odd value must not cost the others; pydicom raises what it likes
                found[f"{element.tag:08X}"] = {"vr": str(element.VR)}
    return found


def _text(content: Any) -> str:
    if content is None or isinstance(content, bytes):
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "" if any(isinstance(each, Dataset) for each in content) else "\\".join(map(str, content))
    return str(content)
