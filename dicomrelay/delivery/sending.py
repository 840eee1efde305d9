"""The instances of one association: each as it is, or as a copy, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from errno import ENOENT
from pathlib import Path
from time import monotonic

from dicomrelay.delivery.answers import answer_of, not_accepted, not_readable, not_transcodable
from dicomrelay.delivery.contexts import Alternatives
from dicomrelay.delivery.values import Answer, Instance
from dicomrelay.errors import NotTranscodable, SpoolError
from dicomrelay.net.requestor import Association, StoreItem
from dicomrelay.net.service import StoreReply
from dicomrelay.transcode import Copy, Source, Workshop


@dataclass(frozen=True, slots=True)
class _InHand:
    """What the association has taken up."""

    instance: Instance
    item: StoreItem
    copy: Copy | None
    begun_at: float


class _NoMore(Exception):
    """There is to be no more, and what was prepared is not begun."""


class Sending:
    """Prepares what one association asks for, and tells what came of it."""

    def __init__(
        self,
        association: Association,
        workshop: Workshop | None,
        alternatives: Alternatives,
        *,
        locate: Callable[[Instance], Path],
        answered: Callable[[Answer], None],
        keep_going: Callable[[], bool],
        pace: Callable[[int], None] | None,
    ) -> None:
        self._association = association
        self._workshop = workshop
        self._alternatives = alternatives
        self._locate = locate
        self._answered = answered
        self._keep_going = keep_going
        self._pace = pace
        # By identity: an instance may be given twice, and its items are then equal.
        self._in_hand: dict[int, _InHand] = {}
        self._answered_at = monotonic()
        self._stopped = False
        self._is_prepared = False  # an instance that no byte was sent of

    def send(self, instances: Sequence[Instance]) -> bool:
        """Send them; whether all were begun.

        Raises
        ------
        AssociationError
            The association died.
        """
        # What is not where it was a moment ago has been moved: once more, from where it is now.
        with suppress(_NoMore):
            moved = self._send(instances)
            for instance in self._send(moved):
                self._answered(not_readable(instance, FileNotFoundError(ENOENT, "its file is being moved")))
        return not self._stopped

    def _send(self, instances: Iterable[Instance]) -> list[Instance]:
        """Send them, and say which files were gone when they were opened."""
        gone: list[Instance] = []
        for item, reply in self._association.stores(self._items(instances), pace=self._before_bytes):
            taken = self._in_hand.pop(id(item))
            if isinstance(reply, FileNotFoundError):
                gone.append(taken.instance)
            elif isinstance(reply, StoreReply):
                self._tell(taken, reply)
            else:
                self._answered(not_readable(taken.instance, reply))
            if taken.copy is not None and self._workshop is not None:
                self._workshop.discard(taken.copy)
        return gone

    def _items(self, instances: Iterable[Instance]) -> Iterator[StoreItem]:
        """What the association takes up next; drawn from while the answer to the one before is awaited."""
        for instance in instances:
            if not self._keep_going():
                self._stopped = True
                return
            prepared = self._prepared(instance)
            if prepared is not None:
                item, copy = prepared
                self._is_prepared = True
                self._in_hand[id(item)] = _InHand(instance, item, copy, monotonic())
                yield item

    def _prepared(self, instance: Instance) -> tuple[StoreItem, Copy | None] | None:
        """The instance as it can be sent, or None when it cannot, and that was told."""
        item = instance.item
        offered = self._alternatives(item)
        accepted = [
            syntax
            for syntax in (item.transfer_syntax_uid, *offered)
            if (item.sop_class_uid, syntax) in self._association.accepted
        ]
        if not accepted:
            self._answered(not_accepted(instance, self._association.id, offered=len(offered)))
            return None
        try:
            item = replace(item, path=self._located(instance))
            if accepted[0] == item.transfer_syntax_uid or self._workshop is None:
                return item, None
            return self._copied(self._workshop, item, accepted[0])
        except NotTranscodable as error:
            self._answered(not_transcodable(instance, error, self._association.id))
        except (OSError, SpoolError) as error:
            self._answered(not_readable(instance, error))
        return None

    def _located(self, instance: Instance) -> Path:
        try:
            return self._locate(instance)
        except FileNotFoundError:
            return self._locate(instance)

    def _copied(
        self, workshop: Workshop, item: StoreItem, transfer_syntax_uid: str
    ) -> tuple[StoreItem, Copy]:
        source = Source(item.path, item.data_set_offset, item.data_set_bytes, item.transfer_syntax_uid)
        copy = workshop.copy(source, transfer_syntax_uid, waiting=self._moved)
        as_sent = replace(
            item,
            transfer_syntax_uid=transfer_syntax_uid,
            path=copy.path,
            data_set_offset=0,
            data_set_bytes=copy.length,
        )
        return as_sent, copy

    def _before_bytes(self, count: int) -> None:
        """Bytes are to be sent: the last moment not to begin an instance, when nothing else is under way."""
        if self._is_prepared and len(self._in_hand) == 1 and not self._keep_going():
            self._stopped = True
            raise _NoMore
        self._is_prepared = False
        if self._pace is not None:
            self._pace(count)

    def _moved(self) -> None:
        """A copy is being made: that is progress too, for whoever holds a lease."""
        if self._pace is not None:
            self._pace(0)

    def _tell(self, taken: _InHand, reply: StoreReply) -> None:
        now = monotonic()
        # It may have been prepared while the one before was under way: that time is not its own.
        seconds = now - max(taken.begun_at, self._answered_at)
        self._answered_at = now
        self._answered(
            answer_of(
                taken.instance,
                taken.item,
                reply,
                association_id=self._association.id,
                seconds=seconds,
                digest=taken.copy.digest if taken.copy is not None else "",
            )
        )
