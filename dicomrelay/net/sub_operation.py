"""One C-STORE sub-operation of a C-GET, on its way into the receiver's sink (PS3.4 Section C.4.3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dicomrelay.dicom.status import Status
from dicomrelay.dimse.exchange import StoreBegun
from dicomrelay.dimse.messages import CStoreRequest, CStoreResponse
from dicomrelay.net.edge import ask
from dicomrelay.net.service import StoreReply, StoreSink, finish


class Receiver(Protocol):
    """Takes what a C-GET brings."""

    def begin_store(self, request: CStoreRequest, transfer_syntax_uid: str) -> StoreSink | StoreReply:
        """A sink for the data set that follows; or a reply that refuses it. The UIDs are strings from the wire."""


class SubOperation:
    """Takes one data set. After a refusal or a failure the rest is read and thrown away.

    Parameters
    ----------
    begun : StoreBegun
    context : tuple of (str, str)
        Abstract and transfer syntax of its presentation context.
    """

    __slots__ = ("_reply", "_request", "_sink", "context_id")

    def __init__(self, receiver: Receiver, begun: StoreBegun, context: tuple[str, str]) -> None:
        self.context_id = begun.context_id
        self._request = begun.request
        self._sink: StoreSink | None = None
        self._reply: StoreReply | None = None
        abstract_syntax, transfer_syntax = context
        if begun.request.sop_class_uid != abstract_syntax:
            self._reply = StoreReply(Status.SOP_CLASS_NOT_SUPPORTED, "not the SOP class of its context")
            return
        found, failure = ask(lambda: receiver.begin_store(begun.request, transfer_syntax))
        if isinstance(found, StoreReply) or found is None:
            self._reply = found or failure
        else:
            self._sink = found

    def write(self, fragments: Sequence[memoryview]) -> None:
        """Hand the next bytes on; the views are valid during the call only."""
        sink = self._sink
        if sink is None:
            return
        _, failure = ask(lambda: sink.write(fragments))
        if failure is not None:
            self._reply = failure
            self.abandon()

    def finish(self) -> CStoreResponse:
        """The data set is complete: the response to send."""
        sink, self._sink = self._sink, None
        reply = self._reply
        if sink is not None:
            done, failure = ask(lambda: finish(sink))
            reply = done or failure
        reply = reply or StoreReply(Status.PROCESSING_FAILURE)
        request = self._request
        comment = reply.comment[:64].encode("ascii", "replace").decode("ascii")  # VR LO
        return CStoreResponse(
            request.message_id, reply.status, request.sop_class_uid, request.sop_instance_uid, comment
        )

    def abandon(self) -> None:
        """The data set will not be complete."""
        sink, self._sink = self._sink, None
        if sink is not None:
            ask(sink.abandon)
