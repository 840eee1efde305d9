"""Messages to presentation data values and back (PS3.8 Annex E, PS3.7 Section 6.3).

The assembler holds a command set until it is whole, at most `MAX_COMMAND_BYTES`, and no byte of a data set: those
pass through as the views that they came in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

from dicomrelay.dimse.codec import decode_message
from dicomrelay.dimse.messages import CStoreRequest, Message
from dicomrelay.dimse.store_codec import StoreRequestReader
from dicomrelay.errors import LocalProtocolError, RemoteProtocolError
from dicomrelay.ul.connection import Connection
from dicomrelay.ul.pdu import AbortReason, Pdv
from dicomrelay.ul.writer import PDV_OVERHEAD_BYTES

# The largest command sets there are (an N-GET-RQ with a list of attributes) stay under a tenth of this.
MAX_COMMAND_BYTES: Final = 65_536
# Between messages there is no presentation context. Not 0: a peer can write that into a PDV.
_NONE: Final = -1


class CommandReceived(NamedTuple):
    """A command set is whole. A named tuple, as `ul.pdu.Pdv` is and why."""

    context_id: int
    message: Message
    has_data_set: bool


class DataSetReceived(NamedTuple):
    """More of the data set of the last command, in the order of its bytes.

    Attributes
    ----------
    fragments : sequence of memoryview
        Views of the receive buffer, valid until the next receive.
    is_complete : bool
        Whether these are its last.
    """

    context_id: int
    fragments: Sequence[memoryview]
    is_complete: bool


class MessageAssembler:
    """Puts the messages of one direction of one association together.

    Parameters
    ----------
    context_ids : collection of int
        The accepted presentation contexts.
    """

    __slots__ = ("_command", "_context_id", "_context_ids", "_in_data_set", "_store_requests")

    def __init__(self, context_ids: Collection[int]) -> None:
        self._context_ids = frozenset(context_ids)
        self._command = bytearray()
        self._store_requests = StoreRequestReader()
        self._context_id = _NONE  # of the message that has begun
        self._in_data_set = False

    @property
    def is_between_messages(self) -> bool:
        """Whether no message has begun and not ended."""
        return self._context_id == _NONE

    def feed(self, pdvs: Iterable[Pdv]) -> list[CommandReceived | DataSetReceived]:
        """What the PDVs of one PDU complete.

        Raises
        ------
        RemoteProtocolError
            A context that was not accepted or changes within a message, a data set without a command, a command
            within a data set, a command set beyond its cap or that cannot be read.
        """
        found: list[CommandReceived | DataSetReceived] = []
        views: list[memoryview] = []
        for context_id, is_command, is_last, data in pdvs:
            if context_id != self._context_id:
                self._begin(context_id)
            if is_command == self._in_data_set:
                raise _unexpected(is_command)
            if is_command:
                command = self._add_to_command(data, is_last)
                if command is not None:
                    found.append(command)
            else:
                views.append(data if isinstance(data, memoryview) else memoryview(data))
                if is_last:
                    found.append(DataSetReceived(context_id, views, is_complete=True))
                    views = []
                    self._context_id, self._in_data_set = _NONE, False
        if views:
            found.append(DataSetReceived(self._context_id, views, is_complete=False))
        return found

    def _begin(self, context_id: int) -> None:
        if self._context_id != _NONE:
            raise _invalid(
                f"a message of presentation context {self._context_id} goes on in context {context_id}",
                "PS3.8 Annex E.1",
            )
        if context_id not in self._context_ids:
            raise _invalid(f"presentation context {context_id} was not accepted", "PS3.8 Section 9.3.5.1")
        self._context_id = context_id

    def _add_to_command(self, data: bytes | memoryview, is_last: bool) -> CommandReceived | None:
        if len(self._command) + len(data) > MAX_COMMAND_BYTES:
            raise _invalid(f"a command set of more than {MAX_COMMAND_BYTES} bytes", "PS3.7 Section 6.3.1")
        if is_last and not self._command:  # nearly always
            raw = bytes(data)
        else:
            self._command += data
            if not is_last:
                return None
            raw = bytes(self._command)
            self._command.clear()
        message: Message | None = self._store_requests.read(raw)
        has_data_set = True
        if message is None:
            message, has_data_set = decode_message(raw)
            if has_data_set and isinstance(message, CStoreRequest):
                self._store_requests.learn(raw, message)
        received = CommandReceived(self._context_id, message, has_data_set)
        self._in_data_set = has_data_set
        if not has_data_set:
            self._context_id = _NONE
        return received


def largest_fragment(max_pdu_bytes: int) -> int:
    """The most data that one PDV may carry when it has a PDU of at most `max_pdu_bytes` to itself: an even number."""
    fragment = (max_pdu_bytes - PDV_OVERHEAD_BYTES) & ~1
    if fragment <= 0:
        raise LocalProtocolError(
            f"the peer's maximum length of {max_pdu_bytes} leaves no room for data", section="PS3.8 Annex D.1"
        )
    return fragment


def command_bytes(connection: Connection, context_id: int, command: bytes) -> bytes:
    """The P-DATA-TF PDUs that carry a command set, as bytes to send: nearly always one PDU.

    Raises
    ------
    LocalProtocolError
        The association is not open, or the peer's maximum length leaves no room.
    """
    step = largest_fragment(connection.peer_max_pdu_bytes)
    if len(command) <= step:
        return (
            connection.send_p_data_header(context_id, len(command), is_command=True, is_last=True) + command
        )
    parts: list[bytes] = []
    for begin in range(0, len(command), step):
        piece = command[begin : begin + step]
        is_last = begin + step >= len(command)
        parts += (
            connection.send_p_data_header(context_id, len(piece), is_command=True, is_last=is_last),
            piece,
        )
    return b"".join(parts)


def data_set_bytes(connection: Connection, context_id: int, data_set: bytes) -> bytes:
    """The P-DATA-TF PDUs that carry a small data set, as bytes to send; what is large is no matter for memory.

    Raises
    ------
    LocalProtocolError
        As `command_bytes`.
    """
    step = largest_fragment(connection.peer_max_pdu_bytes)
    parts: list[bytes] = []
    for begin in range(0, max(len(data_set), 1), step):
        piece = data_set[begin : begin + step]
        is_last = begin + step >= len(data_set)
        parts += (
            connection.send_p_data_header(context_id, len(piece), is_command=False, is_last=is_last),
            piece,
        )
    return b"".join(parts)


def _unexpected(is_command: bool) -> RemoteProtocolError:
    if is_command:
        return _invalid("a command set where a data set must go on", "PS3.8 Annex E.1")
    return _invalid("data set bytes without a whole command before them", "PS3.8 Annex E.1")


def _invalid(message: str, section: str) -> RemoteProtocolError:
    return RemoteProtocolError(message, section=section, abort_reason=AbortReason.INVALID_PARAMETER_VALUE)
