"""Which instances of a transfer share an association, so that one that ends associations holds up no other.

No I/O here: the caller sends what it is given, and says what came of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import Final

from dicomrelay.ledger.values import PendingDelivery

# So many associations that died in a row without one answer: it is the peer or the line, and that is enough for now.
_DEATHS_IN_A_ROW: Final = 3


class Plan:
    """One attempt at a transfer, as batches for one association after another.

    First those that no association died over, together. What was under way when one dies is a suspect: the others go on
    without it. Suspects come last, each in an association of its own; one that was alone under way has had its try
    already, and waits for the next attempt. So an attempt tries an instance twice at most.

    Parameters
    ----------
    pending : sequence of PendingDelivery
        In the order in which they are to go.
    """

    def __init__(self, pending: Sequence[PendingDelivery]) -> None:
        self._together = dict.fromkeys(each.instance.instance_id for each in pending if not each.suspect)
        self._alone = deque(each.instance.instance_id for each in pending if each.suspect)
        self._deaths = 0

    def next_batch(self) -> list[str]:
        """The instance ids for the next association; none when the attempt is over."""
        if self._deaths >= _DEATHS_IN_A_ROW:
            return []
        if self._together:
            return list(self._together)
        return [self._alone.popleft()] if self._alone else []

    def answered(self, instance_id: str) -> None:
        """It is known what became of it."""
        self._together.pop(instance_id, None)
        self._deaths = 0

    def is_through(self, batch: Collection[str]) -> bool:
        """Whether nothing of a batch is left to send, nor anything behind it."""
        return not self._alone and not any(instance_id in self._together for instance_id in batch)

    def sent(self, batch: Collection[str]) -> None:
        """The association ended in good order: what it left unanswered is for the next attempt."""
        for instance_id in batch:
            self._together.pop(instance_id, None)

    def died(self, under_way: Collection[str]) -> None:
        """The association died while these, one or more, were under way."""
        self._deaths += 1
        for instance_id in under_way:
            self._together.pop(instance_id, None)
        if len(under_way) > 1:
            self._alone.extend(under_way)
