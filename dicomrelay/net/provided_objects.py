"""The N-CREATE, N-SET and N-GET requests of one association, as their performer (PS3.7 Sections 10.1.2, 10.1.3, 10.1.5).

No socket is touched here: the conversation sends what is answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dicomrelay.dicom.performed_step import ObjectStatus
from dicomrelay.dimse.codec import encode_message
from dicomrelay.dimse.fragments import command_bytes, data_set_bytes
from dicomrelay.dimse.messages import (
    NCreateRequest,
    NCreateResponse,
    NGetResponse,
    NSetRequest,
    NSetResponse,
    ObjectRequest,
)
from dicomrelay.net.edge import ask
from dicomrelay.net.incoming_request import IncomingRequest
from dicomrelay.net.service import AssociationInfo, ObjectHandler, ObjectReply
from dicomrelay.ul.connection import Connection

MAX_OBJECT_BYTES: Final = 8 << 20
_COMMENT_CHARACTERS: Final = 64  # VR LO


class ProvidedObjects:
    """Takes requests one by one and answers each at once. Of the association's thread.

    Parameters
    ----------
    handler : callable
        Takes each request.
    """

    def __init__(self, handler: ObjectHandler, association: AssociationInfo) -> None:
        self._handler = handler
        self._association = association
        self._incoming: IncomingRequest[ObjectRequest] = IncomingRequest(MAX_OBJECT_BYTES)

    @property
    def is_receiving(self) -> bool:
        """Whether the data set of a request is on its way."""
        return self._incoming.is_receiving

    def begin(self, request: ObjectRequest, transfer_syntax_uid: str) -> None:
        """A request came; its data set follows by `add`."""
        self._incoming.begin(request, transfer_syntax_uid)

    def add(self, fragments: Sequence[memoryview]) -> None:
        """Take the next bytes; what is over the bound is read and thrown away."""
        self._incoming.add(fragments)

    def finish(self, connection: Connection, context_id: int) -> bytes:
        """The request is whole: the bytes of the response to it."""
        request, data_set, syntax = self._incoming.take()
        reply, _ = ask(self._handler, self._association, request, data_set, syntax)
        if reply is None:
            reply = ObjectReply(ObjectStatus.PROCESSING_FAILURE, "a fault of the service")
        kind: type[NCreateResponse | NSetResponse | NGetResponse] = NGetResponse
        if isinstance(request, NCreateRequest):
            kind = NCreateResponse
        elif isinstance(request, NSetRequest):
            kind = NSetResponse
        response = kind(
            request.message_id,
            reply.status,
            request.sop_class_uid,
            reply.sop_instance_uid or request.sop_instance_uid,
            reply.comment[:_COMMENT_CHARACTERS].encode("ascii", "replace").decode("ascii"),
            reply.error_id,
            reply.attributes,
        )
        has_data_set = reply.data_set is not None
        answer = command_bytes(connection, context_id, encode_message(response, has_data_set=has_data_set))
        if reply.data_set is not None:
            answer += data_set_bytes(connection, context_id, reply.data_set)
        return answer

    def close(self) -> None:
        """The association is over: forget what is half received."""
        self._incoming.forget()
