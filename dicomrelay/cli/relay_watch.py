"""Whether anybody still works on what was submitted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from dicomrelay.errors import ServiceUnavailable
from dicomrelay.runtime.home import HomeLock
from dicomrelay.runtime.queue import WakeUps
from dicomrelay.settings import Settings

_LOOK_EVERY_S: Final = 2.0
# A broker of somebody else may be away for a moment: workers wait for it, and so do we.
_SILENT_S: Final = 20.0


class RelayWatch:
    """Looks at the relay now and then, while its work is followed.

    With the embedded broker all of it is one `dicomrelay up`, which holds the lock of the home while it lives. With a
    broker of its own the services may run anywhere, and the broker's answer is all that there is to see.

    Parameters
    ----------
    clock : callable
        Seconds, monotonic.
    """

    def __init__(
        self, settings: Settings, wake_ups: WakeUps, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._lock = HomeLock(settings)
        self._wake_ups = wake_ups
        self._clock = clock
        self._is_embedded = settings.broker.url.get_secret_value() == "embedded"
        self._looked_at = self._answered_at = clock()

    def gone(self) -> str:
        """Why nobody works on it any more; "" while somebody does. Asks at most every two seconds."""
        now = self._clock()
        if now - self._looked_at < _LOOK_EVERY_S:
            return ""
        self._looked_at = now
        return self.gone_now()

    def gone_now(self) -> str:
        """The same, asked at once."""
        if self._is_embedded:
            if self._lock.is_held():
                return ""
            return f"`dicomrelay up` does not run in {self._settings.home} any more"
        try:
            self._wake_ups.depths()
        except ServiceUnavailable as error:
            silent_s = self._clock() - self._answered_at
            return f"{error}, for {silent_s:.0f} s now" if silent_s >= _SILENT_S else ""
        self._answered_at = self._clock()
        return ""
