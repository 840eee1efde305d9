"""The sending side of one C-STORE: the command, then the data set from its file to the socket by sendfile.

The command and the header of the first data PDU go out with MSG_MORE, so a small instance is one segment on the wire
and no data set byte passes through Python.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.dimse.fragments import command_bytes, largest_fragment
from dicomrelay.errors import SpoolCorrupt
from dicomrelay.net.transport import Transport


@dataclass(frozen=True, slots=True)
class StoreItem:
    """One instance to send: a data set somewhere in a file.

    Attributes
    ----------
    data_set_offset, data_set_bytes : int
        Where in the file the data set begins, behind preamble and file meta information, and how long it is.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    path: Path
    data_set_offset: int
    data_set_bytes: int


class DataSetFile:
    """The open file of a `StoreItem`.

    Raises
    ------
    OSError
        The file cannot be opened.
    SpoolCorrupt
        It is shorter than the item says, or holds an odd number of bytes that must not be made even.
    """

    __slots__ = ("_path", "_position", "descriptor", "left", "padding")

    def __init__(self, item: StoreItem) -> None:
        self._path = item.path
        self._position = item.data_set_offset
        self.left = item.data_set_bytes
        # A fragment has an even length. A deflated stream may be odd in a file and gets a NUL on the wire (PS3.5 Annex A.5);
        # behind any other data set it would be garbage.
        self.padding = b"\0" if self.left % 2 else b""
        if self.padding and not transfer_syntax(item.transfer_syntax_uid).is_deflated:
            raise SpoolCorrupt(
                f"{item.path} has an odd number of data set bytes, which no peer accepts: not sent"
            )
        self.descriptor = os.open(item.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        size = os.fstat(self.descriptor).st_size
        if size < self._position + self.left:
            os.close(self.descriptor)
            raise SpoolCorrupt(
                f"{item.path} has {size} bytes, {self._position + self.left} are recorded: not sent"
            )

    def send(self, transport: Transport, count: int) -> None:
        """Send the next `count` bytes."""
        try:
            transport.send_file(self.descriptor, self._position, count)
        except EOFError as error:
            raise SpoolCorrupt(f"{self._path} became shorter while it was sent") from error
        self._position += count
        self.left -= count

    def __enter__(self) -> DataSetFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.descriptor)


def send_data_set(
    transport: Transport,
    context_id: int,
    command: bytes,
    data_set: DataSetFile,
    pace: Callable[[int], None] | None,
) -> None:
    """Send a whole C-STORE request.

    Raises
    ------
    AssociationTimeout, AssociationAborted
        The peer takes no more, or is gone.
    SpoolCorrupt, OSError
        The file became shorter, or cannot be read.
    """
    connection = transport.connection
    fragment_bytes = largest_fragment(connection.peer_max_pdu_bytes)
    ahead = command_bytes(connection, context_id, command)
    while True:
        count = min(data_set.left, fragment_bytes)
        is_last = count == data_set.left
        padding = data_set.padding if is_last else b""
        ahead += connection.send_p_data_header(
            context_id, count + len(padding), is_command=False, is_last=is_last
        )
        if pace is not None:
            pace(count)
        transport.send(ahead, more=count > 0)
        data_set.send(transport, count)
        if padding:
            transport.send(padding)
        if is_last:
            return
        ahead = b""
