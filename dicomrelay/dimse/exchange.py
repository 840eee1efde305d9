"""Which message may come next in a C-FIND, C-MOVE or C-GET of ours: parts of messages in, events out. No I/O.

The driver sends the request, feeds what the assembler completes, and stops after `Finished`. What does not fit is a
`RemoteProtocolError`: the association ends with A-ABORT (docs/design/query-retrieve-scu.md).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from dicomrelay.dicom.query_status import Finality, finality
from dicomrelay.dimse.fragments import CommandReceived, DataSetReceived
from dicomrelay.dimse.identifier_buffer import IdentifierBuffer, TooLarge
from dicomrelay.dimse.messages import (
    CEchoRequest,
    CEchoResponse,
    CFindRequest,
    CFindResponse,
    CGetRequest,
    CGetResponse,
    CMoveResponse,
    CStoreRequest,
    QueryRetrieveRequest,
    QueryRetrieveResponse,
)
from dicomrelay.errors import RemoteProtocolError
from dicomrelay.ul.pdu import AbortReason

# A peer that reports every second for eleven days; more is no progress.
MAX_PENDING: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Pending:
    """A response that is not the last. C-FIND: the bytes of an answer; else `identifier` is empty."""

    response: QueryRetrieveResponse
    identifier: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """The last response; of a retrieval perhaps with the bytes of a list of failures."""

    response: QueryRetrieveResponse
    identifier: bytes


@dataclass(frozen=True, slots=True)
class StoreBegun:
    """A C-STORE sub-operation: its data set follows."""

    context_id: int
    request: CStoreRequest


@dataclass(frozen=True, slots=True)
class StoreData:
    """More of the data set of the sub-operation; views of the receive buffer."""

    fragments: Sequence[memoryview]
    is_complete: bool


ExchangeEvent = Pending | Finished | StoreBegun | StoreData


class Exchange:
    """One operation, from its request to its last response.

    Parameters
    ----------
    request : CFindRequest, CGetRequest or CMoveRequest
        As sent.
    context_id : int
        The presentation context it went in.
    storage_context_ids : collection of int
        Where C-STORE sub-operations may come: those of C-GET, none for the others.
    """

    def __init__(
        self, request: QueryRetrieveRequest, context_id: int, storage_context_ids: Collection[int] = ()
    ) -> None:
        self.request = request
        self.context_id = context_id
        self.is_over = False
        self._storage = frozenset(storage_context_ids) if isinstance(request, CGetRequest) else frozenset()
        self._identifier = IdentifierBuffer()
        self._response: QueryRetrieveResponse | None = None  # the one whose identifier is on its way
        self._is_storing = False
        self._pending = 0

    def feed(self, parts: Sequence[CommandReceived | DataSetReceived]) -> list[ExchangeEvent]:
        """What these parts mean, in order.

        Raises
        ------
        RemoteProtocolError
            They do not answer what we asked.
        """
        events: list[ExchangeEvent] = []
        for part in parts:
            if self.is_over:
                raise _unexpected("a message after the last response")
            event = self._command(part) if isinstance(part, CommandReceived) else self._data_set(part)
            if event is not None:
                events.append(event)
        return events

    def _command(self, part: CommandReceived) -> ExchangeEvent | None:
        message = part.message
        if isinstance(message, CStoreRequest):
            if part.context_id not in self._storage or not part.has_data_set:
                raise _unexpected("a C-STORE request where none can come")
            self._is_storing = True
            return StoreBegun(part.context_id, message)
        if not isinstance(message, CFindResponse | CGetResponse | CMoveResponse) or not self._is_answer(
            message
        ):
            raise _unexpected(f"a {type(message).__name__} that answers nothing we asked")
        if part.context_id != self.context_id:
            raise _unexpected(f"a response in presentation context {part.context_id}")
        is_pending = finality(message.status) is Finality.PENDING
        if is_pending and isinstance(message, CFindResponse) and not part.has_data_set:
            raise _unexpected("a pending C-FIND response without an identifier")
        if is_pending:
            self._pending += 1
            if self._pending > MAX_PENDING:
                raise _unexpected(f"more than {MAX_PENDING} pending responses")
        if part.has_data_set:
            self._response = message
            return None
        return self._responded(message, b"")

    def _is_answer(self, message: QueryRetrieveResponse) -> bool:
        """Kind and message id are those of the request."""
        kinds = {CFindRequest: CFindResponse, CGetRequest: CGetResponse}
        return (
            type(message) is kinds.get(type(self.request), CMoveResponse)
            and message.message_id_being_responded_to == self.request.message_id
        )

    def _data_set(self, part: DataSetReceived) -> ExchangeEvent | None:
        if self._is_storing:
            self._is_storing = not part.is_complete
            return StoreData(part.fragments, part.is_complete)
        try:
            self._identifier.add(part.fragments)
        except TooLarge as error:
            raise _unexpected(str(error)) from error
        if not part.is_complete or self._response is None:
            return None
        response, self._response = self._response, None
        return self._responded(response, self._identifier.take())

    def _responded(self, response: QueryRetrieveResponse, identifier: bytes) -> ExchangeEvent:
        if finality(response.status) is Finality.PENDING:
            return Pending(response, identifier)
        self.is_over = True
        return Finished(response, identifier)


def echo_status(request: CEchoRequest, parts: Sequence[CommandReceived | DataSetReceived]) -> int | None:
    """The status that these parts answer to a C-ECHO, which has one response and no data set; None without any part.

    Raises
    ------
    RemoteProtocolError
        They do not answer what we asked.
    """
    if not parts:
        return None
    part = parts[0]
    if len(parts) > 1 or not isinstance(part, CommandReceived) or part.has_data_set:
        raise _unexpected("a message that answers nothing we asked")
    message = part.message
    if not isinstance(message, CEchoResponse) or message.message_id_being_responded_to != request.message_id:
        raise _unexpected(f"a {type(message).__name__} that answers nothing we asked")
    return message.status


def _unexpected(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(
        what, section="PS3.7 Section 9.3", abort_reason=AbortReason.UNEXPECTED_PARAMETER
    )
