"""C-FIND of the Modality Worklist as SCP: one answer after the other, with an end to all of it (PS3.4 Section K.4.1)."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from dicomrelay.dicom.query_models import MODALITY_WORKLIST
from dicomrelay.dicom.query_values import text_of
from dicomrelay.dicom.status import Status
from dicomrelay.dicom.wildcards import Wildcards
from dicomrelay.dimse.identifier import decode_identifier
from dicomrelay.dimse.identifier_bounds import MAX_ELEMENTS, TooManyElements
from dicomrelay.errors import MalformedDataSet, RelayError, ServiceUnavailable
from dicomrelay.log import get_logger
from dicomrelay.net.service import Answer, AssociationInfo, RequestedOperation
from dicomrelay.scheduling.worklist_query import Question, WrongKey, read_question
from dicomrelay.settings.worklist import WorklistSettings
from scp_gateway.audited import Witness
from scp_gateway.query.answering import MOST_AT_ONCE, Answering, Asked
from scp_gateway.query.character_sets import CharacterSet
from scp_gateway.query.question import Refusal
from scp_gateway.schedule_port import WorklistPort
from scp_gateway.worklist.answers import identifier

_log = get_logger("dicomrelay.gateway")

WORKLIST_MODEL: Final = MODALITY_WORKLIST.find
# Patterns of the stations that a peer sees; None: it sees all.
Sees: TypeAlias = Sequence[Wildcards] | None

_NO_IDENTIFIER: Final = Refusal(Status.CANNOT_UNDERSTAND, "the identifier is missing")
_UNREADABLE: Final = Refusal(Status.CANNOT_UNDERSTAND, "the identifier cannot be read")
_AWAY: Final = Refusal(Status.OUT_OF_RESOURCES, "the worklist does not answer, ask again later")
_NO_WORKLIST: Final = Refusal(Status.CANNOT_UNDERSTAND, "the worklist cannot be asked, our log says why")

_Answer: TypeAlias = Mapping[str, Any]
_Shows: TypeAlias = Callable[[Sequence[str]], bool]


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
        self._answering: Answering[_Answer] = Answering(
            "worklist",
            _trouble,
            max_answers=settings.max_answers,
            timeout_s=timeout_s,
            clock=clock,
            most_at_once=most_at_once,
            witness=witness,
        )

    def serve(
        self, association: AssociationInfo, operation: RequestedOperation, sees: Sees
    ) -> Iterator[Answer | None]:
        """The responses to one request, the last of them too; None gives the peer the chance to be heard."""
        shows = self._shows(association, sees)

        def read() -> Asked[_Answer] | Refusal:
            found = _read(operation)
            if isinstance(found, Refusal):
                return found
            question, character_set, keys = found
            return Asked(
                lambda is_stopped: self._matches(question, shows, is_stopped),
                lambda answer: identifier(answer, character_set, operation.transfer_syntax_uid),
                question.leaves_out_keys,
                keys,
            )

        return self._answering.serve(association, operation, read, {})

    def _shows(self, association: AssociationInfo, sees: Sees) -> _Shows:
        """Which stations' steps the peer may see."""
        if sees is not None:
            return lambda stations: any(pattern.matches(each) for each in stations for pattern in sees)
        if self._settings.own_only:
            own = association.calling_ae_title.strip()  # no pattern: a peer may call itself *
            return lambda stations: own in stations
        return lambda _stations: True

    def _matches(
        self, question: Question, shows: _Shows, is_stopped: Callable[[], bool]
    ) -> Generator[_Answer, None, None]:
        """Answers that the peer may see; nothing is begun any more once it is stopped."""
        for stations, answer in self._worklist.answers(question, self._settings.hidden, is_stopped):
            if is_stopped():
                return
            if shows(stations):
                yield answer


def _trouble(error: RelayError) -> Refusal:
    if isinstance(error, ServiceUnavailable):
        _log.warning("the worklist does not answer", action="worklist.away", error=str(error))
        return _AWAY
    _log.error("the worklist cannot be asked", action="worklist.no-worklist", error=str(error))
    return _NO_WORKLIST


def _read(operation: RequestedOperation) -> tuple[Question, CharacterSet, list[str]] | Refusal:
    if not operation.identifier:
        return _NO_IDENTIFIER
    try:
        keys = decode_identifier(
            operation.identifier, operation.transfer_syntax_uid, max_elements=MAX_ELEMENTS
        )
        named = text_of(keys["SpecificCharacterSet"]) if "SpecificCharacterSet" in keys else ""
        given = [each.keyword for each in keys.iterall() if each.VR != "SQ" and each.value]
        return read_question(keys), CharacterSet.of(named.split("\\")), given
    except TooManyElements as error:
        return Refusal(Status.CANNOT_UNDERSTAND, str(error))
    except MalformedDataSet:
        return _UNREADABLE
    except WrongKey as wrong:
        return Refusal(Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS, str(wrong), (wrong.tag,))
