"""Instances to a web service: requests of several instances, several at once, and what came of each instance."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final

from dicomrelay.delivery.answers import not_readable
from dicomrelay.delivery.preparing import Preparation, Wanted
from dicomrelay.delivery.values import Answer, Instance
from dicomrelay.delivery.web_answers import (
    SPLITS,
    WAS_UNDER_WAY,
    answers_of,
    is_as_a_whole,
    is_even,
    refused_alone,
    was_under_way,
)
from dicomrelay.delivery.web_batches import Batch, Ready, fits, halves
from dicomrelay.errors import AssociationError, NotEditable, SpoolError
from dicomrelay.web.body import NotReadable
from dicomrelay.web.stow import StowClient, Stowed, new_request_id
from dicomrelay.web.values import WebPeer

# So many instances that were refused alone, one after the other with the same status: it is the service.
_ALONE_IN_A_ROW: Final = 3
_TOO_LONG: Final = 413


@dataclass(frozen=True, slots=True)
class _Request:
    id: str
    batch: Batch


class WebSending:
    """Sends instances as `deliver` does, whose parameters these are; everything but the requests is in the caller's thread."""

    def __init__(
        self,
        instances: Sequence[Instance],
        peer: WebPeer,
        preparation: Preparation,
        *,
        answered: Callable[[Answer], None],
        keep_going: Callable[[], bool],
        pace: Callable[[int], None] | None,
        opened: Callable[[], None],
        unanswered: Callable[[Sequence[Instance], AssociationError, str], None],
    ) -> None:
        self._left = deque(Wanted(instance) for instance in instances)
        self._peer = peer
        self._preparation = preparation
        self._answered = answered
        self._keep_going = keep_going
        self._pace = pace
        self._pacing = threading.Lock()
        self._opened = opened
        self._unanswered = unanswered
        self._open: list[Ready] = []  # the batch that is being made
        self._ready: deque[Batch] = deque()
        self._stopped = False
        self._is_opened = False
        self._alone = (0, 0)  # the status that instances alone got last, and how often in a row

    def send(self) -> None:
        """Send all, as far as it goes.

        Raises
        ------
        AssociationError
            The service is not there, or answers that nothing can be stored; what was answered by then was told.
        ConfigurationError
            A file of its credentials cannot be read.
        """
        most = self._peer.policy.parallel_requests
        running: dict[Future[Stowed], _Request] = {}
        fault: BaseException | None = None
        with StowClient(self._peer, connections=most) as client, ThreadPoolExecutor(most) as pool:
            while True:
                if fault is None:
                    self._prepare(enough=lambda: any(future.done() for future in running))
                    if len(running) < most and (batch := self._next()):
                        request = _Request(new_request_id(), batch)
                        items = [each.item for each in batch]
                        running[pool.submit(client.store, items, request.id, self._paced)] = request
                        continue
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    settled = self._settle(running.pop(future), future, client)
                    fault = fault or settled
        self._discard_the_rest()
        if fault is not None:
            raise fault

    def _prepare(self, enough: Callable[[], bool]) -> None:
        """Prepare one instance after the other until a batch is ready, unless there is something else to do."""
        while not self._ready and not self._stopped and not enough():
            if not self._left:
                self._close_batch()
                return
            if not self._keep_going():
                self._stopped = True
                return
            wanted = self._left.popleft()
            try:
                self._preparation.find(wanted)
                item = self._preparation.item(wanted, self._preparation.syntaxes(wanted)[:1])
                is_even(item)
            except (NotEditable, OSError, SpoolError) as error:
                self._answered(not_readable(wanted.instance, error))
                continue
            ready = Ready(wanted, item)
            if not fits(self._open, ready, self._peer.policy):
                self._close_batch()
            self._open.append(ready)
            if len(self._open) >= self._peer.policy.batch_instances:
                self._close_batch()

    def _close_batch(self) -> None:
        if self._open:
            self._ready.append(tuple(self._open))
            self._open = []

    def _next(self) -> Batch | None:
        if not self._ready or self._stopped:
            return None
        if not self._keep_going():
            self._stopped = True
            return None
        return self._ready.popleft()

    def _paced(self, count: int) -> None:
        """In the thread of a request; a pace serves one at a time."""
        if self._pace is not None:
            with self._pacing:
                self._pace(count)

    def _settle(self, request: _Request, future: Future[Stowed], client: StowClient) -> BaseException | None:
        """Tell what came of a request; why there is to be no other."""
        error = future.exception()
        if error is None:
            return self._settle_answer(request, future.result(), client)
        if isinstance(error, NotReadable):
            self._without(request.batch, error)
            return None
        if isinstance(error, AssociationError) and was_under_way(error):
            self._tell_unanswered(request, error)
        self._discard(request.batch)
        return error

    def _settle_answer(
        self, request: _Request, stowed: Stowed, client: StowClient
    ) -> AssociationError | None:
        if not self._is_opened:
            self._is_opened = True
            self._opened()
        batch = request.batch
        if not is_as_a_whole(stowed):
            self._alone = (0, 0)
            for answer in answers_of(batch, stowed, request.id):
                self._answered(answer)
            self._discard(batch)
            return None
        if stowed.status in SPLITS and len(batch) > 1:
            self._ready.extendleft(reversed(halves(batch)))
            return None
        refused = client.refused(stowed.status, stowed.retry_after_s)
        if stowed.status in SPLITS:
            self._answered(refused_alone(batch[0], stowed, request.id))
            self._discard(batch)
            return refused if self._is_enough(stowed.status) else None
        if stowed.status in WAS_UNDER_WAY:
            self._tell_unanswered(request, refused)
        self._discard(batch)
        return refused

    def _is_enough(self, status: int) -> bool:
        """Whether so many alone were refused that it is the service, and more would only be refused too."""
        before, count = self._alone
        self._alone = (status, count + 1 if status == before else 1)
        return (
            status != _TOO_LONG
            and self._alone[1] >= _ALONE_IN_A_ROW
            and bool(self._left or self._open or self._ready)
        )

    def _without(self, batch: Batch, fault: NotReadable) -> None:
        """The request ended within an instance that cannot be read: the others go out in another one."""
        culprit = batch[fault.number].wanted
        others = tuple(each for each in batch if each.wanted is not culprit)
        if others:
            self._ready.appendleft(others)
        self._preparation.discard(culprit)
        if isinstance(fault.error, FileNotFoundError) and not culprit.was_gone:
            self._left.append(Wanted(culprit.instance, was_gone=True))
        else:
            self._answered(not_readable(culprit.instance, fault.error))

    def _tell_unanswered(self, request: _Request, error: AssociationError) -> None:
        self._unanswered([each.wanted.instance for each in request.batch], error, request.id)

    def _discard(self, batch: Sequence[Ready]) -> None:
        for each in batch:
            self._preparation.discard(each.wanted)

    def _discard_the_rest(self) -> None:
        for batch in (*self._ready, self._open):
            self._discard(batch)
