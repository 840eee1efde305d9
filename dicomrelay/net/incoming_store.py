"""One C-STORE request on its way into the service's sink.

Holds the views of a few PDUs together, so that the sink gets them in one call, and turns whatever the sink raises
into the status that answers the peer. After a failure the rest of the data set is read and thrown away, because the
standard knows no other way to refuse in the middle and keep the association (PS3.7 Section 9.3.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dicomrelay.dicom.status import Status
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.net.edge import ask
from dicomrelay.net.service import AssociationInfo, AssociationService, Commit, StoreReply, StoreSink, finish

# So many views at once, well under the 1024 (IOV_MAX) that one writev takes.
_MAX_FRAGMENTS: Final = 256


class IncomingStore:
    """The receiving side of one C-STORE."""

    __slots__ = ("_fragments", "_reply", "_sink", "bytes_received", "request")

    def __init__(
        self,
        service: AssociationService,
        association: AssociationInfo,
        request: CStoreRequest,
        transfer_syntax_uid: str,
    ) -> None:
        self.request = request
        self.bytes_received = 0
        self._fragments: list[memoryview] = []
        self._sink: StoreSink | None = None
        self._reply: StoreReply | None = None
        begun, error = ask(lambda: service.begin_store(association, request, transfer_syntax_uid))
        if error is not None:
            self._reply = error
        elif isinstance(begun, StoreReply):
            self._reply = begun
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
        if not self._fragments:
            return
        sink, fragments = self._sink, self._fragments
        if sink is not None:
            _, error = ask(lambda: sink.write(fragments))
            if error is not None:
                self._reply = error
                self.abandon()
        self._fragments.clear()

    def complete(self) -> StoreReply | Commit:
        """The data set is complete: what to answer, or what is left to do for an answer."""
        self.flush()
        sink, self._sink = self._sink, None
        if sink is None:
            return self._reply or StoreReply(Status.PROCESSING_FAILURE)
        found, error = ask(sink.finish)
        return found or error or StoreReply(Status.PROCESSING_FAILURE)

    def finish(self) -> StoreReply:
        """The data set is complete: what to answer, with all that is left to do for it done."""
        self.flush()
        sink, self._sink = self._sink, None
        if sink is None:
            return self._reply or StoreReply(Status.PROCESSING_FAILURE)
        reply, error = ask(lambda: finish(sink))
        return reply or error or StoreReply(Status.PROCESSING_FAILURE)

    def abandon(self) -> None:
        """The data set will not be complete."""
        self._fragments.clear()
        sink, self._sink = self._sink, None
        if sink is not None:
            ask(sink.abandon)
