"""Holds the spool against the ledger, once at every start.

What the ledger does not know is registered: that is how a lost database is rebuilt. What it has marked as released is
removed: a crash left it behind.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from dicomrelay.ledger.values import Registered, Verdict
from dicomrelay.log import get_logger
from dicomrelay.spool import SpoolRecord
from workers.group import register
from workers.rooms import Rooms

_log = get_logger("dicomrelay.reconcile")
_AGAIN_S: Final = 30.0


def reconcile(rooms: Rooms, *, stop: threading.Event) -> int:
    """Go through every item of the spool; how many the ledger did not know.

    Items that the rules ask about and that cannot be read now are tried again, until they can be or `stop` is set.
    """
    unknown = removed = 0
    left: list[SpoolRecord] = []
    for batch in _batches(rooms.spool.records(), rooms.settings.worker.batch_instances):
        if stop.is_set():
            break
        gone = set(rooms.ledger.released([record.id for record in batch]))
        rooms.spool.remove(gone)
        removed += len(gone)
        records = [record for record in batch if record.id not in gone]
        results = register(rooms, records)
        left += _not_among(records, results)
        unknown += sum(result.verdict is not Verdict.KNOWN for result in results)
    if unknown or removed:
        _log.info("reconciled", registered=unknown, removed=removed)
    while left and not stop.wait(_AGAIN_S):
        results = register(rooms, left)
        unknown += sum(result.verdict is not Verdict.KNOWN for result in results)
        left = _not_among(left, results)
    return unknown


def _not_among(records: Iterable[SpoolRecord], results: Iterable[Registered]) -> list[SpoolRecord]:
    there = {result.spool_id for result in results}
    return [record for record in records if record.id not in there]


def _batches(records: Iterable[SpoolRecord], size: int) -> Iterator[list[SpoolRecord]]:
    iterator = iter(records)
    while batch := list(islice(iterator, size)):
        yield batch
