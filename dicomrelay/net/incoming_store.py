"""One C-STORE request on its way into a sink.

Holds the views of a few PDUs together, so that the sink gets them in one call, and turns whatever the sink raises
into the status that answers the peer. After a failure the rest of the data set is read and thrown away, because the
standard knows no other way to refuse in the middle and keep the association (PS3.7 Section 9.3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVarTuple

from dicomrelay.dicom.status import Status
from dicomrelay.dimse.messages import CStoreRequest, CStoreResponse
from dicomrelay.net.edge import ask
from dicomrelay.net.service import Commit, StoreReply, StoreSink, finish

_Arguments = TypeVarTuple("_Arguments")
# So many views at once, well under the 1024 (IOV_MAX) that one writev takes.
_MAX_FRAGMENTS: Final = 256
_NO_ANSWER: Final = StoreReply(Status.PROCESSING_FAILURE)  # of a service that gives none


class IncomingStore:
    """The receiving side of one C-STORE.

    Parameters
    ----------
    request : CStoreRequest
    begin : callable
        Gives its sink, or the reply that refuses it; called with `arguments`, at once.
    """

    __slots__ = ("_fragments", "_reply", "_sink", "bytes_received", "request")

    def __init__(
        self,
        request: CStoreRequest,
        begin: Callable[[*_Arguments], StoreSink | StoreReply],
        *arguments: *_Arguments,
    ) -> None:
        self.request = request
        self.bytes_received = 0
        self._fragments: list[memoryview] = []
        self._sink: StoreSink | None = None
        self._reply: StoreReply | None = None
        begun, error = ask(begin, *arguments)
        if begun is None or isinstance(begun, StoreReply):
            self._reply = begun or error
        else:
            self._sink = begun

    def add(self, fragments: Sequence[memoryview]) -> None:
        """Take the next views; they reach the sink by `flush` at the latest."""
        held = self._fragments
        for fragment in fragments:
            self.bytes_received += len(fragment)
            held.append(fragment)
            if len(held) >= _MAX_FRAGMENTS:
                self.flush()

    def flush(self) -> None:
        """Hand the sink what is held: the next receive voids the views."""
        fragments = self._fragments
        if not fragments:
            return
        if self._sink is not None:
            _, error = ask(self._sink.write, fragments)
            if error is not None:
                self._reply = error
                self.abandon()
        fragments.clear()

    def complete(self) -> StoreReply | Commit:
        """The data set is complete: what to answer, or what is left to do for an answer."""
        self.flush()
        sink, self._sink = self._sink, None
        if sink is None:
            return self._reply or _NO_ANSWER
        found, error = ask(sink.finish)
        return found or error or _NO_ANSWER

    def finish(self) -> StoreReply:
        """The data set is complete: what to answer, with all that is left to do for it done."""
        self.flush()
        sink, self._sink = self._sink, None
        if sink is None:
            return self._reply or _NO_ANSWER
        reply, error = ask(finish, sink)
        return reply or error or _NO_ANSWER

    def response(self, reply: StoreReply) -> CStoreResponse:
        """The message that answers the request."""
        request = self.request
        comment = reply.comment[:64].encode("ascii", "replace").decode("ascii")  # VR LO
        return CStoreResponse(
            request.message_id, reply.status, request.sop_class_uid, request.sop_instance_uid, comment
        )

    def abandon(self) -> None:
        """The data set will not be complete."""
        self._fragments.clear()
        sink, self._sink = self._sink, None
        if sink is not None:
            ask(sink.abandon)
