"""N-CREATE, N-SET and N-GET over an open association, as their invoker (PS3.7 Sections 10.1.2, 10.1.3 and 10.1.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from dicomrelay.dimse.fragments import CommandReceived, DataSetReceived
from dicomrelay.dimse.identifier_buffer import (
    IDENTIFIER_TRANSFER_SYNTAXES,
    MAX_IDENTIFIER_BYTES,
    IdentifierBuffer,
    TooLarge,
)
from dicomrelay.dimse.messages import (
    NCreateRequest,
    NCreateResponse,
    NGetRequest,
    NGetResponse,
    NSetRequest,
    NSetResponse,
    ObjectRequest,
    ObjectResponse,
)
from dicomrelay.errors import NoAcceptedContext, RemoteProtocolError
from dicomrelay.net.requestor import Association
from dicomrelay.ul.pdu import AbortReason

_RESPONSES: Final[dict[type, type[ObjectResponse]]] = {
    NCreateRequest: NCreateResponse,
    NSetRequest: NSetResponse,
    NGetRequest: NGetResponse,
}


@dataclass(frozen=True, slots=True)
class ObjectAnswer:
    """What a peer answered.

    Attributes
    ----------
    data_set : bytes
        In the transfer syntax `transfer_syntax_uid`; empty when the response came without one.
    """

    response: ObjectResponse
    data_set: bytes = field(repr=False)
    transfer_syntax_uid: str


def object_contexts(sop_class_uid: str) -> tuple[tuple[str, tuple[str]], ...]:
    """What a requestor proposes: a context for each transfer syntax, so that the choice stays ours."""
    return tuple((sop_class_uid, (syntax,)) for syntax in IDENTIFIER_TRANSFER_SYNTAXES)


class ObjectScu:
    """Requests about objects of one SOP class, one after the other.

    Parameters
    ----------
    sop_class_uid : str
        Of the presentation contexts.

    Raises
    ------
    NoAcceptedContext
        The peer does not serve it.
    """

    def __init__(self, association: Association, sop_class_uid: str) -> None:
        self._association = association
        self._sop_class_uid = sop_class_uid
        accepted = association.accepted
        self._contexts = {
            syntax: accepted[sop_class_uid, syntax]
            for syntax in IDENTIFIER_TRANSFER_SYNTAXES
            if (sop_class_uid, syntax) in accepted
        }
        if not self._contexts:
            raise NoAcceptedContext(f"{association.remote} does not serve {sop_class_uid}")

    @property
    def transfer_syntaxes(self) -> tuple[str, ...]:
        """Those that a data set may go in, the best first; one at least."""
        return tuple(self._contexts)

    def create(
        self, sop_instance_uid: str, attributes: bytes, transfer_syntax_uid: str, sop_class_uid: str = ""
    ) -> ObjectAnswer:
        """N-CREATE an object.

        Parameters
        ----------
        sop_instance_uid : str
            "" lets the peer give one.
        attributes : bytes
            In `transfer_syntax_uid`, one of `transfer_syntaxes`.
        sop_class_uid : str
            Where it is not that of the context.

        Raises
        ------
        AssociationError
            The association died; the peer may have the object all the same.
        """
        message_id = self._association.next_message_id()
        request = NCreateRequest(message_id, sop_class_uid or self._sop_class_uid, sop_instance_uid)
        return self._asked(request, transfer_syntax_uid, attributes)

    def change(
        self, sop_instance_uid: str, modifications: bytes, transfer_syntax_uid: str, sop_class_uid: str = ""
    ) -> ObjectAnswer:
        """N-SET attributes of an object; as `create`."""
        message_id = self._association.next_message_id()
        request = NSetRequest(message_id, sop_class_uid or self._sop_class_uid, sop_instance_uid)
        return self._asked(request, transfer_syntax_uid, modifications)

    def get(
        self, sop_instance_uid: str, attributes: Sequence[int] = (), sop_class_uid: str = ""
    ) -> ObjectAnswer:
        """N-GET attributes of an object; as `create`.

        Parameters
        ----------
        attributes : sequence of int
            Tags; none for all.
        """
        message_id = self._association.next_message_id()
        request = NGetRequest(
            message_id, sop_class_uid or self._sop_class_uid, sop_instance_uid, tuple(attributes)
        )
        return self._asked(request, self.transfer_syntaxes[0], None)

    def _asked(self, request: ObjectRequest, syntax: str, data_set: bytes | None) -> ObjectAnswer:
        association, context_id = self._association, self._contexts[syntax]
        association.send_message(request, context_id, data_set)
        take = _Taker(request, context_id)
        deadline = monotonic() + association.timeouts.response_s
        while take.response is None or not take.is_whole:
            association.receive(take, deadline=deadline, wake_at=deadline)
        return ObjectAnswer(take.response, take.buffer.take(), syntax)


class _Taker:
    """Collects one response."""

    def __init__(self, request: ObjectRequest, context_id: int) -> None:
        self.response: ObjectResponse | None = None
        self.is_whole = False
        self.buffer = IdentifierBuffer(8 * MAX_IDENTIFIER_BYTES)
        self._request = request
        self._context_id = context_id

    def __call__(self, parts: Sequence[CommandReceived | DataSetReceived]) -> bool:
        for part in parts:
            if part.context_id != self._context_id or self.is_whole:
                raise _unexpected("a message that answers nothing we asked")
            if isinstance(part, CommandReceived):
                self._command(part)
            else:
                try:
                    self.buffer.add(part.fragments)
                except TooLarge as error:
                    raise _unexpected(str(error)) from error
                self.is_whole = part.is_complete
        return self.is_whole

    def _command(self, part: CommandReceived) -> None:
        message = part.message
        if (
            not isinstance(message, ObjectResponse)
            or type(message) is not _RESPONSES[type(self._request)]
            or message.message_id_being_responded_to != self._request.message_id
        ):
            raise _unexpected(f"a {type(message).__name__} that answers nothing we asked")
        self.response = message
        self.is_whole = not part.has_data_set


def _unexpected(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(
        what, section="PS3.7 Section 10.3", abort_reason=AbortReason.UNEXPECTED_PARAMETER
    )
