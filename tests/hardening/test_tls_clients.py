"""TLS clients that say nothing, half a handshake, a byte at a time, or something else: to a gateway process under TLS."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from chaos.gateway_process import GatewayProcess, Usage
from chaos.instances import make_instances
from dicomrelay.net.requestor import Association
from dicomrelay.net.tls import requestor_context
from dicomrelay.ul.writer import encode
from tests.hardening.conftest import MEGABYTE
from tests.support.attacks import at_once, connect_from
from tests.support.certificates import Authority
from tests.support.wire import REQUEST

SETTINGS = {
    "association_timeout_s": 1.5,
    "pdu_timeout_s": 1.5,
    "idle_timeout_s": 1.5,
    "max_associations": 300,
}
CLOSED_WITHIN_S = 1.5 + 0.4 + 2.0 + 3.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def tls(authority: Authority) -> ssl.SSLContext:
    """What an honest client uses."""
    return requestor_context(authority.requestor())


@pytest.fixture(scope="module")
def gateway(
    authority: Authority, tls: ssl.SSLContext, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """Under TLS; at the end as it was at the beginning."""
    pair = authority.issue("gate")
    more = f'[gateway.tls]\ncertificate = "{pair.certificate}"\nkey = "{pair.key}"\n'
    process = GatewayProcess(tmp_path_factory.mktemp("hardening") / "home", SETTINGS, more=more, tls=tls)
    try:
        process.start()
        _store(
            process, tls, tmp_path_factory.mktemp("first")
        )  # what is opened with the first instance stays open
        begin = process.at_rest()
        yield process
        after = process.settle(begin)
        process.echo()
        assert after.holds_no_more_than(begin)
        assert after.peak_rss_bytes - begin.rss_bytes < 192 * MEGABYTE
    finally:
        code = process.stop()
    assert code == 0
    assert "Traceback" not in process.log


def _store(gateway: GatewayProcess, tls: ssl.SSLContext, folder: Path) -> None:
    item = next(make_instances(folder, 2)).item
    contexts = [(item.sop_class_uid, (item.transfer_syntax_uid,))]
    with Association.request(
        gateway.remote, calling_ae_title="GOOD", contexts=contexts, tls=tls
    ) as association:
        assert association.store(item).status == 0


def _client_hello(tls: ssl.SSLContext) -> bytes:
    outgoing = ssl.MemoryBIO()
    client = tls.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


STARTS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda hello: b"",
    "1 byte": lambda hello: hello[:1],
    "half a record header": lambda hello: hello[:3],
    "half a ClientHello": lambda hello: hello[: len(hello) // 2],
    "a ClientHello and no more": lambda hello: hello,
    "a plain A-ASSOCIATE-RQ": lambda hello: encode(REQUEST),
    "a record that claims 64 KiB": lambda hello: b"\x16\3\1\xff\xff" + bytes(1000),
    "an alert": lambda hello: b"\x15\3\3\0\2\2\x28",
    "zeros": lambda hello: bytes(5000),
}
DRIP = "a ClientHello that drips"


def _until_closed(sock: socket.socket) -> float:
    began = time.monotonic()
    with suppress(ConnectionError):
        while sock.recv(65_536):
            pass
    return time.monotonic() - began


@pytest.fixture(scope="module")
def endings(gateway: GatewayProcess, tls: ssl.SSLContext) -> dict[str, Future[float]]:
    """Seconds until each kind is let go, one of each at once."""
    hello = _client_hello(tls)

    def silent(start: Callable[[bytes], bytes]) -> float:
        with gateway.connect() as sock:
            sock.sendall(start(hello))
            return _until_closed(sock)

    def dripping() -> float:
        began = time.monotonic()
        with gateway.connect() as sock, suppress(OSError):
            for value in hello:
                sock.sendall(bytes([value]))
                time.sleep(0.05)
        return time.monotonic() - began

    return at_once({DRIP: dripping, **{kind: partial(silent, start) for kind, start in STARTS.items()}})


@pytest.mark.parametrize("kind", [*STARTS, DRIP])
def test_a_client_without_a_handshake_is_let_go(endings: dict[str, Future[float]], kind: str) -> None:
    """By ARTIM at the latest; a byte every twentieth of a second buys no time."""
    assert endings[kind].result() < CLOSED_WITHIN_S


def test_one_silent_client_does_not_hold_up_the_next(gateway: GatewayProcess) -> None:
    """The handshake is the association's own, never the accept loop's."""
    with gateway.connect(), gateway.connect() as other:
        other.sendall(b"\x16\3\1")
        assert gateway.echo() < 1.0


def test_two_hundred_clients_that_hang_in_the_handshake_do_not_keep_a_sender_from_storing(
    gateway: GatewayProcess, before: Usage, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    """From five addresses; all are gone in time, and all is as before."""
    hello = _client_hello(tls)
    kinds = ["nothing", "1 byte", "half a ClientHello", "a ClientHello and no more"]
    socks = []
    for number in range(200):
        sock = connect_from(gateway, f"127.0.0.{2 + number % 5}")
        sock.sendall(STARTS[kinds[number % 4]](hello))
        socks.append(sock)
    instances = make_instances(tmp_path, 1)
    first = next(instances).item
    contexts = [(first.sop_class_uid, (first.transfer_syntax_uid,))]
    began = time.monotonic()
    slowest = 0.0
    while time.monotonic() - began < 1.0:
        at = time.monotonic()
        with Association.request(
            gateway.remote, calling_ae_title="GOOD", contexts=contexts, tls=tls
        ) as association:
            assert association.store(next(instances).item).status == 0
        slowest = max(slowest, time.monotonic() - at)
    assert slowest < 2.0
    for sock in socks:
        _until_closed(sock)
        sock.close()
    assert time.monotonic() - began < CLOSED_WITHIN_S + 2
    after = gateway.settle(before)
    assert after.holds_no_more_than(before)


def test_inside_tls_the_limits_are_the_same(
    gateway: GatewayProcess, tls: ssl.SSLContext, before: Usage
) -> None:
    """A PDU that claims 4 GiB, and 32 MB of it."""
    with gateway.connect() as plain, tls.wrap_socket(plain, server_hostname="127.0.0.1") as sock:
        sock.sendall(encode(REQUEST))
        sock.recv(65_536)
        began = time.monotonic()
        with suppress(OSError):
            sock.sendall(struct.pack(">BBI", 4, 0, 0xFFFFFFFF))
            for _ in range(32):
                sock.sendall(bytes(MEGABYTE))
        assert time.monotonic() - began < CLOSED_WITHIN_S
    assert gateway.usage().peak_rss_bytes - before.rss_bytes < 192 * MEGABYTE
