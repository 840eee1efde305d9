"""Wake-ups after commits and after associations, off the path to the answer: coalesced, and never fatal."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from dicomrelay.log import get_logger

_log = get_logger("dicomrelay.gateway")

_INTERVAL_S: Final = 0.2
_COMPLAIN_EVERY_S: Final = 60.0
_IDS_AT_ONCE: Final = 100
_MOST_IDS: Final = 1000


class Notifier:
    """Calls `wake` from a thread of its own, at most five times a second, at least once after the last commit.

    When it fails, or takes long, the instances are in the spool all the same: the sweeper finds them.

    Parameters
    ----------
    wake : Callable
        Sends the wake-up; may raise, may block.
    ended : Callable, optional
        Sends a wake-up that also names associations that ended, at most 100. Each is said once: it is a hint, and one that
        is lost costs some seconds (docs/design/completion.md).
    interval_s : float
        The shortest time between two calls.
    """

    def __init__(
        self,
        wake: Callable[[], None],
        *,
        ended: Callable[[Sequence[str]], None] | None = None,
        interval_s: float = _INTERVAL_S,
    ) -> None:
        self._wake = wake
        self._say_ended = ended
        # When the broker is away for long, the oldest are forgotten.
        self._ended: deque[str] = deque(maxlen=_MOST_IDS)
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

    def association_ended(self, association_id: str) -> None:
        """Nothing more comes over it; returns at once."""
        if self._say_ended is not None:
            self._ended.append(association_id)
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
        ids: list[str] = []
        with suppress(IndexError):
            while len(ids) < _IDS_AT_ONCE:
                ids.append(self._ended.popleft())
        if self._ended:
            self._due.set()
        try:
            if ids and self._say_ended is not None:
                self._say_ended(ids)
            else:
                self._wake()
        except Exception as error:  # noqa: BLE001 - the edge of a thread: whatever the client of a broker raises
            if time.monotonic() - self._complained_at >= _COMPLAIN_EVERY_S:
                self._complained_at = time.monotonic()
                _log.warning(
                    "no wake-up could be sent; the sweeper will find what has arrived",
                    action="wake.failed",
                    reason=f"{type(error).__name__}: {error}",
                )
