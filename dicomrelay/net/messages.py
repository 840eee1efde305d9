"""Messages of any service over an association of ours, one PDU after the other (PS3.8 Annex E)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import TypeVar

from dicomrelay.dimse.codec import encode_message
from dicomrelay.dimse.fragments import (
    CommandReceived,
    DataSetReceived,
    MessageAssembler,
    command_bytes,
    largest_fragment,
)
from dicomrelay.dimse.messages import Message
from dicomrelay.errors import AssociationTimeout
from dicomrelay.net.endings import Endings
from dicomrelay.net.transport import Transport
from dicomrelay.ul.pdu import PDataTf

_T = TypeVar("_T")


class Messages:
    """The part of an `Association` behind `send_message` and `receive`, which documents them."""

    def __init__(self, transport: Transport, assembler: MessageAssembler, endings: Endings) -> None:
        self._transport = transport
        self._assembler = assembler
        self._endings = endings

    def send(self, message: Message, context_id: int, data_set: bytes | None) -> None:
        """Command, and data set when there is one."""
        command = encode_message(message, has_data_set=data_set is not None)
        self._endings.guarded(self._send, context_id, command, data_set)

    def receive(
        self,
        take: Callable[[Sequence[CommandReceived | DataSetReceived]], _T],
        deadline: float,
        wake_at: float,
    ) -> _T | None:
        """What `take` makes of the next PDU; None when `wake_at` comes first."""
        return self._endings.guarded(self._receive, take, deadline, wake_at)

    def _send(self, context_id: int, command: bytes, data_set: bytes | None) -> None:
        connection, send = self._transport.connection, self._transport.send
        ahead = command_bytes(connection, context_id, command)
        if data_set is None:
            send(ahead)
            return
        step = largest_fragment(connection.peer_max_pdu_bytes)
        for begin in range(0, max(len(data_set), 1), step):
            piece = data_set[begin : begin + step]
            is_last = begin + step >= len(data_set)
            header = connection.send_p_data_header(context_id, len(piece), is_command=False, is_last=is_last)
            send(ahead + header + piece)
            ahead = b""

    def _receive(
        self,
        take: Callable[[Sequence[CommandReceived | DataSetReceived]], _T],
        deadline: float,
        wake_at: float,
    ) -> _T | None:
        try:
            event = self._transport.wait_event(min(deadline, wake_at), "response")
        except AssociationTimeout as error:
            if error.timer == "response" and monotonic() < deadline:
                return None
            raise
        if not isinstance(event, PDataTf):
            raise self._endings.of(event)
        return take(self._assembler.feed(event.pdvs))
