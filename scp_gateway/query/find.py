"""C-FIND as SCP over the archive's index: one answer after the other, with an end to all of it (PS3.4 Section C.4.1)."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from typing import Final, TypeAlias

from pydicom.dataset import Dataset

from dicomrelay.dicom.query_models import RETRIEVE_MODELS, QueryModel
from dicomrelay.dicom.status import Status
from dicomrelay.dimse.identifier import decode_identifier
from dicomrelay.dimse.identifier_bounds import MAX_ELEMENTS, TooManyElements
from dicomrelay.errors import ConfigurationError, MalformedDataSet, RelayError, ServiceUnavailable
from dicomrelay.log import get_logger
from dicomrelay.net.service import Answer, AssociationInfo, RequestedOperation
from dicomrelay.settings import QuerySettings
from scp_gateway.archive_port import QueryPort, Row
from scp_gateway.audited import Witness
from scp_gateway.query.answering import MOST_AT_ONCE, Answering, Asked
from scp_gateway.query.answers import AnswerWriter
from scp_gateway.query.beside import answered, matches
from scp_gateway.query.keys import read_query
from scp_gateway.query.question import Agreed, FindQuery, Refusal

_log = get_logger("dicomrelay.gateway")

FIND_MODELS: Final = {model.find: model for model in RETRIEVE_MODELS.values()}
# A row, with what was looked up beside.
_Match: TypeAlias = tuple[Row, Dataset | None]

_NO_MODEL: Final = Refusal(Status.SOP_CLASS_NOT_SUPPORTED, "no information model of C-FIND")
_NO_IDENTIFIER: Final = Refusal(Status.CANNOT_UNDERSTAND, "the identifier is missing")
_UNREADABLE: Final = Refusal(Status.CANNOT_UNDERSTAND, "the identifier cannot be read")
_INDEX_AWAY: Final = Refusal(Status.OUT_OF_RESOURCES, "the archive's index does not answer, ask again later")
_NO_ARCHIVE: Final = Refusal(Status.CANNOT_UNDERSTAND, "the archive cannot be asked, its log says why")
_NO_SUCH_KEY: Final = Refusal(Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS, "a key that cannot be matched so")


class _TooManyFiles(RelayError):
    """More would have to be looked into than the settings allow."""


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
        self._answering: Answering[_Match] = Answering(
            "query",
            self._trouble,
            max_answers=settings.max_answers,
            timeout_s=settings.timeout_s,
            clock=clock,
            most_at_once=most_at_once,
            witness=witness,
        )

    def serve(
        self, association: AssociationInfo, operation: RequestedOperation, agreed: Agreed
    ) -> Iterator[Answer | None]:
        """The responses to one request, the last of them too; None gives the peer the chance to be heard."""
        # `level` is the line's own.
        about = {"sop_class_uid": operation.request.sop_class_uid, "query_level": ""}

        def read() -> Asked[_Match] | Refusal:
            query = self._read(operation, agreed)
            if isinstance(query, Refusal):
                return query
            about["query_level"] = query.level.value
            writer = AnswerWriter(query, operation.transfer_syntax_uid)
            return Asked(
                lambda is_stopped: self._matches(query, is_stopped),
                lambda match: writer.identifier(*match),
                query.leaves_out_keys,
                [*query.matches, *(key.keyword for key in query.beside if key.value)],
            )

        return self._answering.serve(association, operation, read, about)

    def _trouble(self, error: RelayError) -> Refusal:
        if isinstance(error, _TooManyFiles):
            most = self._settings.max_files
            return Refusal(Status.OUT_OF_RESOURCES, f"more than {most} files to look into, ask for less")
        if isinstance(error, ConfigurationError):
            return _NO_SUCH_KEY
        if isinstance(error, ServiceUnavailable):
            _log.warning("the archive's index does not answer", action="query.index-away", error=str(error))
            return _INDEX_AWAY
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

    def _matches(self, query: FindQuery, is_stopped: Callable[[], bool]) -> Generator[_Match, None, None]:
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
