"""Tells the ledger what an attempt learned about its destination, and the workers when one is back."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from dicomrelay.errors import RelayError
from dicomrelay.ledger.breaker import BreakerPolicy, BreakerState, Contact
from dicomrelay.ledger.values import ClaimedTransfer
from dicomrelay.log import get_logger
from workers.attempt import Problem
from workers.complete import spark
from workers.rooms import Rooms

_log = get_logger("dicomrelay.forward")
# Who asks to be left alone for so long is asked by nobody meanwhile; for less, this transfer waits.
_LONG_S: Final = 10.0
# A jitter makes waits shorter, up to the half; of this one nothing may go.
_THE_WHOLE_WAIT: Final = 0.9999


class Contacts:
    """For one attempt. A failure is told once, and that the destination answered only when it was in trouble."""

    def __init__(
        self,
        rooms: Rooms,
        destination: str,
        policy: BreakerPolicy,
        *,
        adaptive: bool,
        in_trouble: bool,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._rooms = rooms
        self._destination = destination
        self._policy = policy
        self._adaptive = adaptive
        self._jitter = jitter
        self._in_trouble = in_trouble
        self._answers = 0

    def answered(self) -> None:
        """The peer answered something."""
        self._answers += 1
        if not self._in_trouble:
            return
        self._in_trouble = False
        name = self._destination
        if self._rooms.ledger.flow.reached(name):
            _log.info("destination is back", destination=name)
            self._spark_others()

    def ended(self, problem: Problem | None) -> bool:
        """The attempt is over; whether the destination's breaker is open now, so that the probe says when to go on."""
        if problem is not None and problem.not_before_s >= _LONG_S:
            return self._left_alone(problem)
        contact = problem.contact if problem and not self._answers else Contact.NONE
        if contact is Contact.REACHED:
            self.answered()
        if problem is None or contact in (Contact.NONE, Contact.REACHED):
            return False
        flow, name = self._rooms.ledger.flow, self._destination
        tell = flow.turned_away if contact is Contact.TURNED_AWAY and self._adaptive else flow.failed
        state = tell(name, policy=self._policy, jitter=self._jitter(), error=problem.reason)
        if state is BreakerState.OPEN:
            _log.warning("destination is left alone but for probes", destination=name, reason=problem.reason)
        return state is not BreakerState.CLOSED

    def _left_alone(self, problem: Problem) -> bool:
        """It said for how long, and means all transfers."""
        policy, jitter = self._waits(problem)
        state = self._rooms.ledger.flow.failed(
            self._destination, policy=replace(policy, failures=1), jitter=jitter, error=problem.reason
        )
        _log.warning(
            "destination is left alone, as it asks",
            destination=self._destination,
            seconds=problem.not_before_s,
            reason=problem.reason,
        )
        return state is not BreakerState.CLOSED

    def probe_failed(self, claimed: ClaimedTransfer, problem: Problem) -> None:
        """The question before a trial failed: the transfer is handed back."""
        policy, jitter = self._waits(problem)
        self._rooms.ledger.flow.probe_failed(claimed, policy=policy, jitter=jitter, error=problem.reason)
        _log.info("probe failed", destination=self._destination, reason=problem.reason)

    def _waits(self, problem: Problem) -> tuple[BreakerPolicy, float]:
        """How long a breaker stays open now: as long as the destination asks, where it asks for long."""
        seconds = problem.not_before_s
        if seconds < _LONG_S:
            return self._policy, self._jitter()
        return replace(self._policy, initial_s=seconds, maximum_s=seconds), _THE_WHOLE_WAIT

    def _spark_others(self) -> None:
        """What waited for it is due now: more than this runner may take it up."""
        try:
            for transfer in self._rooms.ledger.due(limit=64, destination=self._destination).transfers:
                spark(self._rooms, transfer)
        except RelayError as error:  # the sweeper will
            _log.warning("not woken, the sweeper will", reason=str(error))
