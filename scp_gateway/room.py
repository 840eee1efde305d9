"""Bounds on what the spool holds: in all, and for each entry of [[peers]] (docs/design/retention.md)."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from dicomrelay.errors import SpoolFull
from dicomrelay.log import get_logger
from dicomrelay.net.callers import Callers
from dicomrelay.settings import Settings
from dicomrelay.spool import Provenance, SpoolRecord
from dicomrelay.spool.holdings import Holdings

_log = get_logger("dicomrelay.gateway")
NOBODY: Final = -1  # no entry of [[peers]] fits, or a job of `dicomrelay send` brought it
_FILE: Final = "spool.json"


class Room:
    """Whether an instance may come in; for all threads of a listener. Asks no database and no disk.

    It costs nothing where no bound is set.
    """

    def __init__(self, settings: Settings) -> None:
        self._total = settings.gateway.max_spool_bytes
        self._peers = settings.peers
        self._bounds = [peer.max_spool_bytes for peer in settings.peers]
        self._callers = Callers(settings.peers)
        self._path = settings.path("run", _FILE)
        self.is_bounded = self._total is not None or any(bound is not None for bound in self._bounds)
        self._holdings = Holdings(settings.path("spool"), self._source_of)
        self._refused: set[int | None] = set()
        self._lock = threading.Lock()

    def _source_of(self, origin: Provenance) -> int:
        if origin.job_id:
            return NOBODY
        return self._entry(origin.calling_ae_title, origin.peer_address)

    def _entry(self, calling_ae_title: str, peer_address: str) -> int:
        found = self._callers.find(calling_ae_title, peer_address)
        return NOBODY if found is None else found[0]

    def check(self, calling_ae_title: str, peer_address: str) -> None:
        """Let pass, or say which bound is reached.

        Raises
        ------
        SpoolFull
            What the spool holds of that source, or in all, is as much as it may be.
        """
        if not self.is_bounded:
            return
        entry = self._entry(calling_ae_title, peer_address)
        bound = None if entry == NOBODY else self._bounds[entry]
        if bound is not None and self._is_reached(entry, self._holdings.of(entry), bound):
            raise SpoolFull(
                f"the spool holds {self._holdings.of(entry)} bytes of the peers of peers.{entry}, and max_spool_bytes is "
                f"{bound}: it goes on by itself when some of it has been delivered"
            )
        if self._total is not None and self._is_reached(None, self._holdings.total(), self._total):
            raise SpoolFull(
                f"the spool holds {self._holdings.total()} bytes, and gateway.max_spool_bytes is {self._total}: it goes on by "
                "itself when some of it has been delivered"
            )

    def _is_reached(self, source: int | None, held: int, bound: int) -> bool:
        """Whether a bound is; says so when that changes."""
        reached = held >= bound
        if reached != (source in self._refused):
            with self._lock:
                (self._refused.add if reached else self._refused.discard)(source)
            _log.warning(
                "the spool holds as much as it may, instances are refused"
                if reached
                else "the spool has room again",
                action="spool.bound-reached" if reached else "spool.bound-left",
                of="all" if source is None else f"peers.{source}",
                held_bytes=held,
                max_spool_bytes=bound,
            )
        return reached

    def took(self, record: SpoolRecord) -> None:
        """An item was committed."""
        if self.is_bounded:
            self._holdings.add(record)

    def begin(self, stop: threading.Event) -> None:
        """Count in a thread until `stop` is set; nothing to do without a bound."""
        if self.is_bounded:
            watch: Callable[..., None] = self._holdings.watch
            threading.Thread(target=watch, args=(stop, self._show), name="holdings", daemon=True).start()

    def _show(self) -> None:
        """For `dicomrelay status`; a process that writes it last is right about all of them."""
        held = self._holdings.by_source()
        shown = {
            "at": time.time_ns() // 1_000_000,
            "bytes": self._holdings.total(),
            "max_bytes": self._total,
            "refused": self._total is not None and self._holdings.total() >= self._total,
            "sources": [
                {
                    "peer": None if source == NOBODY else source,
                    "ae_title": None if source == NOBODY else self._peers[source].ae_title,
                    "host": None if source == NOBODY else self._peers[source].host,
                    "items": items,
                    "bytes": size,
                    "max_bytes": None if source == NOBODY else self._bounds[source],
                    "refused": source != NOBODY
                    and (bound := self._bounds[source]) is not None
                    and size >= bound,
                }
                for source, (items, size) in sorted(held.items())
            ],
        }
        with suppress(OSError):  # it is for people to look at
            _replace(self._path, json.dumps(shown))


def _replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(text, "utf-8")
    fresh.chmod(0o600)
    fresh.replace(path)
