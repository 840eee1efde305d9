"""How far long work is: a bar in a terminal, a line now and then otherwise. Both on standard error."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from dicomrelay.text import size

_LINE_EVERY_S: Final = 2.0
# The rate is that of so long, so that it follows a peer that becomes slow.
_RATE_OVER_S: Final = 10.0
_SAMPLE_EVERY_S: Final = 0.25


class Rate:
    """Things and bytes a second over the last few seconds.

    Parameters
    ----------
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, int, int]] = deque([(clock(), 0, 0)])

    def update(self, done: int, data_bytes: int) -> None:
        """So many are done now, with so many bytes."""
        now = self._clock()
        if len(self._samples) > 1 and now - self._samples[-2][0] < _SAMPLE_EVERY_S:
            self._samples.pop()
        self._samples.append((now, done, data_bytes))
        while len(self._samples) > 2 and self._samples[1][0] < now - _RATE_OVER_S:
            self._samples.popleft()

    @property
    def per_second(self) -> tuple[float, float]:
        """Things and bytes a second; 0 where nothing is known."""
        (since, done, data_bytes), (_, done_now, bytes_now) = self._samples[0], self._samples[-1]
        seconds = self._clock() - since
        if seconds <= 0 or len(self._samples) < 2:
            return 0.0, 0.0
        return (done_now - done) / seconds, (bytes_now - data_bytes) / seconds

    def words(self, left: int | None = None) -> str:
        """Such as "312/s, 45.1 MB/s, 0:08 left"; "" while nothing has happened."""
        things, data_bytes = self.per_second
        if not things:
            return ""
        parts = [f"{things:.0f}/s" if things >= 10 else f"{things:.1f}/s"]
        if data_bytes:
            parts.append(f"{size(data_bytes)}/s")
        if left:
            parts.append(f"{duration(left / things)} left")
        return ", ".join(parts)


class Progress:
    """One line that moves: what is done, how much of how many, how fast, and how long it will take.

    Parameters
    ----------
    what : str
        The work, in a word or two.
    total : int, optional
        Of how many; may come later.
    line_every_s : float
        Where there is no terminal: how long between two lines.
    """

    def __init__(self, what: str, total: int | None = None, *, line_every_s: float = _LINE_EVERY_S) -> None:
        self._what = what
        self._total = total
        self._line_every_s = line_every_s
        self._done = 0
        self._note = ""
        self._spoken_at = 0.0
        self._spoken = ""
        self._rate = Rate()
        self._task: TaskID | None = None
        self._rich: RichProgress | None = None
        if sys.stderr.isatty():
            self._rich = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=16),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                refresh_per_second=5,
            )

    def __enter__(self) -> Progress:
        if self._rich:
            self._rich.start()
            self._task = self._rich.add_task(self._what, total=self._total, note="", rate="")
        self._spoken_at = time.monotonic()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._rich and self._task is not None:
            self._rich.update(self._task, rate="")
            self._rich.stop()
        else:
            self._speak(ends=True)

    def show(self, done: int, *, total: int | None = None, data_bytes: int = 0, note: str = "") -> None:
        """Where it stands now."""
        self._done = done
        self._total = self._total if total is None else total
        self._note = note
        self._rate.update(done, data_bytes)
        if self._rich and self._task is not None:
            self._rich.update(
                self._task, completed=done, total=self._total, note=note, rate=self._rate.words(self._left)
            )
        elif time.monotonic() - self._spoken_at > self._line_every_s:
            self._speak()

    @property
    def _left(self) -> int | None:
        return None if self._total is None else self._total - self._done

    def _speak(self, *, ends: bool = False) -> None:
        self._spoken_at = time.monotonic()
        of = f" of {self._total}" if self._total is not None else ""
        rate = "" if ends else self._rate.words(self._left)
        line = ", ".join(filter(None, (f"{self._what}: {self._done}{of}", rate, self._note)))
        if line != self._spoken:
            self._spoken = line
            click.echo(line, err=True)


def duration(seconds: float) -> str:
    """Time for people: 0:08, 12:30, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
