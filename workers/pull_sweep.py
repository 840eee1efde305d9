"""Says which steps of pulls are due, and makes the pulls of polls whose time it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import date
from typing import Final

from dicomrelay.log import get_logger
from dicomrelay.routing.pulls import poll
from dicomrelay.runtime.queue import Task
from workers.pull import closed_pulls, is_open
from workers.pull_worklist import Expected, usable
from workers.rooms import Rooms

_log = get_logger("dicomrelay.pull")
_STEPS: Final = 1000
# A wake-up that was lost is said again after so long; until then its message is taken to be in a queue.
_AGAIN_S: Final = 30.0
_WORKLIST_EVERY_S: Final = 30.0


class PullSweeper:
    """Remembers what it said a moment ago. One look reads what an index answers."""

    def __init__(
        self,
        rooms: Rooms,
        *,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], date] = date.today,
    ) -> None:
        self._rooms = rooms
        self._clock = clock
        self._today = today
        self._said: dict[str, float] = {}
        self._polls = [entry for entry in usable(rooms.settings) if entry.every_s is not None]
        self._expected = Expected(rooms)
        self._expected_at = clock() - _WORKLIST_EVERY_S

    def look(self) -> int:
        """Make polls, order priors for who is expected, and say what is due; how many wake-ups.

        Raises
        ------
        ServiceUnavailable
            The ledger or the broker does not answer; what could not be said is said at the next look.
        """
        self._order_polls()
        now = self._clock()
        if now - self._expected_at >= _WORKLIST_EVERY_S:
            self._expected_at = now
            self._expected.order(self._today())
        due = self._rooms.ledger.pulls.due(limit=_STEPS, closed=closed_pulls(self._rooms))
        self._said = {each.id: self._said[each.id] for each in due if each.id in self._said}
        said = 0
        for step in due:
            if now - self._said.get(step.id, -_AGAIN_S) < _AGAIN_S:
                continue
            self._rooms.wake_ups.send(Task.PULL, ids=[step.id])
            self._said[step.id] = now
            said += 1
        return said

    def forget(self, step_ids: Iterable[str]) -> None:
        """What a dead process had in hand is said at once, whenever it was said before."""
        for step_id in step_ids:
            self._said.pop(step_id, None)

    def _order_polls(self) -> None:
        if not self._polls:
            return
        pulls, settings = self._rooms.ledger.pulls, self._rooms.settings
        by_name = {entry.name: entry for entry in self._polls}
        for state in pulls.polls(list(by_name)):
            entry = by_name[state.name]
            if state.due_in_ms > 0 or state.is_open or not is_open(entry.windows):
                continue
            new = poll(settings, entry, state, self._today())
            pull_id = pulls.order_poll(new, every_ms=round(1000 * (entry.every_s or 0)))
            if pull_id is not None:
                _log.info("poll", pull_id=pull_id, name=entry.name, source=new.source.name)
