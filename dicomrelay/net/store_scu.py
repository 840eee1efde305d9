"""C-STORE over one association of ours: prepared one ahead, sent as the window allows, told as the answers come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from dicomrelay.errors import (
    AssociationAborted,
    LocalProtocolError,
    NoAcceptedContext,
    RelayError,
    SpoolCorrupt,
)
from dicomrelay.net.endings import StoreEndings
from dicomrelay.net.outgoing_file import SendBuffer
from dicomrelay.net.outgoing_store import OutgoingStore, StoreItem
from dicomrelay.net.outgoing_window import OutgoingWindow
from dicomrelay.net.proposal import RemoteAe
from dicomrelay.net.service import StoreReply
from dicomrelay.ul.connection import Connection

StoreAnswer = tuple[StoreItem, StoreReply | RelayError | OSError]


class StoreScu:
    """The storage side of an `Association`, which documents `store` and `stores`.

    Parameters
    ----------
    accepted : mapping of (str, str) to int
        Abstract syntax and transfer syntax to the presentation context that carries them.
    next_message_id : callable
        Of the association: one count for all its requests.
    """

    def __init__(
        self,
        remote: RemoteAe,
        connection: Connection,
        accepted: Mapping[tuple[str, str], int],
        outstanding: OutgoingWindow,
        endings: StoreEndings,
        next_message_id: Callable[[], int],
    ) -> None:
        self._remote = remote
        self._connection = connection
        self._accepted = accepted
        self._outstanding = outstanding
        self._endings = endings
        self._next_message_id = next_message_id
        self._buffer = SendBuffer()

    def require_none_outstanding(self) -> None:
        """Answers to what `stores` has sent would be taken for those of something else.

        Raises
        ------
        LocalProtocolError
            Some are still to come.
        """
        if self._outstanding:
            raise LocalProtocolError("answers are outstanding: end the iteration over stores() first")

    def store(self, item: StoreItem, pace: Callable[[int], None] | None) -> StoreReply:
        """One instance, and the answer to it."""
        self.require_none_outstanding()
        store = self._prepared(item)
        self._endings.guarded(self._outstanding.send, store, pace)
        self._endings.guarded(self._outstanding.wait)
        ((_, reply),) = self._told()
        return reply

    def stores(
        self, items: Iterable[StoreItem], at_most: int, pace: Callable[[int], None] | None
    ) -> Iterator[StoreAnswer]:
        """Many instances, at most `at_most` of them outstanding."""
        self.require_none_outstanding()
        outstanding, guarded = self._outstanding, self._endings.guarded
        store: OutgoingStore | None = None
        try:
            for item in items:
                try:
                    store = self._prepared(item)
                except (NoAcceptedContext, SpoolCorrupt, OSError) as error:
                    yield item, error
                    continue
                while len(outstanding) >= at_most:
                    guarded(outstanding.wait)
                    # What has been answered is told of after the next is on its way, so that the peer need not wait for our
                    # caller: but only when that one takes a moment.
                    if not store.is_small or len(outstanding) >= at_most:
                        yield from self._told()
                try:
                    guarded(outstanding.send, store, pace)
                except (SpoolCorrupt, OSError) as error:
                    yield from self._told()
                    yield item, error
                    raise AssociationAborted(
                        f"the association with {self._remote} was aborted: {error}"
                    ) from error
                if outstanding.answered:
                    yield from self._told()
            while outstanding:
                guarded(outstanding.wait)
                yield from self._told()
        except Exception:  # of `items` and `pace` too: what was answered is no less true
            yield from self._told()
            raise
        finally:
            if store is not None:
                store.close()
            if outstanding:  # left early, or died: nobody waits for what is still to come
                outstanding.forget()
                self._endings.abort()

    def _prepared(self, item: StoreItem) -> OutgoingStore:
        context_id = self._accepted.get((item.sop_class_uid, item.transfer_syntax_uid))
        if context_id is None:
            raise NoAcceptedContext(
                f"{self._remote} accepted no presentation context for {item.sop_class_uid} "
                f"in {item.transfer_syntax_uid}"
            )
        return OutgoingStore(self._connection, item, context_id, self._next_message_id(), self._buffer)

    def _told(self) -> list[tuple[StoreItem, StoreReply]]:
        """The answers that have come, once."""
        answered = self._outstanding.answered
        self._outstanding.answered = []
        return answered
