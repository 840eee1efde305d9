"""Whether a storage commitment transaction is ours: all that the gateway ever asks the ledger, and never for a C-STORE."""

from __future__ import annotations

import os
import threading

from dicomrelay.errors import RelayError
from dicomrelay.ledger import Ledger
from dicomrelay.runtime import home
from dicomrelay.settings import Settings


class Transactions:
    """Asks the ledger; a connection is made at the first question, in the process that asks it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._opened: tuple[int, Ledger] | None = None

    def __call__(self, transaction_uid: str) -> bool | None:
        """Whether it is ours; None when the ledger does not say."""
        try:
            return self._ledger().verifications.known(transaction_uid) is not None
        except RelayError:
            return None

    def _ledger(self) -> Ledger:
        pid = os.getpid()
        with self._lock:
            if self._opened is None or self._opened[0] != pid:
                self._opened = pid, Ledger.open(home.ledger_url(self._settings))
            return self._opened[1]
