"""The sweeper: says again what is due, from the ledger and the spool.

It is the outbox of the whole system. Whatever message was lost, by a broker that died or a worker that was killed, is
said again here; whatever comes twice finds a lease in the ledger and stops.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from dicomrelay.ledger.values import DueTransfer
from dicomrelay.runtime.home import has_own_queues
from dicomrelay.runtime.queue import Queue, Task
from workers.complete import FORWARD_QUEUE, make_complete, spark
from workers.dead import end_leases_of_the_dead
from workers.forward import closed_now
from workers.pull_sweep import PullSweeper
from workers.reports import report_box
from workers.rooms import Rooms

_TRANSFERS = 1000
_DESTINATIONS = 1000
# A wake-up that was lost is said again after so long; until then its message is taken to be in a queue.
_AGAIN_S = 30.0
_HERE_S = 2.0


@dataclass(frozen=True, slots=True)
class Swept:
    """What one look found and said."""

    transfers_made: int
    wake_ups: int


class Sweeper:
    """Remembers what it said a moment ago, so that a long queue is not said again and again."""

    def __init__(self, rooms: Rooms, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rooms = rooms
        self._clock = clock
        self._said: dict[str, float] = {}
        self._asked: dict[str, float] = {}  # the same for verifications
        self._pulls = PullSweeper(rooms, clock=clock)
        self._said_here = float("-inf")

    def sweep(self, *, leads: bool = True) -> Swept:
        """Look once.

        Parameters
        ----------
        leads : bool
            Look for what is the ledger's too, and not only for what is this spool's.

        Raises
        ------
        ServiceUnavailable
            The broker does not answer; what could not be said is said at the next look.
        """
        rooms, worker = self._rooms, self._rooms.settings.worker
        self._free()
        made = make_complete(rooms).transfers if leads else 0
        if leads:
            rooms.ledger.operations.end_cancelled()
        due = rooms.ledger.due(
            limit=_TRANSFERS,
            host=rooms.host,
            closed=closed_now(rooms),
            keep_ms=rooms.settings.retention.spool_ms,
        )
        depths = rooms.wake_ups.depths()
        said = 0
        if depths[Queue.GROUP] == 0 and rooms.spool.has_arrivals():
            said += self._say(Task.GROUP, 1)
        for task, queue, pending, processes in (
            (Task.ARCHIVE, Queue.ARCHIVE, due.archive_pending, worker.keep_processes),
            (Task.FRAMES, Queue.FRAMES, due.frames_pending if leads else 0, worker.keep_processes),
            (Task.RELEASE, Queue.MAINTENANCE, due.releasable, worker.intake_processes),
        ):
            batches = -(-pending // worker.batch_instances)
            said += self._say(task, min(batches, processes) - depths[queue])
        if not report_box(rooms).is_empty():
            said += self._say(Task.REPORTS, 1 - depths[Queue.MAINTENANCE])
        if due.transfers and rooms.reads_as and has_own_queues(rooms.settings):
            said += self._wake_here(due.transfers[0])
        return Swept(made, said + self._lead(due.transfers, depths) if leads else said)

    def _lead(self, due: tuple[DueTransfer, ...], depths: dict[Queue, int]) -> int:
        """Say what any host can do."""
        forward_idle = not any(depths[queue] for queue in FORWARD_QUEUE.values())
        said = sum(self._wake(transfer, idle=forward_idle) for transfer in due)
        self._forget(due)
        said += self._wake_verifications()
        return said + self._pulls.look()

    def _wake_here(self, transfer: DueTransfer) -> int:
        """A spark for this host's own workers: what is in its spool alone nobody else can send. One waits at most."""
        now = self._clock()
        if now - self._said_here < _HERE_S or self._rooms.wake_ups.depth_here():
            return 0
        self._rooms.wake_ups.send(
            Task.FORWARD, ids=[transfer.id], queue=FORWARD_QUEUE[transfer.priority], here=True
        )
        self._said_here = now
        return 1

    def _free(self) -> None:
        """What a dead process had in hand is due, and said at once, whenever it was said before."""
        ended = end_leases_of_the_dead(self._rooms.ledger, host=self._rooms.host)
        for transfer_id in ended.transfers:
            self._said.pop(transfer_id, None)
        for verification_id in ended.verifications:
            self._asked.pop(verification_id, None)
        self._pulls.forget(ended.pull_steps)

    def _wake_verifications(self) -> int:
        now = self._clock()
        due = self._rooms.ledger.verifications.due(limit=_DESTINATIONS)
        fresh = [each.id for each in due if now - self._asked.get(each.id, -_AGAIN_S) >= _AGAIN_S]
        self._asked = {each.id: self._asked[each.id] for each in due if each.id in self._asked}
        for verification_id in fresh:
            self._rooms.wake_ups.send(Task.VERIFY, ids=[verification_id])
            self._asked[verification_id] = now
        return len(fresh)

    def _say(self, task: Task, times: int) -> int:
        for _ in range(times):
            self._rooms.wake_ups.send(task)
        return max(times, 0)

    def _wake(self, transfer: DueTransfer, *, idle: bool) -> bool:
        now = self._clock()
        again_s = _AGAIN_S / 6 if idle else _AGAIN_S
        if now - self._said.get(transfer.id, -again_s) < again_s:
            return False
        spark(self._rooms, transfer)
        self._said[transfer.id] = now
        return True

    def _forget(self, due: tuple[DueTransfer, ...]) -> None:
        still = {transfer.id for transfer in due}
        self._said = {id_: at for id_, at in self._said.items() if id_ in still}
