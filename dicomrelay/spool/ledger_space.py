"""The low-water mark on the disk of the ledger, for those who write to it what peers say (docs/design/mpps.md)."""

from __future__ import annotations

from contextlib import suppress

from dicomrelay.settings import Settings
from dicomrelay.spool.free_space import FreeSpace


class LedgerSpace:
    """Asks before a message is taken. Nothing is asked of a database server: its disk is its own."""

    def __init__(self, settings: Settings) -> None:
        is_embedded = settings.database.url.get_secret_value() == "embedded"
        self._space = FreeSpace(settings.path("db"), settings.gateway.min_free_bytes if is_embedded else 0)

    def check(self, size: int) -> None:
        """Let pass, or refuse what so many bytes come for.

        Raises
        ------
        SpoolFull
            Fewer bytes are free than `gateway.min_free_bytes`.
        """
        self._space.take(size)
        with suppress(OSError):  # no folder: no ledger yet, and who writes to it says so
            self._space.check()
