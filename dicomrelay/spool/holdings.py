"""What the spool holds, by source, counted without a database (docs/design/retention.md).

A process counts what it commits itself; a thread lists the names in the spool again and again, forgets what is gone and
reads the records of what is new. Every listing begins from what is on the disk, so no error adds up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dicomrelay.errors import SpoolCorrupt, SpoolError
from dicomrelay.log import get_logger
from dicomrelay.spool.items import item_names, read_item
from dicomrelay.spool.layout import Layout
from dicomrelay.spool.records import Provenance, SpoolRecord

_log = get_logger("dicomrelay.spool")
_REST: Final = 20.0
_REST_AT_LEAST_S: Final = 1.0


class Holdings:
    """Bytes in `new/`, `kept/` and `aside/`. Safe for many threads; each process has its own.

    Parameters
    ----------
    root : Path
        The spool.
    source_of : callable
        Whose an item is, as a small number of the caller's.
    """

    def __init__(self, root: Path, source_of: Callable[[Provenance], int]) -> None:
        self._layout = Layout(root)
        self._source_of = source_of
        self._lock = threading.Lock()
        self._items: dict[int, dict[str, int]] = {}  # source -> id -> bytes
        self._sums: dict[int, int] = {}
        self._since_look: set[str] = set()
        self._shown: dict[int, tuple[int, int]] = {}

    def add(self, record: SpoolRecord) -> None:
        """An item was committed; counted once, whoever says so."""
        source = self._source_of(record.provenance)
        with self._lock:
            self._since_look.add(record.id)
            self._count(source, record.id, _size(record))

    def _count(self, source: int, item_id: str, size: int) -> None:
        items = self._items.setdefault(source, {})
        if item_id not in items:
            items[item_id] = size
            self._sums[source] = self._sums.get(source, 0) + size

    def of(self, source: int) -> int:
        """Bytes of one source."""
        return self._sums.get(source, 0)

    def total(self) -> int:
        """Bytes of all."""
        with self._lock:
            return sum(self._sums.values())

    def by_source(self) -> dict[int, tuple[int, int]]:
        """Items and bytes of each source."""
        with self._lock:
            return {
                source: (len(items), self._sums[source]) for source, items in self._items.items() if items
            }

    def look(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """List the spool once, and count what that shows; whether anything is other than at the last look.

        Parameters
        ----------
        stop : callable
            Asked before each record that is read; True leaves the rest to another look.

        Raises
        ------
        SpoolError
            A directory cannot be listed; what was counted stands.
        """
        with self._lock:
            self._since_look = set()
            known = set().union(*self._items.values())
        # Buckets last: what is settled meanwhile is found where it went. Items that are written have no name yet.
        folders = [self._layout.new, self._layout.aside]
        listed = {name.partition(".")[0]: folder for folder in folders for name in item_names(folder)}
        for bucket in self._layout.kept.iterdir():
            listed.update((name.partition(".")[0], bucket) for name in item_names(bucket))
        gone = known.difference(listed)
        self._forget(gone)
        for item_id in listed.keys() - known:
            if stop():
                break
            self._read(listed[item_id], item_id)
        before, self._shown = self._shown, self.by_source()
        return before != self._shown

    def _forget(self, gone: set[str]) -> None:
        with self._lock:
            # What was committed during the listing may have come after its folder was read.
            gone -= self._since_look
            for source, items in self._items.items():
                for item_id in gone.intersection(items):
                    self._sums[source] -= items.pop(item_id)

    def _read(self, folder: Path, item_id: str) -> None:
        for suffix in (".dcm", ".json"):
            try:
                record = read_item(folder / (item_id + suffix))
            except FileNotFoundError:
                continue  # it has gone on: the next listing finds it there
            except (SpoolCorrupt, SpoolError):
                return  # whoever registers it says so
            with self._lock:
                self._count(self._source_of(record.provenance), record.id, _size(record))
            return

    def watch(self, stop: threading.Event, changed: Callable[[], None]) -> None:
        """Look again and again until `stop` is set, resting far longer than looking; for a thread of its own."""
        while not stop.is_set():
            began = time.monotonic()
            try:
                if self.look(stop.is_set):
                    changed()
            except (SpoolError, OSError) as error:
                _log.warning(
                    "cannot count what the spool holds", action="spool.not-counted", reason=str(error)
                )
            stop.wait(max(_REST_AT_LEAST_S, _REST * (time.monotonic() - began)))


def _size(record: SpoolRecord) -> int:
    return 0 if record.source_path else record.data_set_offset + record.data_set_bytes
