"""The responses to one C-FIND, whatever is looked into: one answer after the other, with an end to all of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

from dicomrelay.dicom.query_status import CANCELLED, PENDING, PENDING_UNSUPPORTED_KEYS
from dicomrelay.dicom.status import Status
from dicomrelay.dimse.messages import CFindResponse
from dicomrelay.errors import RelayError, ServiceUnavailable
from dicomrelay.log import get_logger
from dicomrelay.net.provided_operations import failure
from dicomrelay.net.service import Answer, AssociationInfo, RequestedOperation
from scp_gateway.audited import Witness
from scp_gateway.query.ahead import Ahead
from scp_gateway.query.question import Refusal

_log = get_logger("dicomrelay.gateway")
_T = TypeVar("_T")

# Questions at once in a listener process. One whose database is frozen goes on to count.
MOST_AT_ONCE: Final = 64
# While nothing matches the peer is listened to so often.
_HEAR_EVERY_S: Final = 0.2

_SUCCESS: Final = Refusal(Status.SUCCESS, "")
_CANCELLED: Final = Refusal(CANCELLED, "")
_TOO_MANY: Final = Refusal(Status.OUT_OF_RESOURCES, "too many queries at once, ask again later")


@dataclass(frozen=True, slots=True)
class Asked(Generic[_T]):
    """A question that can be answered.

    Attributes
    ----------
    matches : callable
        Looks for what matches, in a thread of its own; is given a callable that says whether anybody still waits.
    identifier : callable
        The bytes of the answer for one match.
    leaves_out_keys : bool
        Some keys are neither matched nor answered: every answer says so (FF01).
    keys : sequence of str
        Keywords of what is matched by, for the audit: names, no value.
    """

    matches: Callable[[Callable[[], bool]], Generator[_T, None, None]]
    identifier: Callable[[_T], bytes]
    leaves_out_keys: bool
    keys: Sequence[str] = ()


Read: TypeAlias = Callable[[], "Asked[_T] | Refusal"]


@dataclass(slots=True)
class _Progress:
    """What a question has come to, for its line in the log."""

    began: float
    answers: int = 0
    status: int | None = None
    why: str = ""
    keys: Sequence[str] = ()


class Answering(Generic[_T]):
    """Answers the questions of one service. For all threads of a listener.

    Parameters
    ----------
    name : str
        For the log.
    trouble : callable
        What a peer is told of an error that ended its question.
    max_answers : int
    timeout_s : float
        Time for one question, in seconds.
    clock : callable
        Monotonic, in seconds.
    most_at_once : int
        Questions at once, those counted that still hang in a frozen database.
    witness : Witness, optional
        Tells the audit.
    """

    def __init__(
        self,
        name: str,
        trouble: Callable[[RelayError], Refusal],
        *,
        max_answers: int,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
        most_at_once: int = MOST_AT_ONCE,
        witness: Witness | None = None,
    ) -> None:
        self._name = name
        self._trouble = trouble
        self._max_answers = max_answers
        self._timeout_s = timeout_s
        self._clock = clock
        self._witness = witness
        self._threads = threading.BoundedSemaphore(most_at_once)

    def serve(
        self,
        association: AssociationInfo,
        operation: RequestedOperation,
        read: Read[_T],
        about: Mapping[str, str],
    ) -> Iterator[Answer | None]:
        """The responses to one request, the last of them too; None gives the peer the chance to be heard.

        Parameters
        ----------
        read : callable
            Reads the question, or says why it cannot be answered.
        about : mapping
            What the log says of it besides, as it is at the end.
        """
        progress = _Progress(self._clock())
        request = operation.request
        try:
            last = yield from self._answers(operation, read, progress)
            progress.status, progress.why = last.status, last.comment
            if last.status in (Status.SUCCESS, CANCELLED):
                yield Answer(CFindResponse(request.message_id, last.status, request.sop_class_uid))
            else:
                yield Answer(failure(request, last.status, last.comment, last.offending))
        finally:
            _log.info(
                self._name,
                action=f"{self._name}.{'answered' if progress.status is not None else 'abandoned'}",
                association_id=association.id,
                calling_ae_title=association.calling_ae_title,
                **about,
                answers=progress.answers,
                status=None if progress.status is None else f"{progress.status:04X}",
                why=progress.why,
                seconds=round(self._clock() - progress.began, 3),
            )
            if self._witness is not None:
                self._witness.asked(
                    association,
                    request.sop_class_uid,
                    answers=progress.answers,
                    status=progress.status,
                    level=about.get("query_level", ""),
                    keys=progress.keys,
                )

    def _answers(
        self, operation: RequestedOperation, read: Read[_T], progress: _Progress
    ) -> Generator[Answer | None, None, Refusal]:
        """The pending responses; returns how it ended."""
        try:
            asked = read()
            if isinstance(asked, Refusal):
                return asked
            progress.keys = asked.keys
            return (yield from self._pending(operation, asked, progress))
        except RelayError as error:
            return self._trouble(error)

    def _pending(
        self, operation: RequestedOperation, asked: Asked[_T], progress: _Progress
    ) -> Generator[Answer | None, None, Refusal]:
        request, most = operation.request, self._max_answers
        status = PENDING_UNSUPPORTED_KEYS if asked.leaves_out_keys else PENDING
        response = CFindResponse(request.message_id, status, request.sop_class_uid)
        if not self._threads.acquire(blocking=False):
            return _TOO_MANY
        stop = threading.Event()
        found = self._ahead(asked, stop.is_set)
        try:
            while (taken := found.take(_HEAR_EVERY_S)) is not None:
                if not taken:
                    yield None
                if (ended := self._ended(operation, progress)) is not None:
                    return ended
                for match in taken:
                    if (ended := self._ended(operation, progress)) is not None:
                        return ended
                    if progress.answers >= most:
                        return Refusal(Status.OUT_OF_RESOURCES, f"more than {most} matches, ask for less")
                    progress.answers += 1
                    yield Answer(response, asked.identifier(match))
        finally:
            stop.set()
            found.close()
        return _CANCELLED if operation.is_cancelled else _SUCCESS

    def _ended(self, operation: RequestedOperation, progress: _Progress) -> Refusal | None:
        """Why it ends before its end."""
        if operation.is_cancelled:
            return _CANCELLED
        if self._clock() - progress.began > self._timeout_s:
            return Refusal(Status.OUT_OF_RESOURCES, f"not done in {self._timeout_s:g} s, ask for less")
        return None

    def _ahead(self, asked: Asked[_T], is_stopped: Callable[[], bool]) -> Ahead[_T]:
        try:
            return Ahead(asked.matches(is_stopped), self._threads.release)
        except RuntimeError as error:
            self._threads.release()
            raise ServiceUnavailable("no thread for a query") from error
