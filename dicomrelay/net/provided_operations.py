"""The C-FIND, C-MOVE and C-GET operations that one association has asked for, as their SCP (PS3.7 Sections 9.3.2 to 9.3.4).

Identifiers are collected, what serves them is asked for one answer after the other, and a C-CANCEL reaches it. No socket
is touched here: the conversation sends what is ready, and hears the peer in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Final

from dicomrelay.dicom.query_status import Finality, finality
from dicomrelay.dicom.status import Status
from dicomrelay.dimse.codec import encode_message
from dicomrelay.dimse.fragments import command_bytes, data_set_bytes
from dicomrelay.dimse.identifier_buffer import MAX_IDENTIFIER_BYTES, IdentifierBuffer, TooLarge
from dicomrelay.dimse.messages import (
    CCancelRequest,
    CFindRequest,
    CFindResponse,
    CGetRequest,
    CGetResponse,
    CMoveRequest,
    CMoveResponse,
    QueryRetrieveRequest,
    QueryRetrieveResponse,
)
from dicomrelay.net.edge import ask
from dicomrelay.net.service import (
    Answer,
    AssociationInfo,
    OperationHandler,
    RequestedOperation,
    StoreReply,
    SubOperations,
)
from dicomrelay.ul.connection import Connection

# Of one association, the one that is being answered with them.
MAX_OPERATIONS: Final = 4
# Answers that are ready leave together: so many bytes, and none waits longer than that for the next.
_TOGETHER_BYTES: Final = 65_536
_TOGETHER_S: Final = 0.05
_COMMENT_CHARACTERS: Final = 64  # VR LO


class _Over:
    """What `next` gives at the end of an iterator."""


_OVER: Final = _Over()


class ProvidedOperations:
    """Serves operations in turn. Of the association's thread.

    Parameters
    ----------
    handler : callable
        Serves them.
    stores : SubOperations
        Where the sub-operations of a C-GET go.
    """

    def __init__(
        self, handler: OperationHandler, association: AssociationInfo, stores: SubOperations
    ) -> None:
        self._handler = handler
        self._association = association
        self._stores = stores
        self._asked: deque[RequestedOperation] = deque()
        self._answers: Iterator[Answer | None] | None = None  # of the first
        self._incoming: RequestedOperation | None = None
        self._buffer: IdentifierBuffer | None = None

    def __len__(self) -> int:
        return len(self._asked)

    def begin(
        self,
        request: QueryRetrieveRequest,
        context_id: int,
        transfer_syntax_uid: str,
        *,
        has_identifier: bool,
    ) -> QueryRetrieveResponse | None:
        """A request came; its identifier follows by `add`. A response refuses it: what follows is thrown away."""
        self._incoming = self._buffer = None
        if len(self._asked) >= MAX_OPERATIONS:
            return failure(
                request, Status.OUT_OF_RESOURCES, "too many operations at once on this association"
            )
        operation = RequestedOperation(request, context_id, b"", transfer_syntax_uid)
        if isinstance(request, CGetRequest):
            operation.stores = self._stores
        if has_identifier:
            self._incoming, self._buffer = operation, IdentifierBuffer()
        else:
            self._asked.append(operation)
        return None

    def add(self, fragments: Sequence[memoryview], *, is_complete: bool) -> None:
        """Take the next bytes of the identifier; those of a request that was refused go nowhere."""
        operation = self._incoming
        if operation is None:
            return
        try:
            if self._buffer is not None:
                self._buffer.add(fragments)
        except TooLarge:
            self._buffer = None
        if is_complete:
            self._incoming = None
            if self._buffer is not None:
                operation.identifier = self._buffer.take()
            else:
                operation.is_too_large = True
            self._asked.append(operation)

    def cancel(self, message: CCancelRequest) -> None:
        """A C-CANCEL; one for an operation that is over comes too late, and is nobody's fault."""
        for operation in self._asked:
            if operation.request.message_id == message.message_id_being_responded_to:
                operation.is_cancelled = True

    def answers(self, connection: Connection) -> bytes:
        """The bytes of the next answers, of one operation; none when it has nothing to say yet.

        Raises
        ------
        Exception
            What ended the association in the middle of a sub-operation.
        """
        ready: list[bytes] = []
        size = 0
        until = monotonic() + _TOGETHER_S
        while size < _TOGETHER_BYTES and monotonic() < until:
            operation = self._asked[0]
            answer = self._next(operation)
            if answer is None:
                break
            has_identifier = answer.identifier is not None
            message = command_bytes(
                connection,
                operation.context_id,
                encode_message(answer.response, has_data_set=has_identifier),
            )
            if answer.identifier is not None:
                message += data_set_bytes(connection, operation.context_id, answer.identifier)
            ready.append(message)
            size += len(message)
            if finality(answer.response.status) is not Finality.PENDING:
                self._end()
                break
        return b"".join(ready)

    def close(self) -> None:
        """The association is over: nobody waits for answers any more."""
        self._incoming = self._buffer = None
        if self._asked:
            self._end()
        self._asked.clear()

    # ---- inside

    def _next(self, operation: RequestedOperation) -> Answer | None:
        if operation.is_too_large:
            comment = f"an identifier of more than {MAX_IDENTIFIER_BYTES} bytes"
            return Answer(failure(operation.request, Status.CANNOT_UNDERSTAND, comment))
        if self._answers is None:
            begun, error = ask(self._handler, self._association, operation)
            if begun is None:
                return _failed(operation, error)
            self._answers = begun
        step: tuple[Answer | _Over | None, None] | tuple[None, StoreReply]
        step = ask(_advance, self._answers)
        answer, error = step
        if operation.stores is not None and operation.stores.ended is not None:
            raise operation.stores.ended
        if error is not None or isinstance(
            answer, _Over
        ):  # one that ends without a last word is a fault of ours
            return _failed(operation, error)
        return answer

    def _end(self) -> None:
        """The first operation is over."""
        self._asked.popleft()
        answers, self._answers = self._answers, None
        if answers is not None:
            ask(getattr(answers, "close", _nothing))


def failure(
    request: QueryRetrieveRequest, status: int, comment: str, offending: tuple[int, ...] = ()
) -> QueryRetrieveResponse:
    """The last response to a request that fails.

    Parameters
    ----------
    comment : str
        For the peer; cut to what Error Comment (0000,0902) holds.
    """
    kind: type[CFindResponse | CMoveResponse | CGetResponse] = CGetResponse
    if isinstance(request, CFindRequest):
        kind = CFindResponse
    elif isinstance(request, CMoveRequest):
        kind = CMoveResponse
    return kind(
        request.message_id,
        status,
        request.sop_class_uid,
        offending_element=offending,
        error_comment=comment[:_COMMENT_CHARACTERS].encode("ascii", "replace").decode("ascii"),
    )


def _failed(operation: RequestedOperation, error: StoreReply | None) -> Answer:
    if error is not None and error.status == Status.OUT_OF_RESOURCES:
        return Answer(failure(operation.request, error.status, "out of resources, ask again later"))
    return Answer(failure(operation.request, Status.CANNOT_UNDERSTAND, "a fault of the service"))


def _advance(answers: Iterator[Answer | None]) -> Answer | _Over | None:
    return next(answers, _OVER)


def _nothing() -> None:
    """For an iterator that cannot be closed."""
