"""Holds the spool against the ledger, once at every start.

What the ledger does not know is registered: that is how a lost database is rebuilt. What it has marked as released is
removed: a crash left it behind.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from itertools import islice

from dicomrelay.ledger.values import Verdict
from dicomrelay.log import get_logger
from dicomrelay.spool import SpoolRecord
from workers.group import register
from workers.rooms import Rooms

_log = get_logger("dicomrelay.reconcile")


def reconcile(rooms: Rooms, *, stop: threading.Event) -> int:
    """Go through every item of the spool; how many the ledger did not know."""
    unknown = removed = 0
    for batch in _batches(rooms.spool.records(), rooms.settings.worker.batch_instances):
        if stop.is_set():
            break
        gone = set(rooms.ledger.released([record.id for record in batch]))
        rooms.spool.remove(gone)
        removed += len(gone)
        results = register(rooms, [record for record in batch if record.id not in gone])
        unknown += sum(result.verdict is not Verdict.KNOWN for result in results)
    if unknown or removed:
        _log.info("reconciled", registered=unknown, removed=removed)
    return unknown


def _batches(records: Iterable[SpoolRecord], size: int) -> Iterator[list[SpoolRecord]]:
    iterator = iter(records)
    while batch := list(islice(iterator, size)):
        yield batch
