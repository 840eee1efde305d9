"""The data set of one C-STORE on its way out of its file: read ahead as far as the buffer goes, then step by step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final, Protocol

from dicomrelay.errors import SpoolCorrupt

# Read before its turn comes: a CT slice of 512 x 512 and more.
AHEAD_BYTES: Final = 1 << 20
# Read and sent at once of what is longer than that: it is still in the processor's cache when the socket takes it.
STEP_BYTES: Final = 1 << 18
_O_CLOEXEC: Final = getattr(os, "O_CLOEXEC", 0)
_NO_ROOM: Final = memoryview(b"")


class DataSetInFile(Protocol):
    """Where a data set lies: what of a `StoreItem` is needed here."""

    @property
    def path(self) -> str | os.PathLike[str]:
        """The file."""

    @property
    def data_set_offset(self) -> int:
        """Where in it the data set begins."""

    @property
    def data_set_bytes(self) -> int:
        """How long it is."""


class SendBuffer:
    """Lends one buffer, again and again, so that the system gives its pages once; another when that one is lent already."""

    __slots__ = ("_spare",)

    def __init__(self) -> None:
        self._spare = _NO_ROOM

    def take(self, count: int) -> memoryview:
        """A buffer of at least `count` bytes with anything in it; the caller's until it is given back."""
        spare, self._spare = self._spare, _NO_ROOM
        return spare if len(spare) >= count else memoryview(bytearray(1 << (count - 1).bit_length()))

    def give(self, buffer: memoryview) -> None:
        """Take it back: nobody uses a view of it any more."""
        self._spare = buffer


class OutgoingFile:
    """An open file with a data set; `close` ends it.

    Parameters
    ----------
    item : DataSetInFile
    buffer : SendBuffer
        Of the association.

    Raises
    ------
    OSError
        It cannot be opened.
    """

    __slots__ = ("_ahead", "_buffer", "_descriptor", "_item", "_room")

    def __init__(self, item: DataSetInFile, buffer: SendBuffer) -> None:
        self._item = item
        self._buffer = buffer
        self._room = self._ahead = _NO_ROOM
        self._descriptor = os.open(item.path, os.O_RDONLY | _O_CLOEXEC)

    def read_whole(self) -> bytes | None:
        """All of a small data set; None when the file is too short for it.

        Raises
        ------
        OSError
            It cannot be read.
        """
        item = self._item
        data = os.pread(self._descriptor, item.data_set_bytes, item.data_set_offset)
        return data if len(data) == item.data_set_bytes else None

    def check_length(self) -> None:
        """Whether the file can hold the data set.

        Raises
        ------
        SpoolCorrupt
            It is too short.
        """
        item = self._item
        size, recorded = os.fstat(self._descriptor).st_size, item.data_set_offset + item.data_set_bytes
        if size < recorded:
            raise SpoolCorrupt(f"the file has {size} bytes, {recorded} are recorded: not sent")

    def read_ahead(self, unit_bytes: int) -> bool:
        """Read as many whole units as there is room for, one at least; whether that is all of the data set.

        Parameters
        ----------
        unit_bytes : int
            What `pieces` is going to be cut into, at most `AHEAD_BYTES`.

        Raises
        ------
        SpoolCorrupt, OSError
            The file became shorter, or cannot be read.
        """
        item = self._item
        count = min(item.data_set_bytes, AHEAD_BYTES // unit_bytes * unit_bytes)
        self._room = self._buffer.take(count)
        self._ahead = self._room[:count]
        self._fill(self._ahead, item.data_set_offset)
        return count == item.data_set_bytes

    def pieces(self, ahead_step: int, step: int) -> Iterator[memoryview]:
        """The data set in order, from memory and then from the file; each piece voids the one before it.

        Parameters
        ----------
        ahead_step, step : int
            The most bytes in a piece of what was read ahead, and of what was not: whole units, at most `AHEAD_BYTES`.

        Raises
        ------
        SpoolCorrupt, OSError
            The file became shorter, or cannot be read.
        """
        ahead = self._ahead
        for begin in range(0, len(ahead), ahead_step):
            yield ahead[begin : begin + ahead_step]
        offset = self._item.data_set_offset + len(ahead)
        end = self._item.data_set_offset + self._item.data_set_bytes
        while offset < end:
            piece = self._room[: min(step, end - offset)]
            self._fill(piece, offset)
            yield piece
            offset += len(piece)

    def close(self) -> None:
        """Give the file and the buffer back; harmless when that is done already."""
        self.close_file()
        if self._room:
            self._buffer.give(self._room)
            self._room = self._ahead = _NO_ROOM

    def close_file(self) -> None:
        """Everything is in memory."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def _fill(self, space: memoryview, offset: int) -> None:
        """What the file has there."""
        while space:
            try:
                count = os.preadv(self._descriptor, (space,), offset)
            except OSError as error:
                error.filename = str(self._item.path)  # a descriptor has no name
                raise
            if count == 0:
                raise SpoolCorrupt("the file became shorter while it was sent")
            space = space[count:]
            offset += count
