"""Performed procedure steps in the scheduler's process: who gets them, and when studies are complete (docs/design/mpps.md)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from dicomrelay.errors import RelayError
from dicomrelay.log import get_logger
from dicomrelay.runtime import home
from dicomrelay.scheduling.performed_steps import PerformedSteps
from dicomrelay.settings import Settings
from dicomrelay.settings.performed import StepDestinationSettings
from workers.performed_forward import Forwarder
from workers.rooms import Rooms

_log = get_logger("dicomrelay.performed")

_LOOK_EVERY_S: Final = 1.0
_ALL_EVERY_S: Final = 60.0
_WRITING_MS: Final = 10_000
_PRUNE_EVERY_S: Final = 3600.0
_PRUNED_AT_ONCE: Final = 1000
_DAY_MS: Final = 86_400_000
_NOT_THERE: Final = "no such name in [[performed_procedure_steps.destinations]]"


def perform_until(rooms: Rooms, stop: threading.Event) -> None:
    """Look after steps until `stop` is set, each peer in a thread of its own."""
    settings = rooms.settings.performed_procedure_steps
    if not settings.enabled and not settings.destinations:
        return
    steps = PerformedSteps.open(home.ledger_url(rooms.settings))
    try:
        threads = [
            threading.Thread(
                target=_forward_until, args=(rooms.settings, each, steps, stop), name=f"mpps-{each.name}"
            )
            for each in settings.destinations
        ]
        for thread in threads:
            thread.daemon = True
            thread.start()
        _look_after(rooms, steps, stop)
        for thread in threads:
            thread.join(_LOOK_EVERY_S)
    finally:
        steps.dispose()


class Expectations:
    """How much of what waits was looked at: each look is at what has changed since the last, and now and then at all.

    Parameters
    ----------
    clock : callable
        Monotonic, in seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all_at = float("-inf")
        self._since = 0

    def look(self, rooms: Rooms, steps: PerformedSteps) -> int:
        """Tell the ledger how many instances studies that wait will have; of how many it was told.

        Raises
        ------
        ServiceUnavailable
            The database does not answer.
        """
        clock, now = self._clock(), steps.now()
        of_all = clock - self._all_at >= _ALL_EVERY_S
        told = expect(rooms, steps, since=0 if of_all else self._since)
        # What was being written then is seen later with a time before.
        self._since = now - _WRITING_MS
        if of_all:
            self._all_at = clock
        return told


def expect(rooms: Rooms, steps: PerformedSteps, *, since: int = 0) -> int:
    """The same of what has changed since a time of the database; 0 for all."""
    found = steps.expected(since=since)
    for each in found:
        rooms.ledger.completion.expect(each.study_instance_uid, each.instances)
        _log.info(
            "instances expected",
            action="mpps.expected",
            study_instance_uid=each.study_instance_uid,
            instances=each.instances,
            missing=each.missing,
        )
    return len(found)


def _look_after(rooms: Rooms, steps: PerformedSteps, stop: threading.Event) -> None:
    settings = rooms.settings.performed_procedure_steps
    known = [each.name for each in settings.destinations]
    pruned_at = 0.0
    expectations = Expectations()
    while not stop.wait(_LOOK_EVERY_S):
        try:
            expectations.look(rooms, steps)
            if orphans := steps.orphaned(known, _NOT_THERE):
                _log.error("messages for nobody", action="mpps.given-up", messages=orphans, reason=_NOT_THERE)
            if not pruned_at or time.monotonic() - pruned_at > _PRUNE_EVERY_S:
                while steps.prune(age_ms=round(settings.keep_days * _DAY_MS)) >= _PRUNED_AT_ONCE:
                    pass
                pruned_at = time.monotonic()
        except RelayError as error:  # the sweeper tells of the database
            _log.debug("cannot look after performed procedure steps", reason=str(error))


def _forward_until(
    settings: Settings, destination: StepDestinationSettings, steps: PerformedSteps, stop: threading.Event
) -> None:
    forwarder = Forwarder(settings, destination, steps, stop)
    while not stop.wait(_LOOK_EVERY_S):
        try:
            while forwarder.forward_due() and not stop.is_set():
                pass
        except RelayError as error:  # the database does not answer; what was claimed is due again by itself
            _log.debug("cannot look for what is to be forwarded", reason=str(error))
