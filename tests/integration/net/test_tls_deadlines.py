"""TLS peers that are slow or silent, to our acceptor and our requestor."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path
from time import monotonic, sleep

import pytest

from dicomrelay.errors import AssociationTimeout
from dicomrelay.net.limits import AcceptorLimits
from dicomrelay.net.requestor import Association, RemoteAe, Timeouts
from dicomrelay.net.service import EndingKind
from dicomrelay.net.tls import door, requestor_context
from dicomrelay.ul.writer import encode
from tests.support.certificates import Authority
from tests.support.engine import (
    MemoryService,
    running_acceptor,
    store_item,
)
from tests.support.tls import CT, call, client, until
from tests.support.wire import REQUEST, seconds_until_closed

HASTY = AcceptorLimits(association_timeout_s=0.8, pdu_timeout_s=0.4, idle_timeout_s=0.8, linger_s=0.1)
IMPATIENT = Timeouts(connect_s=2, association_s=0.6, response_s=0.6, pdu_s=0.6, release_s=0.6)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], ids=len)
def test_half_a_handshake_is_gone_after_artim(authority: Authority, sent: bytes) -> None:
    """However far it came."""
    with (
        running_acceptor(limits=HASTY, tls=door(authority.acceptor(authority.issue("gate")))) as running,
        running.connect() as sock,
    ):
        sock.sendall(sent)
        assert 0.5 < seconds_until_closed(sock) < 3
        until(lambda: running.acceptor.open_associations == 0)


def test_a_handshake_that_drips_in_is_gone_after_artim(authority: Authority) -> None:
    """A byte now and then buys no time."""
    hello = _client_hello(authority)

    def drip(sock: socket.socket) -> None:
        try:
            for value in hello:
                sock.sendall(bytes([value]))
                sleep(0.05)
        except OSError:
            pass

    with (
        running_acceptor(limits=HASTY, tls=door(authority.acceptor(authority.issue("gate")))) as running,
        running.connect() as sock,
    ):
        began = monotonic()
        thread = threading.Thread(target=drip, args=(sock,))
        thread.start()
        seconds_until_closed(sock)
        assert monotonic() - began < 3
        thread.join()


def test_a_handshake_without_a_request_is_gone_after_artim(authority: Authority) -> None:
    """One deadline for both, from the TCP connection on."""
    with (
        running_acceptor(limits=HASTY, tls=door(authority.acceptor(authority.issue("gate")))) as running,
        running.connect() as raw,
        client(authority).wrap_socket(raw, server_hostname="localhost") as sock,
    ):
        assert 0.4 < seconds_until_closed(sock) < 3


def test_a_record_that_drips_in_ends_at_the_deadline(authority: Authority) -> None:
    """Established, then ciphertext byte by byte that never becomes a record: idle is idle."""
    with (
        running_acceptor(limits=HASTY, tls=door(authority.acceptor(authority.issue("gate")))) as running,
        running.connect() as raw,
    ):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client(authority).wrap_bio(incoming, outgoing, server_hostname="localhost")
        _shake(tls, incoming, outgoing, raw)
        tls.write(encode(REQUEST))
        raw.sendall(outgoing.read())
        running_until = monotonic() + 5
        while not running.service.infos and monotonic() < running_until:
            sleep(0.01)
        tls.write(bytes(16_000))
        began = monotonic()
        try:
            for value in outgoing.read():
                raw.sendall(bytes([value]))
                sleep(0.05)
        except OSError:
            pass
        assert monotonic() - began < 4
        assert running.service.wait_ending().kind is EndingKind.TIMED_OUT


def test_a_peer_that_takes_nothing_ends_our_sending(authority: Authority, tmp_path: Path) -> None:
    """The time of a PDU holds under TLS too, with megabytes of ciphertext waiting."""
    release = threading.Event()
    service = MemoryService(on_write=lambda: release.wait(10) and None)
    limits = AcceptorLimits(association_timeout_s=5, pdu_timeout_s=20, linger_s=0.1, max_pdu_bytes=8 << 20)
    with running_acceptor(service, limits, tls=door(authority.acceptor(authority.issue("gate")))) as running:
        association = call(running, authority.requestor(), timeouts=IMPATIENT)
        began = monotonic()
        with pytest.raises(AssociationTimeout) as caught:
            association.store(store_item(tmp_path / "x.dcm", bytes(40_000_000)))
        release.set()
        assert caught.value.timer == "PDU"
        assert monotonic() - began < 5


def test_a_silent_tls_acceptor_ends_our_call(authority: Authority) -> None:
    """It takes the connection and never shakes hands."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        remote = RemoteAe("SILENT", "127.0.0.1", listener.getsockname()[1])
        began = monotonic()
        with pytest.raises(AssociationTimeout) as caught:
            Association.request(
                remote,
                calling_ae_title="T",
                contexts=[CT],
                tls=requestor_context(authority.requestor()),
                timeouts=IMPATIENT,
            )
        assert caught.value.timer == "association"
        assert monotonic() - began < 3


def test_stopping_does_not_wait_for_a_handshake(authority: Authority) -> None:
    """Half a handshake is interrupted when the grace is over."""
    patient = AcceptorLimits(association_timeout_s=60, linger_s=0.1)
    with (
        running_acceptor(limits=patient, tls=door(authority.acceptor(authority.issue("gate")))) as running,
        running.connect() as sock,
    ):
        sock.sendall(b"\x16\x03\x01")
        until(lambda: running.acceptor.open_associations == 1)
        began = monotonic()
        running.acceptor.stop(0)
        assert monotonic() - began < 5


def _client_hello(authority: Authority) -> bytes:
    outgoing = ssl.MemoryBIO()
    tls = client(authority).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def _shake(tls: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, sock: socket.socket) -> None:
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            sock.sendall(outgoing.read())
            incoming.write(sock.recv(65_536))
        else:
            sock.sendall(outgoing.read())
            return
