"""What a runner does with its time: the transfer it was woken for, then whatever is due, the most urgent first."""

from __future__ import annotations

import time
from collections.abc import Callable

from dicomrelay import metrics
from dicomrelay.errors import ServiceUnavailable
from dicomrelay.ledger.due import Wanted
from dicomrelay.ledger.values import ClaimedTransfer, Priority
from dicomrelay.log import get_logger
from dicomrelay.metrics.catalogue import FORWARD_BUSY
from workers.batches import TASK_S
from workers.complete import spark
from workers.forward import closed_now, send_claimed
from workers.lease import LEASE_MS
from workers.rooms import Rooms
from workers.runners import Runners

_log = get_logger("dicomrelay.forward")


class Forwarding:
    """The runners of one process.

    Parameters
    ----------
    places : int
        How many transfers it has in hand at most.
    send : callable
        Sends a transfer that is ours.
    """

    def __init__(
        self,
        rooms: Rooms,
        places: int,
        *,
        send: Callable[[Rooms, ClaimedTransfer], object] = send_claimed,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rooms = rooms
        self._send = send
        self._clock = clock
        self.runners = Runners(places)

    def run(self) -> int:
        """Send what is due until nothing is that may have a place here, or a task's time is over; how many transfers.

        Raises
        ------
        ServiceUnavailable
            The ledger does not answer.
        """
        until = self._clock() + TASK_S
        count = 0
        while not self._rooms.stopping.is_set():
            if self._clock() >= until:
                self._pass_on()
                break
            if not any(self._take(wanted) for wanted in self._next()):
                break
            count += 1
        return count

    def _next(self) -> list[Wanted]:
        shut = closed_now(self._rooms)
        wanted = self._rooms.ledger.flow.wanted(host=self._rooms.reads_as)
        return self.runners.order([each for each in wanted if each.destination not in shut])

    def _take(self, wanted: Wanted) -> bool:
        """Whether something was sent to that destination."""
        with self.runners.place(wanted.destination, wanted.priority) as taken:
            if not taken:
                return False
            # A place that is kept for the urgent is for them only.
            priorities = tuple(Priority)[: tuple(Priority).index(wanted.priority) + 1]
            claimed = self._rooms.ledger.claim_next_transfer(
                wanted.destination,
                priorities=priorities,
                owner=self._rooms.owner,
                lease_ms=LEASE_MS,
                host=self._rooms.reads_as,
            )
            if claimed is None:
                return False
            metrics.add(FORWARD_BUSY)
            try:
                self._send(self._rooms, claimed)
            finally:
                metrics.add(FORWARD_BUSY, by=-1)
            return True

    def _pass_on(self) -> None:
        """The time is over and there may be more: somebody goes on."""
        try:
            for transfer in self._rooms.ledger.due(limit=1, closed=closed_now(self._rooms)).transfers:
                spark(self._rooms, transfer)
        except ServiceUnavailable as error:
            _log.warning("not woken, the sweeper will", reason=str(error))
