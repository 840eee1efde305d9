"""Counts what moved in each minute, for charts (docs/design/monitor.md)."""

from __future__ import annotations

import threading
from typing import Final

from dicomrelay.errors import RelayError
from dicomrelay.log import get_logger
from workers.rooms import Rooms

_log = get_logger("dicomrelay.rates")
_EVERY_S: Final = 20.0
_PAUSE_S: Final = 0.5


def roll_up_until(rooms: Rooms, stop: threading.Event) -> None:
    """Look for minutes that are over until `stop` is set; trouble is logged once, and the next look tries again."""
    troubled = ""
    while True:
        is_behind = False
        try:
            is_behind = rooms.ledger.rates.roll_up()
            troubled = ""
        except RelayError as error:
            if type(error).__name__ != troubled:
                _log.warning("cannot count what moved, trying again", reason=str(error))
            troubled = type(error).__name__
        if stop.wait(_PAUSE_S if is_behind else _EVERY_S):
            return
