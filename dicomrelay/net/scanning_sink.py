"""The data set of one C-STORE request: scanned while it is written, and checked before it is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

from dicomrelay.dicom.scan import Header, HeaderScanner
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.errors import RelayError
from dicomrelay.net.replies import reply_to
from dicomrelay.net.service import Commit, StoreReply
from dicomrelay.net.stored import STORED, mismatch


class ScanningSink(ABC):
    """A `StoreSink` over a file. What it keeps, and whom it tells of a refusal, is its heir's.

    Parameters
    ----------
    transfer_syntax_uid : str
        Of the presentation context.
    write : callable
        Appends to the file; raises a RelayError when it cannot.
    forget : callable
        Removes the file; harmless when it is gone.
    whole : bool
        Scan the data set to its end, so that one that was cut short is refused.
    """

    def __init__(
        self,
        request: CStoreRequest,
        transfer_syntax_uid: str,
        *,
        write: Callable[[Sequence[memoryview]], None],
        forget: Callable[[], None],
        whole: bool = False,
    ) -> None:
        self._append = write
        self._forget = forget
        self._request = request
        self._scanner = HeaderScanner(transfer_syntax_uid, whole=whole)
        self._scanning = True
        self._refusal: StoreReply | None = None

    @abstractmethod
    def keep(self, header: Header) -> None:
        """Give the file that is complete its place, durably; a RelayError when it has none."""

    @abstractmethod
    def refused(self, reply: StoreReply, error: RelayError | None) -> None:
        """The instance is refused, and its file is gone; `error` is why, when it was one."""

    def write(self, fragments: Sequence[memoryview]) -> None:
        """Take the next bytes; after a refusal they are thrown away."""
        if self._refusal is not None:
            return
        try:
            if self._scanning:
                feed = self._scanner.feed
                for fragment in fragments:
                    if feed(fragment):
                        self._scanning = False
                        break
            self._append(fragments)
        except RelayError as error:
            self._refuse(reply_to(error), error)

    def finish(self) -> StoreReply | Commit:
        """What is wrong with the data set, or the commit that is left to do."""
        if self._refusal is not None:
            return self._refusal
        try:
            header = self._scanner.finish()
        except RelayError as error:
            return self._refuse(reply_to(error), error)
        wrong = self.wrong(header)
        return partial(self._commit, header) if wrong is None else self._refuse(wrong, None)

    def abandon(self) -> None:
        """The association died first."""
        self._forget()

    def wrong(self, header: Header) -> StoreReply | None:
        """What is wrong with a data set that could be read, None for nothing."""
        return mismatch(header, self._request)

    def _commit(self, header: Header) -> StoreReply:
        """Keep it, and only then answer Success."""
        try:
            self.keep(header)
        except RelayError as error:
            return self._refuse(reply_to(error), error)
        return STORED

    def _refuse(self, reply: StoreReply, error: RelayError | None) -> StoreReply:
        self._refusal = reply
        self._forget()
        self.refused(reply, error)
        return reply
