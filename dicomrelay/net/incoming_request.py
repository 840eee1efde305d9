"""A request whose data set is still on its way (PS3.7 Section 6.3.1). No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from dicomrelay.dimse.identifier_buffer import IdentifierBuffer, TooLarge

_T = TypeVar("_T")


class IncomingRequest(Generic[_T]):
    """Holds one request at a time, with what has come of its data set.

    Parameters
    ----------
    limit : int
        Bytes of a data set; what is over it is read and thrown away.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._request: _T | None = None
        self._syntax = ""
        self._buffer: IdentifierBuffer | None = None

    @property
    def is_receiving(self) -> bool:
        """Whether the data set of a request is on its way."""
        return self._request is not None

    def begin(self, request: _T, transfer_syntax_uid: str) -> None:
        """A request came; its data set follows by `add`."""
        self._request, self._syntax = request, transfer_syntax_uid
        self._buffer = IdentifierBuffer(self._limit)

    def add(self, fragments: Sequence[memoryview]) -> None:
        """Take the next bytes."""
        if self._buffer is None:
            return
        try:
            self._buffer.add(fragments)
        except TooLarge:
            self._buffer = None

    def take(self) -> tuple[_T, bytes | None, str]:
        """The request is whole: it, its data set, None when that was over the limit, and the transfer syntax."""
        request, buffer = self._request, self._buffer
        self.forget()
        if request is None:
            raise AssertionError("take without begin")
        return request, buffer.take() if buffer is not None else None, self._syntax

    def forget(self) -> None:
        """What is half received."""
        self._request = self._buffer = None
