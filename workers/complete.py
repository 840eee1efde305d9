"""Makes transfers: of what fills them as it arrives, and of the rest when its study is complete (docs/design/completion.md)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from dicomrelay.errors import RelayError, ServiceUnavailable
from dicomrelay.ledger.completion import CompletionPolicy, Made
from dicomrelay.ledger.values import DueTransfer, Priority
from dicomrelay.log import get_logger
from dicomrelay.runtime.home import is_shared
from dicomrelay.runtime.queue import Queue, Task
from dicomrelay.scheduling.performed_expected import is_in_progress
from dicomrelay.settings import Settings
from workers.deciding import decide_complete
from workers.rooms import Rooms

_log = get_logger("dicomrelay.complete")
FORWARD_QUEUE: Final = {
    Priority.URGENT: Queue.FORWARD_URGENT,
    Priority.NORMAL: Queue.FORWARD_NORMAL,
    Priority.BULK: Queue.FORWARD_BULK,
}
_STUDIES: Final = 500
_STUDIES_AT_A_LOOK: Final = 50
_YOUNG_MS: Final = 100
_LOOK_EVERY_S: Final = 0.2


def policy(settings: Settings) -> CompletionPolicy:
    """What the settings say; a source may have a quiet time of its own."""
    study, worker = settings.study, settings.worker
    return CompletionPolicy(
        quiet_ms=round(1000 * study.quiet_seconds),
        quiet_after_association_ms=round(1000 * study.quiet_after_association_seconds),
        batch_instances=worker.batch_instances,
        batch_bytes=worker.batch_bytes,
        by_host=is_shared(settings),
        more_comes=is_in_progress() if settings.performed_procedure_steps.enabled else None,
    )


def make_complete(rooms: Rooms) -> Made:
    """Make transfers of the studies that are complete, by rules of series and studies too; nobody is told."""
    plan = policy(rooms.settings)
    decide_complete(rooms, plan)
    return rooms.ledger.completion.complete(plan, limit=_STUDIES)


def cut_and_say(rooms: Rooms, study_instance_uids: Sequence[str]) -> Made:
    """Make transfers of what fills them in studies that something has just come for, and say so."""
    if not _is_cut_as_it_arrives(rooms):
        return Made()
    made = rooms.ledger.completion.cut(policy(rooms.settings), study_instance_uids)
    say(rooms, made.wake)
    return made


def spark(rooms: Rooms, transfer: DueTransfer) -> None:
    """Tell a worker of a transfer that is due.

    Raises
    ------
    ServiceUnavailable
        The broker does not take it.
    """
    rooms.wake_ups.send(Task.FORWARD, ids=[transfer.id], queue=FORWARD_QUEUE[transfer.priority])


def say(rooms: Rooms, transfers: Sequence[DueTransfer]) -> None:
    """Wake the forward workers; what cannot be said is said by the sweeper."""
    try:
        for transfer in transfers:
            spark(rooms, transfer)
    except ServiceUnavailable as error:
        _log.warning("not woken, the sweeper will", task=Task.FORWARD.value, reason=str(error))


def _cut_what_had_to_wait(rooms: Rooms, plan: CompletionPolicy) -> None:
    """What came while its destination had enough before it, once that has gone out."""
    if not _is_cut_as_it_arrives(rooms):
        return
    studies = rooms.ledger.completion.worth_a_cut(plan, older_than_ms=_YOUNG_MS, limit=_STUDIES_AT_A_LOOK)
    if studies:
        cut_and_say(rooms, studies)


def _is_cut_as_it_arrives(rooms: Rooms) -> bool:
    return rooms.settings.study.send == "as_it_arrives"


def complete_until(rooms: Rooms, stop: threading.Event) -> None:
    """Look five times a second until `stop` is set, so that a study that is complete does not wait for the sweeper.

    Trouble is the sweeper's to tell of: it asks the same database.
    """
    plan = policy(rooms.settings)
    wait_s = _LOOK_EVERY_S
    while not stop.wait(wait_s):
        wait_s = _LOOK_EVERY_S
        try:
            if rooms.ledger.completion.any_complete(plan):
                made = make_complete(rooms)
                say(rooms, made.wake)
                if made.transfers:
                    _log.info("studies complete", transfers=made.transfers)
            _cut_what_had_to_wait(rooms, plan)
        except RelayError:
            wait_s = rooms.settings.worker.sweep_seconds
