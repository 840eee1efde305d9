"""What pages read: ledger, broker and archive, asked in threads, once for all who look within a second."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from archive import Archive
from archive.root import INDEX
from archive.storage.opening import open_storage
from dicomrelay.errors import ServiceUnavailable
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.flow_summary import DestinationFlow
from dicomrelay.ledger.rates import History
from dicomrelay.ledger.rates_counting import MINUTE_MS, Direction, Moved
from dicomrelay.ledger.work_waiting import WorkWaiting
from dicomrelay.routing import closed
from dicomrelay.runtime import home
from dicomrelay.runtime.queue import WakeUps, names_of
from dicomrelay.runtime.queue_depths import depths_at
from dicomrelay.runtime.queue_names import Queue
from dicomrelay.settings import Settings
from monitor.pages.transfer_rows import Span

_SHARED_S: Final = 1.0
_MOST_LOOKS: Final = 256
_EMBEDDED: Final = "embedded"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Transfers:
    """What the page Transfers is made of; `depths` None when the broker does not answer."""

    flows: tuple[DestinationFlow, ...]
    sent: History
    received: History
    arriving: dict[str, Moved]
    waiting: tuple[WorkWaiting, ...]
    depths: dict[str, int] | None
    outside: frozenset[str]


class Looks:
    """Answers of the last second, and who waits for the next one. For the event loop; what is asked runs in threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ledger: Ledger | None = None
        self._wake_ups = WakeUps(settings)
        self._lock = threading.Lock()
        self._asked: dict[Hashable, tuple[float, asyncio.Task[Any]]] = {}
        self._histories: dict[tuple[Direction, str], tuple[int, History]] = {}

    async def shared(self, key: Hashable, ask: Callable[[Ledger], _T]) -> _T:
        """What a question is answered, by others' answer where one of them asks it now or asked it within a second.

        Raises
        ------
        ServiceUnavailable
            The ledger does not answer.
        """
        now = time.monotonic()
        known = self._asked.get(key)
        if known is None or (known[1].done() and now - known[0] > _SHARED_S):
            while len(self._asked) >= _MOST_LOOKS:
                del self._asked[next(iter(self._asked))]
            self._asked.pop(key, None)
            known = self._asked[key] = now, asyncio.create_task(self.fresh(ask))
        # One who goes away ends the question for nobody else.
        return cast("_T", await asyncio.shield(known[1]))

    async def fresh(self, ask: Callable[[Ledger], _T]) -> _T:
        """The same, asked now and for oneself; raises as `shared`."""
        return await asyncio.to_thread(self.ask, ask)

    def forget(self) -> None:
        """Something was changed: what was answered before is not so any more."""
        self._asked.clear()

    def ask(self, ask: Callable[[Ledger], _T]) -> _T:
        """What a question is answered, in this thread; raises as `shared`."""
        ledger = self._opened()
        try:
            return ask(ledger)
        except ServiceUnavailable:
            if ledger.was_replaced:
                with self._lock:
                    if self._ledger is ledger:
                        self._ledger = None
                ledger.dispose()
            raise

    def _opened(self) -> Ledger:
        with self._lock:
            if self._ledger is None:
                self._ledger = Ledger.open(home.ledger_url(self._settings))
            return self._ledger

    def close(self) -> None:
        """Let go of connections."""
        with self._lock:
            if self._ledger is not None:
                self._ledger.dispose()
                self._ledger = None
        self._wake_ups.close()

    # What several pages ask. In a thread.

    def transfers(self, ledger: Ledger, span: Span) -> Transfers:
        """All that the page Transfers shows."""
        return Transfers(
            flows=ledger.flow.destinations(),
            sent=self.history(ledger, Direction.TO, span),
            received=self.history(ledger, Direction.FROM, span),
            arriving=ledger.rates.arriving(),
            waiting=ledger.rates.waiting(),
            depths=self._depths(),
            outside=self.outside(),
        )

    def history(self, ledger: Ledger, direction: Direction, span: Span) -> History:
        """Of a span; asked again when a minute more may have been counted."""
        # Counted ten seconds after it is over, by a scheduler that looks every twenty.
        turn = int(time.time() * 1000) // (MINUTE_MS // 4)
        known = self._histories.get((direction, span.name))
        if known is None or known[0] != turn:
            found = ledger.rates.history(direction, steps=span.steps, minutes=span.minutes)
            known = self._histories[direction, span.name] = turn, found
        return known[1]

    def outside(self) -> frozenset[str]:
        """The destinations that are outside of their time windows, by the clock on this host's wall."""
        now = time.localtime()
        return closed(self._settings.destinations, now.tm_hour * 60 + now.tm_min)

    def _depths(self) -> dict[str, int] | None:
        names = names_of(self._settings)
        with suppress(ServiceUnavailable):
            if self._settings.broker.url.get_secret_value() == _EMBEDDED:
                there = depths_at(
                    home.broker_socket(self._settings),
                    [names.of(each) for each in Queue],
                    timeout_s=self._settings.broker.timeout_s,
                )
                return {each.value: there[names.of(each)] for each in Queue}
            return {queue.value: depth for queue, depth in self._wake_ups.depths().items()}
        return None

    def in_archive(self, sop_instance_uids: Sequence[str]) -> set[str]:
        """Of these SOP Instance UIDs those whose file the archive has; none where there is no archive.

        Raises
        ------
        ServiceUnavailable
            It cannot be looked into.
        """
        settings = self._settings
        root, url = settings.archive_path, home.archive_url(settings)
        if url is None and not (root / INDEX).is_file():
            return set()
        archive = Archive.open(root, database_url=url, storage=open_storage(settings.archive, root))
        with closing(archive):
            try:
                return archive.inventory().whole(sop_instance_uids)
            except OSError as error:
                raise ServiceUnavailable(f"the archive cannot be looked into: {error.strerror}") from None
