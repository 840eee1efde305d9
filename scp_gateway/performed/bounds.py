"""Whether a message about a performed procedure step may come in: the disk's low-water mark, and what a peer may say in a day."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from dicomrelay.errors import SpoolFull
from dicomrelay.net.callers import Callers
from dicomrelay.net.service import AssociationInfo
from dicomrelay.settings import Settings
from dicomrelay.spool.ledger_space import LedgerSpace

_DAY_MS: Final = 86_400_000
# What other listeners took, and what is no more of the last day, is known so late.
_COUNTED_EVERY_S: Final = 60.0
_NOBODY: Final = -1  # no entry of [[peers]] fits


class StepBounds:
    """Asked before a message is taken. For all threads of a listener.

    Parameters
    ----------
    taken : callable
        Bytes that came in so many milliseconds, by calling AE title.
    clock : callable
        Monotonic, in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        taken: Callable[[int], Mapping[str, int]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = settings.performed_procedure_steps.max_bytes_per_day
        self._space = LedgerSpace(settings)
        self._callers = Callers(settings.peers)
        self._taken = taken
        self._clock = clock
        self._lock = threading.Lock()
        self._counted: dict[str, int] = {}
        self._counted_at = float("-inf")

    def check(self, association: AssociationInfo, size: int) -> None:
        """Let pass, and count it; or say which bound is reached.

        Raises
        ------
        SpoolFull
            The disk is under the low-water mark, or the peers of that entry have said as much as they may in a day.
        ServiceUnavailable, LedgerError
            The database does not say how much that is.
        """
        self._space.check(size)
        title, address = association.calling_ae_title.strip(), association.peer_address
        with self._lock:
            if self._clock() - self._counted_at >= _COUNTED_EVERY_S:
                self._counted = dict(self._taken(_DAY_MS))
                self._counted_at = self._clock()
            entry = self._entry(title, address)
            held = sum(count for each, count in self._counted.items() if self._entry(each, address) == entry)
            if held + size > self._most:
                whose = "peers of no entry" if entry == _NOBODY else f"the peers of peers.{entry}"
                raise SpoolFull(
                    f"{held} bytes of MPPS came from {whose} in 24 hours, and "
                    f"performed_procedure_steps.max_bytes_per_day is {self._most}"
                )
            self._counted[title] = self._counted.get(title, 0) + size

    def _entry(self, title: str, address: str) -> int:
        found = self._callers.find(title, address)
        return _NOBODY if found is None else found[0]
