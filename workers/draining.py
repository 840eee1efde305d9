"""Drains the spool of a host with forward workers and no scheduler: what a pull by C-GET has put there (docs/design/hosts.md).

A pull is anybody's to do, and what comes over its own association lies in the spool of whoever did it. Where no scheduler runs
nobody is told of that, so the worker groups, archives and lets go of it by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from dicomrelay.errors import RelayError
from dicomrelay.log import get_logger
from dicomrelay.runtime.queue import Task
from workers import group, keep
from workers.rooms import Rooms

_log = get_logger("dicomrelay.draining")
_EVERY_S: Final = 5.0


def is_looked_after(rooms: Rooms) -> bool:
    """Whether a scheduler runs for this spool; where the ledger is a file of this home, always.

    Raises
    ------
    ServiceUnavailable
        The ledger does not answer.
    """
    if not rooms.reads_as:
        return True
    return any(each.spool == rooms.host and each.left_ms > 0 for each in rooms.ledger.named_leases.all())


def tell_of_arrivals(rooms: Rooms, association_id: str) -> None:
    """There is something in the spool, and nothing more comes by that association: to whoever looks after it.

    Raises
    ------
    ServiceUnavailable
        Ledger or broker do not answer: it is found all the same, and its studies are complete a little later.
    """
    if is_looked_after(rooms):
        rooms.wake_ups.send(Task.GROUP, ids=[association_id])
        return
    # A message would wait for a worker that is not there.
    rooms.ledger.completion.association_ended([association_id])
    group.group_arrivals(rooms)


def drain(rooms: Rooms) -> int:
    """Do once what a worker for `group`, `archive` and `maintenance` would do; how many instances were archived or let go of.

    Raises
    ------
    ServiceUnavailable
        Ledger or archive do not answer; nothing is lost, and the next look goes on.
    """
    if rooms.spool.has_arrivals():
        group.group_arrivals(rooms)
    total = 0
    for batch in (keep.archive_batch, keep.release_batch):
        while not rooms.stopping.is_set() and (count := batch(rooms)):
            total += count
    return total


def drain_until(rooms: Callable[[], Rooms], stop: threading.Event, *, every_s: float = _EVERY_S) -> None:
    """Look every few seconds, until `stop` is set, whether the spool is nobody's; trouble is logged once."""
    troubled, alone = "", False
    while not stop.wait(every_s):
        try:
            own = rooms()
            if is_looked_after(own):
                alone = False
                continue
            drained = drain(own)
        except (RelayError, OSError) as error:  # a disk that fails once ends nothing: nobody else drains it
            if type(error).__name__ != troubled:
                _log.warning("cannot drain the spool of this host, trying again", reason=str(error))
            troubled = type(error).__name__
            continue
        if troubled:
            _log.info("draining again")
        if drained and not alone:
            _log.info(
                "no scheduler runs for the spool of this host: drained by this worker", instances=drained
            )
            alone = True
        troubled = ""
