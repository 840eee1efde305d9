"""The sending side of one C-STORE: prepared before its turn comes, then sent as command and data set.

It is read when it is prepared, while the answer to the one before it is awaited: all of it, or the beginning of a large one.
A small data set leaves with its command in one piece. Of a larger one many PDUs leave in one system call, from one buffer
that the requests of an association share (docs/decisions/0006).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicomrelay.dicom.status import Status
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.dimse.fragments import command_bytes, largest_fragment
from dicomrelay.dimse.store_codec import encode_store_request, encode_store_response
from dicomrelay.errors import SpoolCorrupt
from dicomrelay.net.outgoing_file import STEP_BYTES, OutgoingFile, SendBuffer
from dicomrelay.net.transport import MAX_PARTS, Transport
from dicomrelay.ul.connection import Connection
from dicomrelay.ul.writer import p_data_header

# Up to here one piece more to copy costs less than pieces do.
_SMALL_BYTES: Final = 65_536
# A header and a fragment each; room for the command and the padding.
_MAX_PDUS: Final = (MAX_PARTS - 2) // 2


@dataclass(frozen=True, slots=True)
class StoreItem:
    """One instance to send: a data set somewhere in a file.

    Attributes
    ----------
    data_set_offset, data_set_bytes : int
        Where in the file the data set begins, behind preamble and file meta information, and how long it is.
    originator : tuple of (str, int), optional
        AE title and message id of the C-MOVE that it is sent for (PS3.7 Section 9.3.1.1).
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    path: Path
    data_set_offset: int
    data_set_bytes: int
    originator: tuple[str, int] | None = None


class OutgoingStore:
    """A C-STORE request that is ready to be sent, its file open; `close` ends it.

    Parameters
    ----------
    connection : Connection
        Established.
    context_id, message_id : int
        Of the request.
    buffer : SendBuffer
        Of the association.

    Attributes
    ----------
    is_small : bool
        Whether it leaves in one piece, which takes no time.
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
        "_file",
        "_fragment_bytes",
        "_padding",
        "_request",
        "due_at",
        "first_bytes",
        "is_small",
        "item",
        "message_id",
        "success",
    )

    def __init__(
        self, connection: Connection, item: StoreItem, context_id: int, message_id: int, buffer: SendBuffer
    ) -> None:
        self.item = item
        self.message_id = message_id
        self.due_at = 0.0
        self._context_id = context_id
        # A fragment has an even length. A deflated stream may be odd in a file and gets a NUL on the wire (PS3.5 Annex A.5);
        # behind any other data set it would be garbage.
        self._padding = b"\0" if item.data_set_bytes & 1 else b""
        if self._padding and not transfer_syntax(item.transfer_syntax_uid).is_deflated:
            raise SpoolCorrupt(
                "the file has an odd number of data set bytes, which no peer accepts: not sent"
            )
        command = encode_store_request(message_id, item.sop_class_uid, item.sop_instance_uid, item.originator)
        answer = encode_store_response(message_id, Status.SUCCESS, item.sop_class_uid, item.sop_instance_uid)
        self._command = command_bytes(connection, context_id, command)
        self.success = p_data_header(context_id, len(answer), is_command=True, is_last=True) + answer
        self._fragment_bytes = largest_fragment(connection.peer_max_pdu_bytes)
        self.first_bytes = min(item.data_set_bytes, self._fragment_bytes)
        self._file = file = OutgoingFile(item, buffer)
        try:
            self._request = self._whole_request(file)
            self.is_small = self._request is not None
            if self.is_small or file.read_ahead(self._fragment_bytes):
                file.close_file()
        except BaseException:
            file.close()
            raise

    def _whole_request(self, file: OutgoingFile) -> bytes | None:
        """All of it, when its data set is small and fits in one PDU; None for others, whose file is long enough."""
        count = self.item.data_set_bytes + len(self._padding)
        if count <= min(_SMALL_BYTES, self._fragment_bytes):
            data = file.read_whole()
            if data is not None:
                header = p_data_header(self._context_id, count, is_command=False, is_last=True)
                return b"%b%b%b%b" % (self._command, header, data, self._padding)
        file.check_length()
        return None

    def send(self, transport: Transport, pace: Callable[[int], None] | None) -> None:
        """Send it; `close` comes next.

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
        if self._request is None:
            self._send_pdus(transport, pace)
            return
        transport.connection.check_p_data()
        transport.send(self._request)

    def close(self) -> None:
        """Give the file and the buffer back; harmless when that is done already."""
        self._file.close()

    def _send_pdus(self, transport: Transport, pace: Callable[[int], None] | None) -> None:
        """Each piece is some whole PDUs, which leave together with their headers between them; with a pace it is one."""
        fragment, total = self._fragment_bytes, self.item.data_set_bytes
        ahead_step = step = fragment
        if pace is None:
            ahead_step = fragment * _MAX_PDUS
            step = fragment * max(1, min(STEP_BYTES // fragment, _MAX_PDUS))
        sent, ahead = 0, [self._command]
        for piece in self._file.pieces(ahead_step, step):
            if pace is not None and sent:
                pace(len(piece))
            sent += len(piece)
            transport.send_parts([*ahead, *self._pdus(transport.connection, piece, is_end=sent == total)])
            ahead = []

    def _pdus(
        self, connection: Connection, piece: memoryview, *, is_end: bool
    ) -> Iterator[bytes | memoryview]:
        """The P-DATA-TF PDUs of a piece: header, data, header, data."""
        fragment = self._fragment_bytes
        last = len(piece) - fragment if is_end else len(piece)
        for begin in range(0, len(piece), fragment):
            data = piece[begin : begin + fragment]
            is_last = begin >= last
            padding = self._padding if is_last else b""
            yield connection.send_p_data_header(
                self._context_id, len(data) + len(padding), is_command=False, is_last=is_last
            )
            yield data
            if padding:
                yield padding
