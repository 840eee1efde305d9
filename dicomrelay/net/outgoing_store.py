"""The sending side of one C-STORE: prepared before its turn comes, then sent as command and data set.

A small data set is read when it is prepared and leaves with its command in one piece. A large one goes from its file to
the socket, and no byte of it passes through Python.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicomrelay.dicom.status import Status
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.dimse.fragments import command_bytes, largest_fragment
from dicomrelay.dimse.store_codec import encode_store_request, encode_store_response
from dicomrelay.errors import SpoolCorrupt
from dicomrelay.net.transport import Transport
from dicomrelay.ul.connection import Connection
from dicomrelay.ul.writer import p_data_header

# Up to here copying it twice costs less than a system call of its own, and than the pipe behind sendfile.
_SMALL_BYTES: Final = 65_536
_O_CLOEXEC: Final = getattr(os, "O_CLOEXEC", 0)


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


class OutgoingStore:
    """A C-STORE request that is ready to be sent, its file open; `close` ends it.

    Parameters
    ----------
    connection : Connection
        Established.
    context_id, message_id : int
        Of the request.

    Attributes
    ----------
    request : bytes or None
        All PDUs of it, when its data set is small: what can be sent at once. None for others, which go from their file.
    first_bytes : int
        Data set bytes in the first of its PDUs.
    success : bytes
        The P-DATA-TF PDU that answers it when all is well: one that looks so needs no decoding.
    due_at : float
        When its response has to be there, of the monotonic clock; set when it is sent.

    Raises
    ------
    OSError
        The file cannot be opened or read.
    SpoolCorrupt
        It is shorter than the item says, or holds an odd number of bytes that must not be made even.
    """

    __slots__ = (
        "_command",
        "_context_id",
        "_descriptor",
        "_fragment_bytes",
        "_padding",
        "due_at",
        "first_bytes",
        "item",
        "message_id",
        "request",
        "success",
    )

    def __init__(self, connection: Connection, item: StoreItem, context_id: int, message_id: int) -> None:
        self.item = item
        self.message_id = message_id
        self.due_at = 0.0
        self._context_id = context_id
        # A fragment has an even length. A deflated stream may be odd in a file and gets a NUL on the wire (PS3.5 Annex A.5);
        # behind any other data set it would be garbage.
        self._padding = b"\0" if item.data_set_bytes & 1 else b""
        if self._padding and not transfer_syntax(item.transfer_syntax_uid).is_deflated:
            raise SpoolCorrupt(
                f"{item.path} has an odd number of data set bytes, which no peer accepts: not sent"
            )
        command = encode_store_request(message_id, item.sop_class_uid, item.sop_instance_uid)
        answer = encode_store_response(message_id, Status.SUCCESS, item.sop_class_uid, item.sop_instance_uid)
        self._command = command_bytes(connection, context_id, command)
        self.success = p_data_header(context_id, len(answer), is_command=True, is_last=True) + answer
        self._fragment_bytes = largest_fragment(connection.peer_max_pdu_bytes)
        self.first_bytes = min(item.data_set_bytes, self._fragment_bytes)
        self._descriptor = os.open(item.path, os.O_RDONLY | _O_CLOEXEC)
        try:
            self.request = self._read_small()
        except BaseException:
            self.close()
            raise
        if self.request is not None:
            self.close()

    def _read_small(self) -> bytes | None:
        """The whole request, when its data set is small and fits in one PDU; None for others, whose file is long enough."""
        item = self.item
        count = item.data_set_bytes
        if count <= _SMALL_BYTES and count + len(self._padding) <= self._fragment_bytes:
            data = os.pread(self._descriptor, count, item.data_set_offset)
            if len(data) == count:
                header = p_data_header(
                    self._context_id, count + len(self._padding), is_command=False, is_last=True
                )
                return b"%b%b%b%b" % (self._command, header, data, self._padding)
        size = os.fstat(self._descriptor).st_size
        if size < item.data_set_offset + count:
            raise SpoolCorrupt(
                f"{item.path} has {size} bytes, {item.data_set_offset + count} are recorded: not sent"
            )
        return None

    def send(self, transport: Transport, pace: Callable[[int], None] | None) -> None:
        """Send it, and close its file.

        Parameters
        ----------
        pace : callable or None
            Called with the number of data set bytes of a PDU before they are sent, but for the `first_bytes`; may wait.

        Raises
        ------
        AssociationTimeout, AssociationAborted
            The peer takes no more, or is gone.
        SpoolCorrupt, OSError
            The file became shorter, or cannot be read.
        """
        request = self.request
        if request is None:
            self._send_file(transport, pace)
            return
        transport.connection.check_p_data()
        transport.send(request)

    def _send_file(self, transport: Transport, pace: Callable[[int], None] | None) -> None:
        """PDU after PDU; the command, and the header of the first, leave together with its data (MSG_MORE)."""
        item, connection = self.item, transport.connection
        offset, left, ahead = item.data_set_offset, item.data_set_bytes, self._command
        while True:
            count = min(left, self._fragment_bytes)
            left -= count
            padding = b"" if left else self._padding
            ahead += connection.send_p_data_header(
                self._context_id, count + len(padding), is_command=False, is_last=not left
            )
            if pace is not None and offset != item.data_set_offset:
                pace(count)
            transport.send(ahead, more=True)
            try:
                transport.send_file(self._descriptor, offset, count)
            except EOFError as error:
                raise SpoolCorrupt(f"{item.path} became shorter while it was sent") from error
            except OSError as error:
                error.filename = str(item.path)  # sendfile knows no name
                raise
            offset += count
            if not left:
                break
            ahead = b""
        if padding:
            transport.send(padding)
        self.close()

    def close(self) -> None:
        """Give the file back; harmless when that is done already."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)
