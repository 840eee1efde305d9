"""What a transport says when one of its two ends fails: the file that is sent, or the connection."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from dicomrelay.errors import AssociationAborted
from dicomrelay.net import transport as transport_module
from dicomrelay.net.tls import requestor_context
from dicomrelay.net.tls_transport import TlsTransport
from dicomrelay.net.transport import Transport, Waits
from dicomrelay.ul.connection import Connection
from tests.support.certificates import Authority


@contextmanager
def _connected() -> Iterator[tuple[Transport, socket.socket]]:
    """A transport, and the socket of its peer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname(), timeout=5)
        theirs, _ = listener.accept()
    transport = Transport(ours, Connection(max_pdu_bytes=16_384), Waits(2.0, 2.0))
    with theirs:
        yield transport, theirs
        transport.close()


def _reset(sock: socket.socket) -> None:
    """Close with a TCP reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("by_hand", [False, True], ids=["sendfile", "pread"])
def test_a_file_that_cannot_be_read_is_not_the_connection(
    monkeypatch: pytest.MonkeyPatch, *, by_hand: bool
) -> None:
    """A pipe has no offset: ESPIPE of the file's end, and the network is not blamed."""
    monkeypatch.setattr(transport_module, "_HAS_SENDFILE", not by_hand)
    reading, writing = os.pipe()
    try:
        with _connected() as (transport, _), pytest.raises(OSError, match="Illegal seek") as caught:
            transport.send_file(reading, 10, 100)
        assert caught.value.errno == errno.ESPIPE
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EINVAL, errno.ENXIO, errno.EOVERFLOW])
def test_what_a_disk_or_a_file_server_says_is_raised_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """There is no broken file server here; sendfile says what one would make it say."""

    def failing(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "sendfile", failing)
    path = tmp_path / "x"
    path.write_bytes(bytes(100))
    with path.open("rb") as file, _connected() as (transport, _):
        with pytest.raises(OSError, match=os.strerror(number)) as caught:
            transport.send_file(file.fileno(), 0, 100)
        assert caught.value.errno == number


def test_a_connection_that_is_gone_is_not_the_file(tmp_path: Path) -> None:
    """Reset by the peer, or closed under our hands."""
    path = tmp_path / "x"
    path.write_bytes(bytes(10_000_000))
    with path.open("rb") as file:
        for is_ours in (False, True):
            with _connected() as (transport, theirs):
                if is_ours:
                    transport.sock.close()
                else:
                    _reset(theirs)
                with pytest.raises(AssociationAborted, match="lost while sending"):
                    transport.send_file(file.fileno(), 0, 10_000_000)


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
