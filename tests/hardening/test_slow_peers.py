"""Peers that are silent, drip or stop in the middle: each ends at its deadline, and others are served meanwhile."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from chaos.gateway_process import GatewayProcess, Usage
from chaos.instances import make_instances
from dicomrelay.dicom.uids import VERIFICATION
from dicomrelay.dimse.codec import encode_message
from dicomrelay.dimse.messages import CEchoRequest
from dicomrelay.net.requestor import Association
from dicomrelay.ul.pdu import PDataTf, Pdv
from dicomrelay.ul.writer import encode
from tests.support.attacks import answers, arrivals, at_once, connect_from, conversation
from tests.support.wire import REQUEST, associate, data_pdu, store_command

SETTINGS = {
    "association_timeout_s": 1.5,
    "pdu_timeout_s": 1.5,
    "idle_timeout_s": 1.5,
    "max_associations": 300,
}
# A hundred and more of them are established, at a receive buffer of a megabyte each.
MOST_MEGABYTES = 256
# A deadline, the tick at which it is looked at, the reading after the last word, and room for a busy machine.
CLOSED_WITHIN_S = 1.5 + 0.4 + 2.0 + 3.0


def _established(more: bytes) -> Callable[[socket.socket], None]:
    def begin(sock: socket.socket) -> None:
        associate(sock)
        sock.sendall(more)

    return begin


# What each sends at once; those of DRIPS go on with one byte every tenth of a second.
STARTS: dict[str, Callable[[socket.socket], None]] = {
    "nothing": lambda sock: None,
    "1 byte": lambda sock: sock.sendall(b"\1"),
    "5 bytes": lambda sock: sock.sendall(encode(REQUEST)[:5]),
    "a header and some": lambda sock: sock.sendall(encode(REQUEST)[:20]),
    "all but one byte": lambda sock: sock.sendall(encode(REQUEST)[:-1]),
    "established and silent": _established(b""),
    "half a header": _established(b"\4\0\0"),
    "inside P-DATA": _established(store_command(uid="1.9") + data_pdu(bytes(500), is_last=True)[:100]),
    "between PDUs of a data set": _established(store_command(uid="1.9") + data_pdu(b"ab", is_last=False)),
    "inside a command": _established(store_command(uid="1.9")[:30]),
}
DRIPS = {"a header and some", "inside P-DATA"}


class Drip(threading.Thread):
    """One byte every tenth of a second to each socket, until told to stop."""

    def __init__(self, socks: list[socket.socket]) -> None:
        super().__init__(daemon=True)
        self._socks = socks
        self._stop_now = threading.Event()

    def run(self) -> None:
        while not self._stop_now.wait(0.1):
            for sock in self._socks:
                with suppress(OSError):
                    sock.send(b"\0")

    def stop(self) -> None:
        self._stop_now.set()
        self.join()


@pytest.fixture(scope="module")
def endings(gateway: GatewayProcess) -> dict[str, Future[float]]:
    """Seconds until each kind is let go, one of each at once."""

    def attack(kind: str) -> float:
        with gateway.connect() as sock:
            drip = Drip([sock] if kind in DRIPS else [])
            drip.start()
            began = time.monotonic()
            STARTS[kind](sock)
            answers(sock)
            took = time.monotonic() - began
            drip.stop()
        return took

    held = len(arrivals(gateway.home))
    found = at_once({kind: partial(attack, kind) for kind in STARTS})
    assert len(arrivals(gateway.home)) == held
    return found


@pytest.mark.parametrize("kind", STARTS)
def test_a_slow_peer_ends_at_its_deadline(endings: dict[str, Future[float]], kind: str) -> None:
    """However often its bytes come."""
    assert 1.0 < endings[kind].result() < CLOSED_WITHIN_S


def test_two_hundred_slow_peers_do_not_keep_a_sender_from_storing(
    gateway: GatewayProcess, before: Usage, tmp_path: Path
) -> None:
    """Twenty of each kind, from four addresses; a legitimate sender stores all the while, and all is as before afterwards."""
    socks: list[socket.socket] = []
    dripping: list[socket.socket] = []
    for number, (name, start) in enumerate(list(STARTS.items()) * 20):
        sock = connect_from(gateway, f"127.0.0.{2 + number % 5}")
        start(sock)
        socks.append(sock)
        if name in DRIPS:
            dripping.append(sock)
    drip = Drip(dripping)
    drip.start()
    instances = make_instances(tmp_path, 1)
    first = next(instances)
    contexts = [(first.item.sop_class_uid, (first.item.transfer_syntax_uid,))]
    slowest = 0.0
    began = time.monotonic()
    while time.monotonic() - began < 1.0:
        at = time.monotonic()
        with Association.request(gateway.remote, calling_ae_title="GOOD", contexts=contexts) as association:
            assert association.store(next(instances).item).status == 0
        slowest = max(slowest, time.monotonic() - at)
    assert slowest < 2.0

    for sock in socks:
        sock.settimeout(CLOSED_WITHIN_S)
        answers(sock)
        assert time.monotonic() - began < CLOSED_WITHIN_S + 2
        sock.close()
    drip.stop()
    after = gateway.settle(before)
    assert after.holds_no_more_than(before)


def test_a_peer_that_never_reads_its_answers_ends(gateway: GatewayProcess) -> None:
    """Its window is full, our answers go nowhere: the deadline of a PDU that we send."""
    echo = encode(
        PDataTf((Pdv(3, True, True, encode_message(CEchoRequest(9, VERIFICATION), has_data_set=False)),))
    )
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", gateway.port))
        associate(sock)
        sock.settimeout(0.5)
        began = time.monotonic()
        with suppress(OSError):
            while time.monotonic() - began < 30:
                sock.send(echo * 500)
        # Blocked on both sides now; the gateway must let go by itself.
        sock.settimeout(CLOSED_WITHIN_S + 5)
        while True:
            try:
                if not sock.recv(65_536):
                    break
            except ConnectionError:
                break
        assert time.monotonic() - began < 30


def test_half_closed_peers_are_let_go(gateway: GatewayProcess, before: Usage) -> None:
    """They have sent FIN and keep their end open: no thread waits for them."""
    socks = [gateway.connect() for _ in range(40)]
    for sock in socks:
        sock.sendall(b"".join(conversation()[:1]))
        sock.shutdown(socket.SHUT_WR)
    after = gateway.settle(before, within_s=CLOSED_WITHIN_S)
    assert after.holds_no_more_than(before)
    for sock in socks:
        sock.close()
