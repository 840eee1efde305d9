"""How far long work is: a bar in a terminal, a line now and then otherwise. Both on standard error."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Final

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

_LINE_EVERY_S: Final = 2.0


class Progress:
    """One line that moves: what is done, how much of how many, and how long it will take.

    Parameters
    ----------
    what : str
        The work, in a word or two.
    total : int, optional
        Of how many; may come later.
    """

    def __init__(self, what: str, total: int | None = None) -> None:
        self._what = what
        self._total = total
        self._done = 0
        self._note = ""
        self._spoken_at = 0.0
        self._task: TaskID | None = None
        self._rich: RichProgress | None = None
        if sys.stderr.isatty():
            self._rich = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )

    def __enter__(self) -> Progress:
        if self._rich:
            self._rich.start()
            self._task = self._rich.add_task(self._what, total=self._total, note="")
        self._spoken_at = time.monotonic()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._rich:
            self._rich.stop()
        else:
            self._speak()

    def show(self, done: int, *, total: int | None = None, note: str = "") -> None:
        """Where it stands now."""
        self._done = done
        self._total = self._total if total is None else total
        self._note = note
        if self._rich and self._task is not None:
            self._rich.update(self._task, completed=done, total=self._total, note=note)
        elif time.monotonic() - self._spoken_at > _LINE_EVERY_S:
            self._speak()

    def _speak(self) -> None:
        self._spoken_at = time.monotonic()
        of = f" of {self._total}" if self._total is not None else ""
        note = f", {self._note}" if self._note else ""
        click.echo(f"{self._what}: {self._done}{of}{note}", err=True)


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
