"""Keeps a lease alive while progress is made."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final

from dicomrelay import metrics
from dicomrelay.errors import RelayError
from dicomrelay.metrics.catalogue import LEASES_LOST

LEASE_MS: Final = 30_000
_RENEW_EVERY_S: Final = 8.0


class LeaseKeeper:
    """Renews a lease from a thread as long as `progress` is called now and then.

    Parameters
    ----------
    renew : callable
        Says whether the lease is still ours.
    patience_s : float
        After so long without progress it stops renewing, and another runner may take over.
    """

    def __init__(
        self, renew: Callable[[], bool], *, patience_s: float, every_s: float = _RENEW_EVERY_S
    ) -> None:
        self._renew = renew
        self._patience_s = patience_s
        self._every_s = every_s
        self._last_progress = time.monotonic()
        self._over = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    @property
    def lost(self) -> bool:
        """Whether somebody else may hold it: stop, and write nothing."""
        return self._lost.is_set()

    def give_up(self) -> None:
        """It is known that somebody else holds it."""
        self._lost.set()

    def progress(self) -> None:
        """Something moved."""
        self._last_progress = time.monotonic()

    def __enter__(self) -> LeaseKeeper:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _keep(self) -> None:
        renewed_at = time.monotonic()
        try:
            while not self._over.wait(self._every_s):
                now = time.monotonic()
                if now - self._last_progress > self._patience_s or now - renewed_at > LEASE_MS / 1000:
                    return
                try:
                    if not self._renew():
                        return
                except RelayError:  # a ledger that is away for a moment: the lease lasts longer than that
                    continue
                renewed_at = now
        finally:
            if not self._over.is_set():
                self._lost.set()
                metrics.add(LEASES_LOST)
