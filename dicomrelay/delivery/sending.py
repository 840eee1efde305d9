"""Instances that share their presentation contexts: each as it is, or as a copy, or not at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from errno import ENOENT
from functools import partial
from time import monotonic

from dicomrelay.delivery.answers import answer_of, not_accepted, not_readable, not_transcodable
from dicomrelay.delivery.preparing import Preparation, Wanted
from dicomrelay.delivery.values import Answer, Instance
from dicomrelay.errors import AssociationError, NotEditable, NotTranscodable, RelayError, SpoolError
from dicomrelay.net.outgoing_store import StoreItem
from dicomrelay.net.service import StoreChannel, StoreReply


@dataclass(frozen=True, slots=True)
class _InHand:
    """What the association has taken up."""

    wanted: Wanted
    item: StoreItem
    begun_at: float


class _NoMore(Exception):
    """There is to be no more, and what was prepared is not begun."""


class Sending:
    """Sends instances over one association after another, and tells what came of each.

    Parameters
    ----------
    longest_pause_s : float
        An association that had to wait so long for the next instance is given up, and that instance goes over another.
    """

    def __init__(
        self,
        instances: Sequence[Instance],
        preparation: Preparation,
        *,
        answered: Callable[[Answer], None],
        keep_going: Callable[[], bool],
        pace: Callable[[int], None] | None,
        longest_pause_s: float,
    ) -> None:
        self._left = deque(Wanted(instance) for instance in instances)
        self._preparation = preparation
        self._answered = answered
        self._keep_going = keep_going
        self._pace = pace
        self._longest_pause_s = longest_pause_s
        # By identity: an instance may be given twice, and its items are then equal.
        self._in_hand: dict[int, _InHand] = {}
        self._answered_at = monotonic()
        self._is_prepared = False  # an instance that no byte was sent of
        self._is_given_up = False  # the association, for another
        self.stopped = False  # by `keep_going`

    @property
    def under_way(self) -> list[Instance]:
        """What was begun and is not answered: once an association has died, the peer may or may not have it."""
        taken = [each.wanted.instance for each in self._in_hand.values()]
        return taken[:-1] if self._is_prepared else taken

    def find_next(self) -> bool:
        """Find the file of the next instance while no association waits for it; whether there is one to send."""
        while self._left and not self.stopped:
            if not self._keep_going():
                self.stopped = True
                break
            wanted = self._left[0]
            try:
                self._preparation.find(wanted)
            except (NotEditable, OSError, SpoolError) as error:
                self._left.popleft()
                self._answered(not_readable(wanted.instance, error))
            else:
                return True
        return False

    def send(self, association: StoreChannel) -> None:
        """Send what is left; some may be left afterwards, for another association.

        Raises
        ------
        AssociationError
            The association died.
        """
        self._is_given_up = False
        try:
            pace = partial(self._before_bytes, association)
            for item, reply in association.stores(self._items(association), pace=pace):
                taken = self._in_hand.pop(id(item))
                if not isinstance(reply, StoreReply):  # the last that was taken up, and it is not any more
                    self._is_prepared = False
                self._tell(taken, reply, association.id)
                self._preparation.discard(taken.wanted)
        except _NoMore:
            return
        except AssociationError:
            # The peer has lost patience before we gave it up, and everything that it took up is answered.
            if not self._is_given_up or self._in_hand:
                raise

    def _items(self, association: StoreChannel) -> Iterator[StoreItem]:
        """What the association takes up next; drawn from while the answer to the one before is awaited."""
        waits_since = monotonic()
        while self._left:
            wanted = self._left[0]
            if not self._keep_going():
                self.stopped = True
                return
            item = self._prepared(wanted, association)
            if item is None:
                self._left.popleft()
                continue
            now = monotonic()
            if now - waits_since > self._longest_pause_s and not wanted.was_awaited:
                # It is ready now, and stays so: the next association need not wait.
                wanted.was_awaited = self._is_given_up = True
                return
            self._left.popleft()
            self._is_prepared = True
            self._in_hand[id(item)] = _InHand(wanted, item, now)
            yield item
            waits_since = monotonic()

    def _prepared(self, wanted: Wanted, association: StoreChannel) -> StoreItem | None:
        """The instance as it can be sent, or None when it cannot, and that was told."""
        instance = wanted.instance
        syntaxes = self._preparation.syntaxes(wanted)
        accepted = {each for each in syntaxes if (instance.item.sop_class_uid, each) in association.accepted}
        if not accepted:
            self._answered(
                not_accepted(
                    instance, association.id, offered=len(syntaxes) - 1, may_copy=self._preparation.may_copy
                )
            )
            return None
        try:
            return self._preparation.item(wanted, accepted)
        except (NotEditable, OSError, SpoolError) as error:
            self._answered(not_readable(instance, error))
        except NotTranscodable as error:
            self._answered(not_transcodable(instance, error, association.id))
        return None

    def _before_bytes(self, association: StoreChannel, count: int) -> None:
        """Bytes are to be sent: the last moment not to begin an instance, when nothing else is under way."""
        if self._is_prepared and not association.outstanding and not self._keep_going():
            self.stopped = True
            raise _NoMore
        self._is_prepared = False
        if self._pace is not None:
            self._pace(count)

    def _tell(self, taken: _InHand, reply: StoreReply | RelayError | OSError, association_id: str) -> None:
        wanted = taken.wanted
        if isinstance(reply, StoreReply):
            self._tell_reply(taken, reply, association_id)
        elif not isinstance(reply, FileNotFoundError):
            self._answered(not_readable(wanted.instance, reply))
        elif wanted.was_gone:
            gone = FileNotFoundError(ENOENT, "its file is being moved")
            self._answered(not_readable(wanted.instance, gone))
        else:
            # What is not where it was a moment ago has been moved: once more, from where it is then.
            self._left.append(Wanted(wanted.instance, was_gone=True, was_awaited=wanted.was_awaited))

    def _tell_reply(self, taken: _InHand, reply: StoreReply, association_id: str) -> None:
        now = monotonic()
        # It may have been prepared while the one before was under way: that time is not its own.
        seconds = now - max(taken.begun_at, self._answered_at)
        self._answered_at = now
        self._answered(
            answer_of(
                taken.wanted.instance,
                taken.item,
                reply,
                association_id=association_id,
                seconds=seconds,
                digest=taken.wanted.digest,
                edits=taken.wanted.edits,
            )
        )
