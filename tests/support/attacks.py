"""Bytes that attackers send to a gateway process, and what comes back."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from chaos.gateway_process import GatewayProcess
from chaos.instances import encode_data_set
from dicomrelay.dimse.fragments import CommandReceived, MessageAssembler
from dicomrelay.ul.pdu import PDataTf, Pdu, ReleaseRequest
from dicomrelay.ul.reader import DECODERS
from dicomrelay.ul.writer import encode
from tests.support.wire import REQUEST, data_pdu, store_command

T = TypeVar("T")
_numbers = itertools.count(1)


def new_uid() -> str:
    """A SOP Instance UID that was not used before in this process."""
    return f"1.2.826.0.1.{next(_numbers)}"


def conversation(uid: str = "", *, pixels: bytes = bytes(300), step: int = 1 << 15) -> list[bytes]:
    """The PDUs of an association that stores one instance in context 1 and releases."""
    uid = uid or new_uid()
    data = encode_data_set(uid, "1.2.3", pixels)
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    return [
        encode(REQUEST),
        store_command(uid=uid),
        *(data_pdu(piece, is_last=piece is pieces[-1]) for piece in pieces),
        encode(ReleaseRequest()),
    ]


def connect_from(gateway: GatewayProcess, address: str) -> socket.socket:
    """A connection from another address of this machine, 127.0.0.2 and so on."""
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=10, source_address=(address, 0))


def at_once(attacks: Mapping[str, Callable[[], T]]) -> dict[str, Future[T]]:
    """Every attack in a thread of its own, all ended: deadlines are waited for once, and each is looked at by name."""
    with ThreadPoolExecutor(len(attacks)) as threads:
        return {name: threads.submit(attack) for name, attack in attacks.items()}


def converse(gateway: GatewayProcess, pieces: Iterable[bytes], *, pause_s: float = 0.0) -> list[Pdu]:
    """Send the pieces over a new connection, end by FIN, and read what the gateway says until it closes."""
    with gateway.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                sock.sendall(piece)
                if pause_s:
                    time.sleep(pause_s)
            sock.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass
        return answers(sock)


def answers(sock: socket.socket) -> list[Pdu]:
    """Every PDU until the other side closes; a reset ends them too."""
    raw = bytearray()
    try:
        while piece := sock.recv(65_536):
            raw += piece
    except ConnectionError:
        pass
    found = []
    while len(raw) >= 6:
        size = 6 + int.from_bytes(raw[2:6], "big")
        assert len(raw) >= size, f"half a PDU: {bytes(raw)!r}"
        found.append(DECODERS[raw[0]](memoryview(bytes(raw[6:size]))))
        del raw[:size]
    assert not raw
    return found


def statuses(pdus: Iterable[Pdu]) -> list[int]:
    """The statuses of the responses among them."""
    assembler = MessageAssembler(range(1, 256, 2))
    parts = [part for pdu in pdus if isinstance(pdu, PDataTf) for part in assembler.feed(pdu.pdvs)]
    found = [getattr(part.message, "status", None) for part in parts if isinstance(part, CommandReceived)]
    return [status for status in found if isinstance(status, int)]


def arrivals(home: Path) -> Sequence[Path]:
    """Whole instances in the spool."""
    return sorted((home / "spool" / "new").glob("*.dcm"))


def seconds_until(condition: Iterable[bool], *, at_most: float) -> float:
    """How long until the next value is true."""
    began = time.monotonic()
    for holds in condition:
        took = time.monotonic() - began
        if holds:
            return took
        assert took < at_most, f"not within {at_most:g} s"
        time.sleep(0.01)
    raise AssertionError("nothing to wait for")
