"""What moved in each minute, to whom and from whom: for charts (docs/design/monitor.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select

from dicomrelay.ledger import rates_counting, work_waiting
from dicomrelay.ledger.engine import Database
from dicomrelay.ledger.rates_counting import MINUTE_MS, Direction, Moved
from dicomrelay.ledger.schema import transfer_rates
from dicomrelay.ledger.work_waiting import WorkWaiting

# The time over which "now" is measured, as in `flow_summary`.
NOW_MS: Final = 10_000
_NOTHING: Final = Moved(0, 0)


@dataclass(frozen=True, slots=True)
class History:
    """Steps of time, the oldest first.

    Attributes
    ----------
    begin_ms : int
        When the first step begins, in epoch milliseconds.
    step_ms : int
        How long each is.
    series : mapping
        Name → what moved in each step; of names with anything in the span.
    """

    begin_ms: int
    step_ms: int
    steps: int
    series: Mapping[str, tuple[Moved, ...]]

    def of(self, name: str) -> tuple[Moved, ...]:
        """The steps of one name, empty ones where nothing moved."""
        return self.series.get(name, (_NOTHING,) * self.steps)


class Rates:
    """Every method raises ServiceUnavailable when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def roll_up(self) -> bool:
        """Count minutes that are over and not counted yet, an hour of them at most; whether there are more.

        May be called by several at once: they write the same figures.
        """
        with self._database.read() as work:
            counted = rates_counting.count(work)
        if counted is None:
            return False
        self._database.transact(lambda work: rates_counting.write(work, counted))
        return counted.is_behind

    def history(self, direction: Direction, *, steps: int, minutes: int) -> History:
        """What moved, of minutes that are counted.

        Parameters
        ----------
        steps : int
            How many.
        minutes : int
            How long a step is. Steps begin where the clock's minute is divided by that, so that they stay what they are from one
            question to the next; the last one may not be over.
        """
        columns = transfer_rates.c
        with self._database.read() as work:
            last = (work.now // MINUTE_MS - 1) // minutes
            first = last - steps + 1
            step = (columns.minute // minutes).label("step")
            rows = work.connection.execute(
                select(columns.name, step, func.sum(columns.instances), func.sum(columns.bytes))
                .where(columns.direction == direction.value, columns.minute >= first * minutes)
                .group_by(columns.name, step)
            ).all()
        series: dict[str, list[Moved]] = {}
        for name, at, instances, size in rows:
            if first <= at <= last:
                series.setdefault(name, [_NOTHING] * steps)[at - first] = Moved(int(instances), int(size))
        step_ms = minutes * MINUTE_MS
        return History(first * step_ms, step_ms, steps, {name: tuple(of) for name, of in series.items()})

    def arriving(self) -> dict[str, Moved]:
        """What each source sent within `NOW_MS`."""
        with self._database.read() as work:
            return rates_counting.arrived_since(work, work.now - NOW_MS)

    def waiting(self) -> tuple[WorkWaiting, ...]:
        """What waits for workers, by the queue that wakes them."""
        with self._database.read() as work:
            return work_waiting.work_waiting(work)
