"""Whether a running transfer goes on: asked between two instances."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from dicomrelay.errors import RelayError
from dicomrelay.ledger.handing_back import Signal
from dicomrelay.ledger.values import ClaimedTransfer
from workers.lease import LeaseKeeper

_ASK_EVERY_S: Final = 0.5


def _go_on(_claimed: ClaimedTransfer) -> Signal:
    return Signal.GO_ON


class Watch:
    """Says to go on, until there is a reason not to; then hands the transfer back.

    Parameters
    ----------
    signal, give_way : callable
        The ledger's word, asked twice a second (`Flow.signal`, `Flow.give_way`).
    hand_back : callable
        `Flow.hand_back`.
    is_open : callable
        Whether the destination's time windows allow to send now.
    is_stopping : callable
        Whether this process is to end.
    """

    def __init__(
        self,
        claimed: ClaimedTransfer,
        lease: LeaseKeeper,
        *,
        signal: Callable[[ClaimedTransfer], Signal] = _go_on,
        give_way: Callable[[ClaimedTransfer], bool] = lambda _: False,
        hand_back: Callable[[ClaimedTransfer, str], bool] = lambda *_: False,
        is_open: Callable[[], bool] = lambda: True,
        is_stopping: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._claimed = claimed
        self._lease = lease
        self._signal = signal
        self._give_way = give_way
        self._hand_back = hand_back
        self._is_open = is_open
        self._is_stopping = is_stopping
        self._clock = clock
        self._ask_at = clock() + _ASK_EVERY_S
        self._to_others = False
        self.why = ""
        """Why it does not go on; "" while it does, and when the lease is lost."""

    def goes_on(self) -> bool:
        """Whether to begin another instance."""
        if self._lease.lost:
            return False
        if self._is_stopping():
            self.why = "the worker ends"
        now = self._clock()
        if not self.why and now >= self._ask_at:
            self._ask_at = now + _ASK_EVERY_S
            self._ask()
        return not self.why and not self._lease.lost

    def hands_back(self) -> bool:
        """Hand it back, when nothing is under way and all that was answered is written.

        False when there is no need any more, and when it is not ours any more: its lease is lost then.
        """
        if self._to_others:
            if not self._give_way(self._claimed):  # another one did
                self.why, self._to_others = "", False
                return False
            return True
        handed_back = self._hand_back(self._claimed, self.why)
        if not handed_back:
            self._lease.give_up()
        return handed_back

    def _ask(self) -> None:
        if not self._is_open():
            self.why = "outside of the time windows"
            return
        try:
            said = self._signal(self._claimed)
        except RelayError:  # a ledger that is away for a moment
            return
        if said is Signal.LOST:
            self._lease.give_up()
        elif said is Signal.GIVE_WAY:
            self.why, self._to_others = "gives way", True
