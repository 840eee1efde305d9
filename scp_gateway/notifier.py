"""Wake-ups after commits, off the path to the answer: coalesced, and never fatal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from dicomrelay.log import get_logger

_log = get_logger("dicomrelay.gateway")

_INTERVAL_S: Final = 0.2
_COMPLAIN_EVERY_S: Final = 60.0


class Notifier:
    """Calls `wake` from a thread of its own, at most five times a second, at least once after the last commit.

    When it fails, or takes long, the instances are in the spool all the same: the sweeper finds them.

    Parameters
    ----------
    wake : Callable
        Sends the wake-up; may raise, may block.
    interval_s : float
        The shortest time between two calls.
    """

    def __init__(self, wake: Callable[[], None], *, interval_s: float = _INTERVAL_S) -> None:
        self._wake = wake
        self._interval_s = interval_s
        self._due = threading.Event()
        self._stopping = threading.Event()
        self._complained_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="wake-ups", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def notify(self) -> None:
        """Something was committed; returns at once."""
        self._due.set()

    def stop(self, timeout_s: float) -> None:
        """Send what is due and end; a broker that hangs is left behind after `timeout_s`."""
        self._stopping.set()
        self._due.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._due.wait()
            self._due.clear()
            self._send()
            self._stopping.wait(self._interval_s)
        if self._due.is_set():
            self._send()

    def _send(self) -> None:
        try:
            self._wake()
        except Exception as error:  # noqa: BLE001 - the edge of a thread: whatever the client of a broker raises
            if time.monotonic() - self._complained_at >= _COMPLAIN_EVERY_S:
                self._complained_at = time.monotonic()
                _log.warning(
                    "no wake-up could be sent; the sweeper will find what has arrived",
                    action="wake.failed",
                    reason=f"{type(error).__name__}: {error}",
                )
