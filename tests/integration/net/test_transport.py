"""What a transport sends in pieces, and what it says when the connection fails."""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from time import monotonic

import pytest

from dicomrelay.errors import AssociationAborted, AssociationTimeout
from dicomrelay.net.tls import requestor_context
from dicomrelay.net.tls_transport import TlsTransport
from dicomrelay.net.transport import Transport, Waits
from dicomrelay.ul.connection import Connection
from tests.support.certificates import Authority


@contextmanager
def _connected(pdu_s: float = 2.0) -> Iterator[tuple[Transport, socket.socket]]:
    """A transport, and the socket of its peer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname(), timeout=5)
        theirs, _ = listener.accept()
    transport = Transport(ours, Connection(max_pdu_bytes=16_384), Waits(pdu_s, 2.0))
    with theirs:
        yield transport, theirs
        transport.close()


def _reset(sock: socket.socket) -> None:
    """Close with a TCP reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _received(theirs: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        found += theirs.recv(count - len(found))
    return bytes(found)


def test_pieces_arrive_in_order_however_little_fits_at_once() -> None:
    """A socket with little room takes them in part; what is left goes on in the middle of a piece."""
    pieces = [os.urandom(size) for size in (12, 131_066, 1, 70_000, 3)] * 8
    with _connected() as (transport, theirs):
        transport.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32_768)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        found: list[bytes] = []
        reader = Thread(target=lambda: found.append(_received(theirs, sum(map(len, pieces)))))
        reader.start()
        transport.send_parts(pieces)
        reader.join(10)
    assert found == [b"".join(pieces)]


def test_pieces_that_nobody_takes_end_at_the_deadline() -> None:
    """The peer reads nothing: the time for one PDU, and not a piece more."""
    with _connected(pdu_s=0.2) as (transport, _), pytest.raises(AssociationTimeout, match="took no PDU"):
        transport.send_parts([bytes(1 << 20)] * 64)


def test_a_peer_that_takes_a_pdu_in_time_gets_time_for_the_next() -> None:
    """The time is for one PDU, and many go at once: a slow line is no dead one."""
    with _connected(pdu_s=0.5) as (transport, theirs):
        transport.connection.peer_max_pdu_bytes = 16_384
        transport.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32_768)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        count = 1 << 20
        reader = Thread(target=_read_slowly, args=(theirs, count, 1.5))
        reader.start()
        began = monotonic()
        transport.send_parts([bytes(count // 4)] * 4)
        assert monotonic() - began > 0.5
        reader.join(10)


def _read_slowly(theirs: socket.socket, count: int, within_s: float) -> None:
    """Read so many bytes at an even pace."""
    began, got = monotonic(), 0
    while got < count:
        got += len(theirs.recv(8192))
        select.select([], [], [], max(0.0, began + within_s * got / count - monotonic()))


def test_a_connection_that_is_gone_is_an_association_that_is_aborted() -> None:
    """Reset by the peer, or closed under our hands."""
    for is_ours in (False, True):
        with _connected() as (transport, theirs):
            if is_ours:
                transport.sock.close()
            else:
                _reset(theirs)
            with pytest.raises(AssociationAborted, match="lost while sending"):
                transport.send_parts([bytes(1 << 20)] * 10)


class _Slow(TlsTransport):
    """Between its look at the first byte and its read the peer resets, and what was there is gone."""

    def __init__(self, plain: Transport, context: ssl.SSLContext, theirs: socket.socket) -> None:
        super().__init__(plain, context, server_hostname="127.0.0.1", peer="PACS")
        self._theirs = theirs

    def peek(self, deadline: float, timer: str) -> int | None:
        first = super().peek(deadline, timer)
        self.sock.recv(100)
        _reset(self._theirs)
        return first


def test_a_reset_in_the_handshake_is_a_lost_connection(tmp_path: Path) -> None:
    """No bare ConnectionResetError for the caller."""
    context = requestor_context(Authority(tmp_path).requestor())
    with _connected() as (plain, theirs):
        theirs.sendall(b"\x16\3\3")
        secured = _Slow(plain, context, theirs)
        with pytest.raises(AssociationAborted, match="PACS was lost during the TLS handshake"):
            secured.handshake(monotonic() + 5, "association")
