"""One C-STORE sub-operation of a C-GET, on its way into the receiver's sink (PS3.4 Section C.4.3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dicomrelay.dicom.status import Status
from dicomrelay.dimse.exchange import StoreBegun
from dicomrelay.dimse.messages import CStoreRequest, CStoreResponse
from dicomrelay.net.incoming_store import IncomingStore
from dicomrelay.net.service import StoreReply, StoreSink


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

    __slots__ = ("_store", "context_id")

    def __init__(self, receiver: Receiver, begun: StoreBegun, context: tuple[str, str]) -> None:
        self.context_id = begun.context_id
        self._store = IncomingStore(begun.request, _begin, receiver, begun.request, context)

    def write(self, fragments: Sequence[memoryview]) -> None:
        """Hand the next bytes on; the views are valid during the call only."""
        self._store.add(fragments)
        self._store.flush()

    def finish(self) -> CStoreResponse:
        """The data set is complete: the response to send."""
        return self._store.response(self._store.finish())

    def abandon(self) -> None:
        """The data set will not be complete."""
        self._store.abandon()


def _begin(receiver: Receiver, request: CStoreRequest, context: tuple[str, str]) -> StoreSink | StoreReply:
    abstract_syntax, transfer_syntax = context
    if request.sop_class_uid != abstract_syntax:
        return StoreReply(Status.SOP_CLASS_NOT_SUPPORTED, "not the SOP class of its context")
    return receiver.begin_store(request, transfer_syntax)
