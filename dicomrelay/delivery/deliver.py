"""Sends a batch of instances to one peer over one association after another, and says what became of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from errno import ENOENT
from pathlib import Path
from time import monotonic

from dicomrelay.delivery.answers import answer_of, not_accepted, not_readable
from dicomrelay.delivery.values import Answer, Instance, Target
from dicomrelay.errors import SpoolError
from dicomrelay.net.requestor import Association, StoreItem, contexts_for
from dicomrelay.net.service import StoreReply

# Finds the file of an instance; may check its bytes.
Locate = Callable[[Instance], Path]
Pace = Callable[[int], None]


def deliver(
    instances: Sequence[Instance],
    target: Target,
    *,
    locate: Locate,
    answered: Callable[[Answer], None],
    keep_going: Callable[[], bool],
    pace: Pace | None = None,
) -> None:
    """Send what is given, until all is answered or there is to be no more.

    Parameters
    ----------
    instances : sequence of Instance
        Sent in this order, as far as they share an association.
    locate : callable
        Where the file of an instance is, asked just before it is sent. It may raise SpoolCorrupt (refused for good),
        another SpoolError or an OSError (to be tried again); a FileNotFoundError makes it asked once more.
    answered : callable
        Told of each instance once, in the caller's thread.
    keep_going : callable
        Asked before each instance; after a no nothing more is begun.
    pace : callable, optional
        Called with a number of bytes before they are sent; it may wait.

    Raises
    ------
    AssociationError
        No association came about, or one died; what was answered by then was told.
    ConfigurationError
        An AE title or a port that is none.
    """
    for contexts in contexts_for(instance.item for instance in instances):
        ours = {(abstract, syntax) for abstract, syntaxes in contexts for syntax in syntaxes}
        group = [
            each for each in instances if (each.item.sop_class_uid, each.item.transfer_syntax_uid) in ours
        ]
        with Association.request(
            target.remote,
            calling_ae_title=target.calling_ae_title,
            contexts=contexts,
            timeouts=target.timeouts,
            identity=target.identity,
            window=target.window,
        ) as association:
            sending = _Sending(
                association, locate=locate, answered=answered, keep_going=keep_going, pace=pace
            )
            if not sending.send(group):
                return


class _Sending:
    """The instances of one association."""

    def __init__(
        self,
        association: Association,
        *,
        locate: Locate,
        answered: Callable[[Answer], None],
        keep_going: Callable[[], bool],
        pace: Pace | None,
    ) -> None:
        self._association = association
        self._locate = locate
        self._answered = answered
        self._keep_going = keep_going
        self._pace = pace
        # By identity: an instance may be given twice, and its items are then equal.
        self._in_hand: dict[int, tuple[Instance, StoreItem, float]] = {}
        self._answered_at = monotonic()
        self._stopped = False

    def send(self, instances: Sequence[Instance]) -> bool:
        """Send them; whether all were begun."""
        # What is not where it was a moment ago has been moved: once more, from where it is now.
        moved = self._send(instances)
        for instance in self._send(moved):
            self._answered(not_readable(instance, FileNotFoundError(ENOENT, "its file is being moved")))
        return not self._stopped

    def _send(self, instances: Iterable[Instance]) -> list[Instance]:
        """Send them, and say which files were gone when they were opened."""
        gone: list[Instance] = []
        for item, reply in self._association.stores(self._items(instances), pace=self._pace):
            instance, _, begun_at = self._in_hand.pop(id(item))
            if isinstance(reply, FileNotFoundError):
                gone.append(instance)
            elif isinstance(reply, StoreReply):
                self._tell(instance, item, reply, begun_at)
            else:
                self._answered(not_readable(instance, reply))
        return gone

    def _items(self, instances: Iterable[Instance]) -> Iterator[StoreItem]:
        """What the association takes up next; drawn from while the answer to the one before is awaited."""
        for instance in instances:
            if not self._keep_going():
                self._stopped = True
                return
            item = self._prepared(instance)
            if item is not None:
                self._in_hand[id(item)] = (instance, item, monotonic())
                yield item

    def _prepared(self, instance: Instance) -> StoreItem | None:
        """The instance as it can be sent, or None when it cannot, and that was told."""
        wanted = (instance.item.sop_class_uid, instance.item.transfer_syntax_uid)
        if wanted not in self._association.accepted:
            self._answered(not_accepted(instance, self._association.id))
            return None
        try:
            return replace(instance.item, path=self._located(instance))
        except (OSError, SpoolError) as error:
            self._answered(not_readable(instance, error))
            return None

    def _located(self, instance: Instance) -> Path:
        try:
            return self._locate(instance)
        except FileNotFoundError:
            return self._locate(instance)

    def _tell(self, instance: Instance, sent: StoreItem, reply: StoreReply, begun_at: float) -> None:
        now = monotonic()
        # It may have been prepared while the one before was under way: that time is not its own.
        seconds = now - max(begun_at, self._answered_at)
        self._answered_at = now
        self._answered(answer_of(instance, sent, reply, association_id=self._association.id, seconds=seconds))
