"""Prunes what is over, once an hour, in batches with a pause after each (docs/design/retention.md)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from dicomrelay.errors import RelayError
from dicomrelay.ledger.retention import Pruned, Retention
from dicomrelay.log import get_logger
from dicomrelay.settings import RetentionSettings
from workers.prune_schedule import prune_worklist
from workers.rooms import Rooms

_log = get_logger("dicomrelay.prune")
_EVERY_S: Final = 3600.0
_FIRST_AFTER_S: Final = 60.0
# A batch holds the database's one writer; the pause is for those who wait for it.
_PAUSE_S: Final = 0.2
_ROWS: Final = 500
_TRANSFERS: Final = 50
_STUDIES: Final = 20
_DAY_MS: Final = 86_400_000


def prune_until(rooms: Rooms, stop: threading.Event) -> None:
    """Prune soon after the start and then every hour, until `stop` is set."""
    wait_s = _FIRST_AFTER_S
    while not stop.wait(wait_s):
        wait_s = _EVERY_S
        try:
            prune(rooms.ledger.retention, rooms.settings.retention, pause=lambda: stop.wait(_PAUSE_S))
            prune_worklist(rooms.settings, pause=lambda: stop.wait(_PAUSE_S))
        except RelayError as error:
            _log.warning("cannot prune now, in an hour again", reason=str(error))


def prune(retention: Retention, settings: RetentionSettings, *, pause: Callable[[], bool]) -> Counter[str]:
    """Prune everything that is old enough; how many rows of each kind went.

    Parameters
    ----------
    pause : callable
        Called after each batch; True ends it all.
    """
    transfers_ms = round(settings.transfer_days * _DAY_MS)
    events_ms, evidence_ms = round(settings.event_days * _DAY_MS), round(settings.evidence_days * _DAY_MS)
    gone: Counter[str] = Counter()
    # Jobs and orders after transfers: they go when nothing of them is left.
    batches: tuple[Callable[[], Pruned], ...] = (
        lambda: retention.prune_transfers(age_ms=transfers_ms, limit=_TRANSFERS),
        lambda: retention.prune_jobs(age_ms=transfers_ms, limit=_ROWS),
        lambda: retention.prune_orders(age_ms=transfers_ms, limit=_ROWS),
        lambda: retention.prune_decisions(age_ms=transfers_ms, limit=_ROWS),
        lambda: retention.prune_pulls(age_ms=transfers_ms, limit=_TRANSFERS),
        lambda: retention.prune_events(age_ms=events_ms, limit=_ROWS),
        lambda: retention.prune_evidence(age_ms=evidence_ms, limit=_STUDIES),
    )
    for pruned in _each(batches):
        _count(gone, pruned)
        if pause():
            break
    if gone:
        _log.info("pruned", **gone)
    return gone


def _each(batches: Iterable[Callable[[], Pruned]]) -> Iterator[Pruned]:
    for batch in batches:
        while (pruned := batch()).any:
            yield pruned


def _count(gone: Counter[str], pruned: Pruned) -> None:
    for name in Pruned.__slots__:
        if number := getattr(pruned, name):
            gone[name] += number
