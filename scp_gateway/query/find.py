"""C-FIND as SCP over the archive's index: one answer after the other, with an end to all of it (PS3.4 Section C.4.1)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset

from dicomrelay.dicom.query_models import RETRIEVE_MODELS, QueryModel
from dicomrelay.dicom.query_status import CANCELLED, PENDING, PENDING_UNSUPPORTED_KEYS
from dicomrelay.dicom.status import Status
from dicomrelay.dimse.identifier import decode_identifier
from dicomrelay.dimse.identifier_bounds import MAX_ELEMENTS, TooManyElements
from dicomrelay.dimse.messages import CFindResponse
from dicomrelay.errors import ConfigurationError, MalformedDataSet, RelayError, ServiceUnavailable
from dicomrelay.log import get_logger
from dicomrelay.net.provided_operations import failure
from dicomrelay.net.service import Answer, AssociationInfo, RequestedOperation
from dicomrelay.settings import QuerySettings
from scp_gateway.archive_port import QueryPort, Row
from scp_gateway.audited import Witness
from scp_gateway.query.ahead import Ahead
from scp_gateway.query.answers import AnswerWriter
from scp_gateway.query.beside import answered, matches
from scp_gateway.query.keys import read_query
from scp_gateway.query.question import Agreed, FindQuery, Refusal

_log = get_logger("dicomrelay.gateway")

FIND_MODELS: Final = {model.find: model for model in RETRIEVE_MODELS.values()}
# While nothing matches the peer is listened to so often.
_HEAR_EVERY_S: Final = 0.2
# Questions at once in a listener process. One whose database is frozen goes on to count.
MOST_AT_ONCE: Final = 64

_SUCCESS: Final = Refusal(Status.SUCCESS, "")
_CANCELLED: Final = Refusal(CANCELLED, "")
_NO_MODEL: Final = Refusal(Status.SOP_CLASS_NOT_SUPPORTED, "no information model of C-FIND")
_NO_IDENTIFIER: Final = Refusal(Status.CANNOT_UNDERSTAND, "the identifier is missing")
_UNREADABLE: Final = Refusal(Status.CANNOT_UNDERSTAND, "the identifier cannot be read")
_INDEX_AWAY: Final = Refusal(Status.OUT_OF_RESOURCES, "the archive's index does not answer, ask again later")
_NO_ARCHIVE: Final = Refusal(Status.CANNOT_UNDERSTAND, "the archive cannot be asked, its log says why")
_TOO_MANY: Final = Refusal(Status.OUT_OF_RESOURCES, "too many queries at once, ask again later")
_NO_SUCH_KEY: Final = Refusal(Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS, "a key that cannot be matched so")


class _TooManyFiles(Exception):
    """More would have to be looked into than the settings allow."""


@dataclass(slots=True)
class _Progress:
    """What a query has come to, for its line in the log."""

    level: str = ""
    answers: int = 0
    status: int | None = None
    why: str = ""


class FindService:
    """Answers C-FIND. For all threads of a listener.

    Parameters
    ----------
    ae_title : str
        Ours: whom to ask for what was found.
    clock : callable
        Monotonic, in seconds.
    most_at_once : int
        Questions at once, those counted that still hang in a frozen index.
    witness : Witness, optional
        Tells the audit.
    """

    def __init__(
        self,
        settings: QuerySettings,
        ae_title: str,
        archive: QueryPort,
        clock: Callable[[], float] = time.monotonic,
        most_at_once: int = MOST_AT_ONCE,
        witness: Witness | None = None,
    ) -> None:
        self._settings = settings
        self._ae_title = ae_title
        self._archive = archive
        self._clock = clock
        self._witness = witness
        self._threads = threading.BoundedSemaphore(most_at_once)

    def serve(
        self, association: AssociationInfo, operation: RequestedOperation, agreed: Agreed
    ) -> Iterator[Answer | None]:
        """The responses to one request, the last of them too; None gives the peer the chance to be heard."""
        began, progress = self._clock(), _Progress()
        request = operation.request
        try:
            last = yield from self._answers(operation, agreed, began, progress)
            progress.status, progress.why = last.status, last.comment
            if last.status in (Status.SUCCESS, CANCELLED):
                yield Answer(CFindResponse(request.message_id, last.status, request.sop_class_uid))
            else:
                yield Answer(failure(request, last.status, last.comment, last.offending))
        finally:
            _log.info(
                "query",
                action="query.answered" if progress.status is not None else "query.abandoned",
                association_id=association.id,
                calling_ae_title=association.calling_ae_title,
                sop_class_uid=request.sop_class_uid,
                query_level=progress.level,  # `level` is the line's own
                answers=progress.answers,
                status=None if progress.status is None else f"{progress.status:04X}",
                why=progress.why,
                seconds=round(self._clock() - began, 3),
            )
            if self._witness is not None:
                self._witness.asked(
                    association,
                    request.sop_class_uid,
                    answers=progress.answers,
                    status=progress.status,
                    level=progress.level,
                )

    def _answers(
        self, operation: RequestedOperation, agreed: Agreed, began: float, progress: _Progress
    ) -> Generator[Answer | None, None, Refusal]:
        """The pending responses; returns how it ended."""
        try:
            query = self._read(operation, agreed)
            if isinstance(query, Refusal):
                return query
            progress.level = query.level.value
            return (yield from self._pending(operation, query, began, progress))
        except ConfigurationError:
            return _NO_SUCH_KEY
        except ServiceUnavailable as error:
            _log.warning("the archive's index does not answer", action="query.index-away", error=str(error))
            return _INDEX_AWAY
        except RelayError as error:
            _log.error("the archive cannot be asked", action="query.no-archive", error=str(error))
            return _NO_ARCHIVE

    def _read(self, operation: RequestedOperation, agreed: Agreed) -> FindQuery | Refusal:
        model: QueryModel | None = FIND_MODELS.get(operation.request.sop_class_uid)
        if model is None:
            return _NO_MODEL
        if not operation.identifier:
            return _NO_IDENTIFIER
        try:
            identifier = decode_identifier(
                operation.identifier, operation.transfer_syntax_uid, max_elements=MAX_ELEMENTS
            )
        except TooManyElements as error:
            return Refusal(Status.CANNOT_UNDERSTAND, str(error))
        except MalformedDataSet:
            return _UNREADABLE
        return read_query(
            identifier, model, agreed, attributes=self._archive.attributes(), ae_title=self._ae_title
        )

    def _pending(
        self, operation: RequestedOperation, query: FindQuery, began: float, progress: _Progress
    ) -> Generator[Answer | None, None, Refusal]:
        request, settings = operation.request, self._settings
        writer = AnswerWriter(query, operation.transfer_syntax_uid)
        status = PENDING_UNSUPPORTED_KEYS if query.leaves_out_keys else PENDING
        response = CFindResponse(request.message_id, status, request.sop_class_uid)
        if not self._threads.acquire(blocking=False):
            return _TOO_MANY
        stop = threading.Event()
        found = self._ahead(query, stop.is_set)
        try:
            while (taken := found.take(_HEAR_EVERY_S)) is not None:
                if not taken:
                    yield None
                if (ended := self._ended(operation, began)) is not None:
                    return ended
                for row, beside in taken:
                    if (ended := self._ended(operation, began)) is not None:
                        return ended
                    if progress.answers >= settings.max_answers:
                        return Refusal(
                            Status.OUT_OF_RESOURCES, f"more than {settings.max_answers} matches, ask for less"
                        )
                    progress.answers += 1
                    yield Answer(response, writer.identifier(row, beside))
        except _TooManyFiles:
            return Refusal(
                Status.OUT_OF_RESOURCES, f"more than {settings.max_files} files to look into, ask for less"
            )
        finally:
            stop.set()
            found.close()
        return _CANCELLED if operation.is_cancelled else _SUCCESS

    def _ended(self, operation: RequestedOperation, began: float) -> Refusal | None:
        """Why it ends before its end."""
        if operation.is_cancelled:
            return _CANCELLED
        limit_s = self._settings.timeout_s
        if self._clock() - began > limit_s:
            return Refusal(Status.OUT_OF_RESOURCES, f"not done in {limit_s:g} s, ask for less")
        return None

    def _ahead(self, query: FindQuery, is_stopped: Callable[[], bool]) -> Ahead[tuple[Row, Dataset | None]]:
        """What matches, looked for in a thread of its own."""
        try:
            return Ahead(self._matches(query, is_stopped), self._threads.release)
        except RuntimeError as error:
            self._threads.release()
            raise ServiceUnavailable("no thread for a query") from error

    def _matches(
        self, query: FindQuery, is_stopped: Callable[[], bool]
    ) -> Generator[tuple[Row, Dataset | None], None, None]:
        """Rows that match, with what was looked up beside; nothing is begun any more once it is stopped."""
        rows = self._archive.rows(
            query.level,
            query.matches,
            fuzzy=query.fuzzy_names,
            with_sop_classes=query.gathers_sop_classes,
        )
        tags = [int(key.tag) for key in query.beside]
        looked_into = 0
        for row in rows:
            if is_stopped():
                return
            if not all(fits(row) for fits in query.filters):
                continue
            if not tags:
                yield row, None
                continue
            if looked_into >= self._settings.max_files:
                raise _TooManyFiles
            looked_into += 1
            head = self._archive.head(row, tags)
            if matches(query.beside, head):
                yield row, answered(query.beside, head)
