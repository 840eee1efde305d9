"""What a process says of itself: `add`, `observe`, `level`. From any thread, and nothing until `begin` was called.

One for a process, as its log is. It never raises and never waits for a reader: a figure is not worth an image.
"""

from __future__ import annotations

import math
import os
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

from dicomrelay.metrics.cells import CellFile, Key
from dicomrelay.metrics.families import OTHER, Family, clean

# Of one family, in one process: more destinations than any house has, and a bound on what the wire can make us remember.
MOST_SERIES: Final = 256
Labels = TypeVar("Labels", bound=tuple[str, ...])


class Recorder:
    """The figures of this process.

    Parameters
    ----------
    folder : Path
        Of the home's cells; made when it is not there.
    service : str
        Who this is, for `dicomrelay_processes`.
    """

    def __init__(self, folder: Path, service: str) -> None:
        self._folder = folder
        self._service = clean(service).replace("/", "?").replace(".", "-")
        self._lock = threading.Lock()
        self._file: CellFile | None = None
        self._is_lost = False
        self._places: dict[Key, int] = {}
        self._series: Counter[str] = Counter()

    def add(self, family: Family, labels: tuple[str, ...], by: float) -> None:
        """To a counter or a gauge."""
        with self._lock:
            place = self._place(family, labels)
            if place is not None and self._file is not None:
                self._file.add(place, by)

    def set(self, family: Family, labels: tuple[str, ...], value: float) -> None:
        """A gauge."""
        with self._lock:
            place = self._place(family, labels)
            if place is not None and self._file is not None:
                self._file.set(place, value)

    def observe(self, family: Family, labels: tuple[str, ...], value: float) -> None:
        """A value in a histogram."""
        with self._lock:
            place = self._place(family, labels)
            if place is not None and self._file is not None:
                self._file.add(place + bisect_left(family.buckets, value), 1)
                self._file.add(place + len(family.buckets) + 1, value)

    def replace(self, family: Family, values: Mapping[Labels, float]) -> None:
        """All series of a gauge: what is not among them is gone."""
        with self._lock:
            cleaned = {(family.name, *map(clean, labels)) for labels in values}
            for key, place in self._places.items():
                if key[0] == family.name and key not in cleaned and self._file is not None:
                    self._file.set(place, math.nan)
        for labels, value in values.items():
            self.set(family, labels, value)

    def begin_file(self) -> None:
        """Show that this process is there, before it has a figure."""
        with self._lock:
            self._open()

    def close(self) -> None:
        """The process ends: what it counted stays in its file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file, self._is_lost = None, True

    def after_fork(self) -> None:
        """Drop what is the parent's. In the child, before it has threads."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self._lock = threading.Lock()
        self._places, self._series = {}, Counter()

    def _place(self, family: Family, labels: tuple[str, ...]) -> int | None:
        key = (family.name, *labels)
        place = self._places.get(key)
        return self._new_place(family, labels) if place is None else place

    def _new_place(self, family: Family, labels: tuple[str, ...]) -> int | None:
        if not self._open() or self._file is None:
            return None
        key: Key = (family.name, *map(clean, labels))
        if key not in self._places and self._series[family.name] >= MOST_SERIES:
            key = (family.name, *[OTHER] * len(labels))
        place = self._places.get(key)
        if place is None:
            place = self._file.place(key, family.width)
            if place is None:  # full, which the bound above makes a matter of many families
                return None
            self._places[key] = place
            self._series[family.name] += 1
        return place

    def _open(self) -> bool:
        if self._file is None and not self._is_lost:
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file = CellFile(self._folder, self._service)
            except OSError:  # a full or read-only disk: nothing is counted, and everything goes on
                self._is_lost = True
        return self._file is not None


_OWN: list[Recorder] = []


def begin(folder: Path, service: str) -> None:
    """Count from now on, in this process and its forks; at the composition root of a service."""
    end()
    _OWN.append(Recorder(folder, service))
    _OWN[0].begin_file()


def end() -> None:
    """Count no more."""
    while _OWN:
        _OWN.pop().close()


def add(family: Family, *labels: str, by: float = 1) -> None:
    """Add to a counter, or to a gauge."""
    if _OWN:
        _OWN[0].add(family, labels, by)


def observe(family: Family, value: float, *labels: str) -> None:
    """Put a value, such as seconds, into a histogram."""
    if _OWN:
        _OWN[0].observe(family, labels, value)


def level(family: Family, value: float, *labels: str) -> None:
    """Set a gauge."""
    if _OWN:
        _OWN[0].set(family, labels, value)


def levels(family: Family, values: Mapping[Labels, float]) -> None:
    """Set all series of a gauge, by the values of their labels: those that are not among them are shown no more."""
    if _OWN:
        _OWN[0].replace(family, values)


def _after_fork() -> None:
    if _OWN:
        _OWN[0].after_fork()


os.register_at_fork(after_in_child=_after_fork)
