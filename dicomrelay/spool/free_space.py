"""The low-water mark: asking often enough, and not more often."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from dicomrelay.errors import SpoolFull

_ASK_EVERY_S: Final = 0.25


class FreeSpace:
    """Watches the file system of the spool.

    Parameters
    ----------
    min_free_bytes : int
        The low-water mark; 0 for none.
    """

    def __init__(self, root: Path, min_free_bytes: int) -> None:
        self._root = root
        self._min_free_bytes = min_free_bytes
        self._asked_at = float("-inf")
        self._free_bytes = 0
        self._taken_bytes = 0  # by us, since it was asked

    def measure(self) -> int:
        """Bytes that this user can still write."""
        status = os.statvfs(self._root)
        return status.f_bavail * status.f_frsize

    def take(self, size: int) -> None:
        """An item of so many bytes was written: the next check knows, however lately it was asked."""
        self._taken_bytes += size

    def check(self, *, now: bool = False) -> None:
        """Let pass, or raise SpoolFull under the mark.

        Parameters
        ----------
        now : bool
            Ask the file system whenever it was asked last.
        """
        if not self._min_free_bytes:
            return
        clock = time.monotonic()
        # A fast disk takes more in a quarter of a second than lies between the mark and its end.
        near = self._taken_bytes and self._free_bytes - self._taken_bytes < self._min_free_bytes
        if now or near or clock - self._asked_at >= _ASK_EVERY_S:
            self._taken_bytes = 0
            self._free_bytes, self._asked_at = self.measure(), clock
        if self._free_bytes < self._min_free_bytes:
            raise SpoolFull(
                f"{self._root}: {self._free_bytes} bytes free, under the low-water mark of {self._min_free_bytes} "
                "(gateway.min_free_bytes): make room, it goes on by itself"
            )
