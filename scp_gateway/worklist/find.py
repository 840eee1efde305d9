"""C-FIND of the Modality Worklist as SCP: one answer after the other, with an end to all of it (PS3.4 Section K.4.1)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from dicomrelay.dicom.query_models import MODALITY_WORKLIST
from dicomrelay.dicom.query_status import CANCELLED, PENDING, PENDING_UNSUPPORTED_KEYS
from dicomrelay.dicom.query_values import text_of
from dicomrelay.dicom.status import Status
from dicomrelay.dicom.wildcards import Wildcards
from dicomrelay.dimse.identifier import decode_identifier
from dicomrelay.dimse.identifier_bounds import MAX_ELEMENTS, TooManyElements
from dicomrelay.dimse.messages import CFindResponse
from dicomrelay.errors import MalformedDataSet, RelayError, ServiceUnavailable
from dicomrelay.log import get_logger
from dicomrelay.net.provided_operations import failure
from dicomrelay.net.service import Answer, AssociationInfo, RequestedOperation
from dicomrelay.scheduling.worklist_query import Question, WrongKey, read_question
from dicomrelay.settings.worklist import WorklistSettings
from scp_gateway.audited import Witness
from scp_gateway.query.ahead import Ahead
from scp_gateway.query.character_sets import CharacterSet
from scp_gateway.query.question import Refusal
from scp_gateway.schedule_port import WorklistPort
from scp_gateway.worklist.answers import identifier

_log = get_logger("dicomrelay.gateway")

WORKLIST_MODEL: Final = MODALITY_WORKLIST.find
# Patterns of the stations that a peer sees; None: it sees all.
Sees: TypeAlias = Sequence[Wildcards] | None
# While nothing matches the peer is listened to so often.
_HEAR_EVERY_S: Final = 0.2
# Questions at once in a listener process. One whose database is frozen goes on to count.
MOST_AT_ONCE: Final = 64

_SUCCESS: Final = Refusal(Status.SUCCESS, "")
_CANCELLED: Final = Refusal(CANCELLED, "")
_NO_IDENTIFIER: Final = Refusal(Status.CANNOT_UNDERSTAND, "the identifier is missing")
_UNREADABLE: Final = Refusal(Status.CANNOT_UNDERSTAND, "the identifier cannot be read")
_AWAY: Final = Refusal(Status.OUT_OF_RESOURCES, "the worklist does not answer, ask again later")
_NO_WORKLIST: Final = Refusal(Status.CANNOT_UNDERSTAND, "the worklist cannot be asked, our log says why")
_TOO_MANY: Final = Refusal(Status.OUT_OF_RESOURCES, "too many queries at once, ask again later")


@dataclass(frozen=True, slots=True)
class _Asked:
    question: Question
    character_set: CharacterSet


@dataclass(slots=True)
class _Progress:
    """What a question has come to, for its line in the log."""

    answers: int = 0
    status: int | None = None
    why: str = ""


class WorklistService:
    """Answers C-FIND of the Modality Worklist. For all threads of a listener.

    Parameters
    ----------
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
        settings: WorklistSettings,
        worklist: WorklistPort,
        *,
        timeout_s: float = 120,
        clock: Callable[[], float] = time.monotonic,
        most_at_once: int = MOST_AT_ONCE,
        witness: Witness | None = None,
    ) -> None:
        self._settings = settings
        self._worklist = worklist
        self._timeout_s = timeout_s
        self._clock = clock
        self._witness = witness
        self._threads = threading.BoundedSemaphore(most_at_once)

    def serve(
        self, association: AssociationInfo, operation: RequestedOperation, sees: Sees
    ) -> Iterator[Answer | None]:
        """The responses to one request, the last of them too; None gives the peer the chance to be heard."""
        began, progress = self._clock(), _Progress()
        request = operation.request
        shows = self._shows(association, sees)
        try:
            last = yield from self._answers(operation, shows, began, progress)
            progress.status, progress.why = last.status, last.comment
            if last.status in (Status.SUCCESS, CANCELLED):
                yield Answer(CFindResponse(request.message_id, last.status, request.sop_class_uid))
            else:
                yield Answer(failure(request, last.status, last.comment, last.offending))
        finally:
            _log.info(
                "worklist",
                action="worklist.answered" if progress.status is not None else "worklist.abandoned",
                association_id=association.id,
                calling_ae_title=association.calling_ae_title,
                answers=progress.answers,
                status=None if progress.status is None else f"{progress.status:04X}",
                why=progress.why,
                seconds=round(self._clock() - began, 3),
            )
            if self._witness is not None:
                self._witness.asked(
                    association, request.sop_class_uid, answers=progress.answers, status=progress.status
                )

    def _shows(self, association: AssociationInfo, sees: Sees) -> Callable[[Sequence[str]], bool]:
        """Which stations' steps the peer may see."""
        if sees is not None:
            return lambda stations: any(pattern.matches(each) for each in stations for pattern in sees)
        if self._settings.own_only:
            own = association.calling_ae_title.strip()  # no pattern: a peer may call itself *
            return lambda stations: own in stations
        return lambda _stations: True

    def _answers(
        self,
        operation: RequestedOperation,
        shows: Callable[[Sequence[str]], bool],
        began: float,
        progress: _Progress,
    ) -> Generator[Answer | None, None, Refusal]:
        """The pending responses; returns how it ended."""
        try:
            asked = _read(operation)
            if isinstance(asked, Refusal):
                return asked
            return (yield from self._pending(operation, asked, shows, began, progress))
        except ServiceUnavailable as error:
            _log.warning("the worklist does not answer", action="worklist.away", error=str(error))
            return _AWAY
        except RelayError as error:
            _log.error("the worklist cannot be asked", action="worklist.no-worklist", error=str(error))
            return _NO_WORKLIST

    def _pending(
        self,
        operation: RequestedOperation,
        asked: _Asked,
        shows: Callable[[Sequence[str]], bool],
        began: float,
        progress: _Progress,
    ) -> Generator[Answer | None, None, Refusal]:
        request, most = operation.request, self._settings.max_answers
        status = PENDING_UNSUPPORTED_KEYS if asked.question.leaves_out_keys else PENDING
        response = CFindResponse(request.message_id, status, request.sop_class_uid)
        if not self._threads.acquire(blocking=False):
            return _TOO_MANY
        stop = threading.Event()
        found = self._ahead(asked.question, shows, stop.is_set)
        try:
            while (taken := found.take(_HEAR_EVERY_S)) is not None:
                if not taken:
                    yield None
                if (ended := self._ended(operation, began)) is not None:
                    return ended
                for answer in taken:
                    if (ended := self._ended(operation, began)) is not None:
                        return ended
                    if progress.answers >= most:
                        return Refusal(Status.OUT_OF_RESOURCES, f"more than {most} matches, ask for less")
                    progress.answers += 1
                    yield Answer(
                        response, identifier(answer, asked.character_set, operation.transfer_syntax_uid)
                    )
        finally:
            stop.set()
            found.close()
        return _CANCELLED if operation.is_cancelled else _SUCCESS

    def _ended(self, operation: RequestedOperation, began: float) -> Refusal | None:
        """Why it ends before its end."""
        if operation.is_cancelled:
            return _CANCELLED
        if self._clock() - began > self._timeout_s:
            return Refusal(Status.OUT_OF_RESOURCES, f"not done in {self._timeout_s:g} s, ask for less")
        return None

    def _ahead(
        self, question: Question, shows: Callable[[Sequence[str]], bool], is_stopped: Callable[[], bool]
    ) -> Ahead[Mapping[str, Any]]:
        """What matches, looked for in a thread of its own."""

        def matching() -> Generator[Mapping[str, Any], None, None]:
            for stations, answer in self._worklist.answers(question, self._settings.hidden, is_stopped):
                if is_stopped():
                    return
                if shows(stations):
                    yield answer

        try:
            return Ahead(matching(), self._threads.release)
        except RuntimeError as error:
            self._threads.release()
            raise ServiceUnavailable("no thread for a query") from error


def _read(operation: RequestedOperation) -> _Asked | Refusal:
    if not operation.identifier:
        return _NO_IDENTIFIER
    try:
        keys = decode_identifier(
            operation.identifier, operation.transfer_syntax_uid, max_elements=MAX_ELEMENTS
        )
        named = text_of(keys["SpecificCharacterSet"]) if "SpecificCharacterSet" in keys else ""
        return _Asked(read_question(keys), CharacterSet.of(named.split("\\")))
    except TooManyElements as error:
        return Refusal(Status.CANNOT_UNDERSTAND, str(error))
    except MalformedDataSet:
        return _UNREADABLE
    except WrongKey as wrong:
        return Refusal(Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS, str(wrong), (wrong.tag,))
