"""`dicomrelay send --direct`: from this process to the peer, with no broker and no spool.

Threads take shares (`shares`), `dicomrelay.delivery` sends them, and every instance ends in one result.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from dicomrelay.cli.files import DicomFile
from dicomrelay.cli.shares import Pause, Share, Shares
from dicomrelay.cli.summary import Outcome, Result
from dicomrelay.delivery import Answer, Instance, Target, deliver
from dicomrelay.dicom import status as dimse
from dicomrelay.errors import AssociationError
from dicomrelay.log import get_logger
from dicomrelay.net.outcomes import judge
from dicomrelay.net.requestor import StoreItem

_log = get_logger("dicomrelay.send")

_ARRIVED: Final = frozenset({dimse.Outcome.DELIVERED, dimse.Outcome.WARNING})
_INTERRUPTED: Final = "interrupted"
# How long at most a thread that has nothing to do waits before it looks whether it was interrupted.
_LOOK_EVERY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Order:
    """How it is to be sent.

    Attributes
    ----------
    name : str
        The destination's, for the account.
    threads : int
        Associations at once.
    retries : int
        How many more times what may succeed later is tried.
    pace : callable
        Makes the brake of one thread, or None.
    """

    target: Target
    name: str
    threads: int
    retries: int
    pace: Callable[[], Callable[[int], None] | None] = lambda: None


def send_directly(
    files: Sequence[DicomFile],
    order: Order,
    *,
    interrupted: threading.Event,
    progress: Callable[[int, int], None],
) -> tuple[list[Result], str]:
    """Send every file by C-STORE, studies shared between threads so that none idles while another has studies left.

    Parameters
    ----------
    progress : callable
        Told how many instances have their final answer, and their bytes.

    Returns
    -------
    list of Result, str
        One result a file, and why there was not one answer ("" when there was).

    Raises
    ------
    ConfigurationError
        An AE title or a port that is none.
    """
    sending = _Sending(files, order, interrupted, progress)
    threads = [
        threading.Thread(target=sending.work, args=(number,), name=f"send-{number}")
        for number in range(order.threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sending.finish()


class _Sending:
    """What the threads share."""

    def __init__(
        self,
        files: Sequence[DicomFile],
        order: Order,
        interrupted: threading.Event,
        progress: Callable[[int, int], None],
    ) -> None:
        self._files = files
        self._order = order
        self._interrupted = interrupted
        self._progress = progress
        self._shares = Shares(
            _by_study(files),
            lambda number: files[number].data_set_bytes,
            threads=order.threads,
            retries=order.retries,
        )
        self._changed = threading.Condition()
        self._results: list[Result] = []
        self._answers = 0
        self._done = 0  # with their final answer
        self._done_bytes = 0
        self._problem = ""
        self._fault: BaseException | None = None

    def work(self, thread: int) -> None:
        """Take shares until there are none."""
        pace = self._order.pace()
        try:
            while not self._interrupted.is_set():
                with self._changed:
                    step = self._shares.take(thread, time.monotonic())
                    if isinstance(step, Pause):
                        self._changed.wait(min(step.seconds, _LOOK_EVERY_S))
                        self._progress(self._done, self._done_bytes)  # the rate falls meanwhile
                if step is None:
                    return
                if isinstance(step, Share):
                    self._send(step, pace)
        except BaseException as fault:  # noqa: BLE001 - the edge of a thread: raised again where it was started
            with self._changed:
                self._fault = self._fault or fault
                self._interrupted.set()
                self._changed.notify_all()

    def finish(self) -> tuple[list[Result], str]:
        """The account, once the threads have ended."""
        if self._fault is not None:
            raise self._fault
        reason = self._shares.closed or (_INTERRUPTED if self._interrupted.is_set() else "")
        self._results += [self._not_sent(number, reason) for number in self._shares.rest()]
        return self._results, "" if self._answers else self._problem

    # ---- inside

    def _send(self, share: Share, pace: Callable[[int], None] | None) -> None:
        instances = [Instance(str(number), _item(self._files[number])) for number in share.left]
        problem, permanent = "", False
        try:
            deliver(
                instances,
                self._order.target,
                locate=lambda instance: self._files[int(instance.key)].path,
                answered=lambda answer: self._answered(share, answer),
                keep_going=lambda: not self._interrupted.is_set(),
                pace=pace,
                opened=share.note_open,
            )
        except AssociationError as error:
            problem, permanent = str(error), judge(error).outcome is dimse.Outcome.REFUSED
            _log.warning("association failed", reason=problem, left=len(share.left))
        with self._changed:
            self._problem = self._problem or problem
            for number in self._shares.end(share, time.monotonic(), problem, permanent=permanent):
                self._results.append(self._not_sent(number, problem or _INTERRUPTED))
            self._changed.notify_all()

    def _answered(self, share: Share, answer: Answer) -> None:
        number = int(answer.key)
        retry = answer.outcome is dimse.Outcome.RETRY
        with self._changed:
            self._answers += 1
            again = self._shares.answer(share, number, time.monotonic(), retry=retry)
            if not again:
                self._done += 1
                self._done_bytes += self._files[number].data_set_bytes
                self._results.append(self._result(number, answer))
                self._progress(self._done, self._done_bytes)
        _log.log(
            logging.DEBUG if answer.outcome is dimse.Outcome.DELIVERED else logging.WARNING,
            answer.outcome.value,
            sop_instance_uid=self._files[number].sop_instance_uid,
            status=None if answer.status is None else f"0x{answer.status:04X}",
            reason=answer.words,
            association_id=answer.association_id,
            bytes=answer.sent_bytes,
            seconds=round(answer.seconds, 6),
            again=again,
        )

    def _result(self, number: int, answer: Answer) -> Result:
        file = self._files[number]
        state = "gave up" if answer.outcome is dimse.Outcome.RETRY else answer.outcome.value
        return Result(
            sop_instance_uid=file.sop_instance_uid,
            study_instance_uid=file.study_instance_uid,
            destination=self._order.name,
            state=state,
            outcome=Outcome.DELIVERED if answer.outcome in _ARRIVED else Outcome.FAILED,
            status=answer.status,
            reason=answer.words,
            comment=answer.comment,
            bytes=answer.sent_bytes or file.data_set_bytes,
            seconds=round(answer.seconds, 6),
            attempts=max(1, self._shares.attempts(number) + (answer.outcome in _ARRIVED)),
            transfer_syntax_uid=answer.transfer_syntax_uid,
            path=str(file.path),
        )

    def _not_sent(self, number: int, reason: str) -> Result:
        file = self._files[number]
        return Result(
            sop_instance_uid=file.sop_instance_uid,
            study_instance_uid=file.study_instance_uid,
            destination=self._order.name,
            state="not sent",
            outcome=Outcome.NOT_SENT if reason == _INTERRUPTED else Outcome.FAILED,
            status=None,
            reason=reason,
            bytes=file.data_set_bytes,
            seconds=0.0,
            attempts=self._shares.attempts(number),
            path=str(file.path),
        )


def _by_study(files: Sequence[DicomFile]) -> list[list[int]]:
    studies: dict[str, list[int]] = {}
    for number, file in enumerate(files):
        studies.setdefault(file.study_instance_uid or file.sop_instance_uid, []).append(number)
    return list(studies.values())


def _item(file: DicomFile) -> StoreItem:
    return StoreItem(
        sop_class_uid=file.sop_class_uid,
        sop_instance_uid=file.sop_instance_uid,
        transfer_syntax_uid=file.transfer_syntax_uid,
        path=file.path,
        data_set_offset=file.data_set_offset,
        data_set_bytes=file.data_set_bytes,
    )
