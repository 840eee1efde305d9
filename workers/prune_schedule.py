"""Prunes what was scheduled long ago (docs/design/worklist.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from dicomrelay.log import get_logger
from dicomrelay.scheduling.opening import opened_worklist
from dicomrelay.settings import Settings

_log = get_logger("dicomrelay.prune")
_ROWS: Final = 500
_DAY_MS: Final = 86_400_000


def prune_worklist(settings: Settings, *, pause: Callable[[], bool]) -> int:
    """Remove items that are over, or were to start, longer ago than `worklist.keep_days`; how many rows went.

    Parameters
    ----------
    pause : callable
        Called after each batch; True ends it all.
    """
    age_ms, gone = round(settings.worklist.keep_days * _DAY_MS), 0
    with opened_worklist(settings) as worklist:
        while count := worklist.prune(age_ms=age_ms, limit=_ROWS):
            gone += count
            if pause():
                break
    if gone:
        _log.info("worklist pruned", rows=gone)
    return gone
