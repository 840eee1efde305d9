"""What is asked of the ledger for those who ask the gateway; never for a C-STORE.

Of a C-MOVE whether its destination is held, and its turn on a line with a limit; of storage commitment what came.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from dicomrelay.errors import RelayError
from dicomrelay.ledger import Ledger
from dicomrelay.runtime import home
from dicomrelay.settings import Settings


class MoveLedger:
    """Asks the ledger; a connection is made at the first question, in the process that asks it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._opened: tuple[int, Ledger] | None = None

    def held(self, name: str) -> bool | None:
        """Whether somebody holds that destination; None when the ledger does not say."""
        try:
            stopped = self._ledger().operations.stopped()
        except RelayError:
            return None
        return any(each.name == name and each.held_for_ms is not None for each in stopped)

    def book(self, name: str, count: int, bytes_per_s: int) -> int | None:
        """Book its line; the wait in milliseconds, or None when the ledger does not say."""
        try:
            return self._ledger().flow.book(name, count=count, bytes_per_s=bytes_per_s)
        except RelayError:
            return None

    def came(self, sop_instance_uids: Sequence[str]) -> dict[str, set[str]]:
        """Digests of all data sets that came under these UIDs. Raises ServiceUnavailable when the ledger does not say."""
        return self._ledger().came(sop_instance_uids)

    def _ledger(self) -> Ledger:
        pid = os.getpid()
        with self._lock:
            if self._opened is None or self._opened[0] != pid:
                self._opened = pid, Ledger.open(home.ledger_url(self._settings))
            return self._opened[1]
