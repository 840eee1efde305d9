"""One instance on its way into the output folder: a Part 10 file that has no name of its own yet."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from dicomrelay.dicom.part10 import HEAD_BYTES, FileMeta, encode_file_meta, parse_file_meta
from dicomrelay.errors import DataSetError
from dicomrelay.spool.operations import Operations
from dicomrelay.spool.writer import spool_error

_MAX_BUFFERS: Final = 1000  # IOV_MAX is 1024 on Linux and macOS
_STEP_BYTES: Final = 1 << 20


class PartFile:
    """Written by one thread. `discard` may be called at any time and any number of times.

    Parameters
    ----------
    path : str
        Of a file that does not exist.
    meta : FileMeta
        Written first.

    Raises
    ------
    SpoolFull, SpoolError
        It cannot be made.
    """

    def __init__(self, path: str, meta: FileMeta, operations: Operations) -> None:
        head = encode_file_meta(meta)
        self.path = path
        self.meta = meta
        self.data_set_offset = len(head)
        self._operations = operations
        self._size = 0
        self._fd = -1
        self._is_gone = False
        try:
            self._fd = operations.create(path)
            self._append([memoryview(head)])
        except OSError as error:
            self.discard()
            raise spool_error(path, "cannot be created", error) from error

    @property
    def data_set_bytes(self) -> int:
        """Bytes of the data set so far."""
        return self._size - self.data_set_offset

    def write(self, fragments: Sequence[memoryview]) -> None:
        """Append to the data set.

        Raises
        ------
        SpoolFull, SpoolError
            The disk is full, or it cannot be written; the file is gone.
        """
        try:
            self._append([fragment for fragment in fragments if len(fragment)])
        except OSError as error:
            self.discard()
            raise spool_error(self.path, "cannot be written", error) from error

    def close(self, *, flush: bool) -> None:
        """It is complete; with `flush` its bytes are durable.

        Raises
        ------
        SpoolFull, SpoolError
            They are not; the file is gone.
        """
        try:
            if flush:
                self._operations.sync_data(self._fd)
            self._close()
        except OSError as error:
            self.discard()
            raise spool_error(self.path, "cannot be made durable", error) from error

    def holds_the_same_as(self, other: Path) -> bool:
        """Whether another file holds the same data set in the same transfer syntax.

        Raises
        ------
        OSError
            One of them cannot be read.
        """
        if not other.is_file():  # a pipe would be waited for
            return False
        with other.open("rb") as theirs, open(self.path, "rb") as ours:
            try:
                meta = parse_file_meta(theirs.read(HEAD_BYTES))
            except DataSetError:
                return False
            size = os.fstat(theirs.fileno()).st_size - meta.data_set_offset
            if size != self.data_set_bytes or meta.transfer_syntax_uid != self.meta.transfer_syntax_uid:
                return False
            theirs.seek(meta.data_set_offset)
            ours.seek(self.data_set_offset)
            while step := ours.read(_STEP_BYTES):
                if step != theirs.read(len(step)):
                    return False
        return True

    def discard(self) -> None:
        """Remove it, under this name."""
        with suppress(OSError):
            self._close()
        if not self._is_gone:
            self._is_gone = True
            with suppress(OSError):
                self._operations.unlink(self.path)

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._operations.close(fd)

    def _append(self, buffers: list[memoryview]) -> None:
        while buffers:
            written = self._operations.pwritev(self._fd, buffers[:_MAX_BUFFERS], self._size)
            if written <= 0:
                raise OSError(errno.EIO, "nothing was written")
            self._size += written
            while buffers and written >= len(buffers[0]):
                written -= len(buffers.pop(0))
            if written:
                buffers[0] = buffers[0][written:]
