"""C-FIND, C-MOVE and C-GET over an open association, as iterators; docs/design/query-retrieve-scu.md has the bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from pydicom.dataset import Dataset

from dicomrelay.dicom.query_models import QueryModel
from dicomrelay.dicom.query_status import PENDING_UNSUPPORTED_KEYS, Finality, finality
from dicomrelay.dimse.exchange import Finished, Pending, StoreBegun, StoreData
from dicomrelay.dimse.identifier import decode_identifier
from dicomrelay.dimse.messages import CFindRequest, CGetRequest, CMoveRequest, RetrieveResponse
from dicomrelay.errors import MalformedDataSet, NoAcceptedContext
from dicomrelay.net.operation import Conclusion, Counts, Operation, Stop, counts_of, never
from dicomrelay.net.requestor import Association
from dicomrelay.net.sub_operation import Receiver, SubOperation

__all__ = ["Conclusion", "Counts", "Find", "Get", "Move", "Receiver", "Stop"]


class Find(Operation):
    """A C-FIND. Iterate over the answers; `conclusion` is there afterwards.

    Attributes
    ----------
    unreadable : int
        Answers that could not be read and were left out.
    ignores_keys : bool
        The peer said that it did not match some optional keys (FF01).
    """

    def __init__(
        self,
        association: Association,
        model: QueryModel,
        identifier: Dataset,
        *,
        limit: int | None = None,
        stop: Callable[[], bool] = never,
    ) -> None:
        super().__init__(
            association, CFindRequest(association.next_message_id(), model.find), identifier, limit, stop
        )
        self.unreadable = 0
        self.ignores_keys = False

    def __iter__(self) -> Iterator[Dataset]:
        """Yield one identifier after the other.

        Raises
        ------
        AssociationError
            The association died; what was yielded before is as true as ever.
        """
        given, is_dropped = 0, False
        for event in self.events():
            if isinstance(event, Finished):
                self.conclude(event)
                # A peer that was done before our C-CANCEL reached it ends with Success: what it gave we did not take.
                if is_dropped and self.conclusion is not None:
                    self.conclusion = replace(self.conclusion, stopped=self._stopped)
            elif isinstance(event, Pending) and self._stopped is not None:
                is_dropped = True
            elif isinstance(event, Pending):
                self.ignores_keys |= event.response.status == PENDING_UNSUPPORTED_KEYS
                if self._limit is not None and given >= self._limit:
                    is_dropped = True
                    self.cancel(Stop.LIMIT)
                    continue
                given += 1
                try:
                    answer = decode_identifier(event.identifier, self._syntax)
                except MalformedDataSet:
                    self.unreadable += 1
                else:
                    yield answer


class Move(Operation):
    """A C-MOVE: the peer sends to a third AE. Iterate over how far it is; `conclusion` is there afterwards."""

    def __init__(
        self,
        association: Association,
        model: QueryModel,
        identifier: Dataset,
        destination: str,
        *,
        stop: Callable[[], bool] = never,
    ) -> None:
        request = CMoveRequest(association.next_message_id(), model.move, destination)
        super().__init__(association, request, identifier, None, stop)

    def __iter__(self) -> Iterator[Counts]:
        """Yield the counters of each pending response.

        Raises
        ------
        AssociationError
            The association died; what the peer does further is not known.
        """
        for event in self.events():
            if isinstance(event, Finished):
                self.conclude(event)
            elif isinstance(event, Pending) and isinstance(event.response, RetrieveResponse):
                yield counts_of(event.response)


class Get(Operation):
    """A C-GET: the peer sends on this association. Iterate over how far it is; `conclusion` is there afterwards.

    Attributes
    ----------
    stored, refused : int
        Instances that the receiver took, and did not take.
    """

    def __init__(
        self,
        association: Association,
        model: QueryModel,
        identifier: Dataset,
        receiver: Receiver,
        *,
        limit: int | None = None,
        stop: Callable[[], bool] = never,
    ) -> None:
        request = CGetRequest(association.next_message_id(), model.get)
        super().__init__(association, request, identifier, limit, stop)
        if not self._contexts:
            raise NoAcceptedContext(
                f"{association.remote} accepted no storage context for a C-GET: use move, to a destination it knows"
            )
        self._receiver = receiver
        self.stored = self.refused = 0

    def __iter__(self) -> Iterator[Counts]:
        """Yield the counters of each pending response; what is not told is None.

        Raises
        ------
        AssociationError
            The association died; what was stored before stays.
        """
        counts = Counts()
        for event in self.events():
            if isinstance(event, StoreBegun):
                self._store = SubOperation(self._receiver, event, self._contexts[event.context_id])
            elif isinstance(event, StoreData):
                if self._add(event):
                    yield counts
            elif isinstance(event, Finished):
                self.conclude(event)
            elif isinstance(event.response, RetrieveResponse):
                counts = counts_of(event.response)
                yield counts

    def _add(self, data: StoreData) -> bool:
        """Take data of the sub-operation that has begun; whether it is done."""
        store = self._store
        if store is None:
            return False
        store.write(data.fragments)
        if not data.is_complete:
            return False
        self._store = None
        response = store.finish()
        is_kept = finality(response.status) in (Finality.SUCCESS, Finality.WARNING)
        self.stored += is_kept
        self.refused += not is_kept
        self._association.send_message(response, store.context_id)
        if self._limit is not None and self.stored >= self._limit:
            self.cancel(Stop.LIMIT)
        return True
