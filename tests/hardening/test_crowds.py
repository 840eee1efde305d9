"""More peers than there is room for: rejected for now or served, none left hanging, and known peers find their room."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter

import pytest

from chaos.gateway_process import GatewayProcess, Usage
from dicomrelay.errors import AssociationRejected
from dicomrelay.ul.pdu import AssociateAccept, AssociateReject, Pdu
from dicomrelay.ul.writer import encode
from tests.hardening.conftest import MEGABYTE
from tests.support.attacks import connect_from, conversation, statuses
from tests.support.wire import REQUEST, associate, read_pdu

SETTINGS = {
    "association_timeout_s": 3.0,
    "pdu_timeout_s": 3.0,
    "idle_timeout_s": 3.0,
    "max_associations": 100,
    "max_associations_per_peer": 30,
    "reserved_associations": 20,
}
MORE = """
[[peers]]
ae_title = "*"
host = "*"
[[peers]]
ae_title = "CT_1"
host = "127.0.0.99"
"""
MOST_MEGABYTES = 256
BUSY = AssociateReject(2, 3, 2)


def _one(
    gateway: GatewayProcess, number: int, outcome: Counter[str], lock: threading.Lock, gate: threading.Barrier
) -> None:
    """A peer of one of five kinds, from one of fifty addresses: what became of it."""
    kind = number % 5
    stream = conversation()
    gate.wait()
    try:
        with connect_from(gateway, f"127.0.1.{number % 50 + 1}") as sock:
            sock.settimeout(20)
            if kind == 3:
                sock.sendall(stream[0][:5])
            elif kind != 4:
                sock.sendall(stream[0])
            found = _talk(sock, stream if kind < 2 else [])
    except TimeoutError:
        found = "hung"
    except ConnectionError:
        found = "closed"
    with lock:
        outcome[("speaking: " if kind < 3 else "silent: ") + found] += 1


def _talk(sock: socket.socket, stream: list[bytes]) -> str:
    first = read_pdu(sock)
    if isinstance(first, AssociateReject):
        return "rejected for now" if first == BUSY else f"rejected {first}"
    if not isinstance(first, AssociateAccept):
        return "closed"
    if stream:
        sock.sendall(b"".join(stream[1:]))
        found: list[Pdu] = []
        while (pdu := read_pdu(sock)) is not None:
            found.append(pdu)
        return "stored" if statuses(found) == [0] else "not stored"
    return "accepted"


def test_a_thousand_at_once_are_served_or_rejected_for_now(gateway: GatewayProcess, before: Usage) -> None:
    """Senders, peers that say nothing more, peers that stop after five bytes, silent ones; a known modality stores meanwhile."""
    outcome: Counter[str] = Counter()
    lock, gate = threading.Lock(), threading.Barrier(1000)
    crowd = [
        threading.Thread(target=_one, args=(gateway, number, outcome, lock, gate), daemon=True)
        for number in range(1000)
    ]
    for thread in crowd:
        thread.start()
    waits = _store_as_known(gateway, seconds=3.0)
    for thread in crowd:
        thread.join(30)
    print(dict(outcome), f"known modality: {len(waits)} associations, slowest {max(waits):.2f} s")

    assert sum(outcome.values()) == 1000
    assert not [words for words in outcome if "hung" in words or "not stored" in words]
    # Whoever asked was answered.
    assert outcome["speaking: stored"] > 50
    assert (
        outcome["speaking: stored"] + outcome["speaking: accepted"] + outcome["speaking: rejected for now"]
        == 600
    )
    assert max(waits) < 2.0
    after = gateway.settle(before)
    assert after.holds_no_more_than(before)
    assert after.peak_rss_bytes - before.rss_bytes < 200 * MEGABYTE


def _store_as_known(gateway: GatewayProcess, *, seconds: float) -> list[float]:
    """A modality at an address that [[peers]] names stores again and again; how long each association took."""
    waits = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        stream = conversation()
        with connect_from(gateway, "127.0.0.99") as sock:
            assert _talk_as_known(sock, stream) == [0]
        waits.append(time.monotonic() - began)
    return waits


def _talk_as_known(sock: socket.socket, stream: list[bytes]) -> list[int]:
    accepted = associate(sock)
    assert isinstance(accepted, AssociateAccept), accepted
    sock.sendall(b"".join(stream[1:]))
    found = []
    while (pdu := read_pdu(sock)) is not None:
        found.append(pdu)
    return statuses(found)


def test_one_address_does_not_take_all_the_room(gateway: GatewayProcess) -> None:
    """The thirty-first of one address is told to come again, and another address is served."""
    socks = [gateway.connect() for _ in range(30)]
    assert all(isinstance(associate(sock), AssociateAccept) for sock in socks)
    with gateway.connect() as more, connect_from(gateway, "127.0.0.7") as other:
        assert associate(more) == BUSY
        assert isinstance(associate(other), AssociateAccept)
    for sock in socks:
        sock.close()


def test_strangers_leave_the_reserved_room_to_those_we_know(gateway: GatewayProcess) -> None:
    """Eighty strangers fill what is theirs; the next is rejected for now, twenty known associations are not."""
    gateway.settle(gateway.usage())
    time.sleep(0.3)
    strangers = [connect_from(gateway, f"127.0.0.{2 + number % 4}") for number in range(80)]
    try:
        assert all(isinstance(associate(sock), AssociateAccept) for sock in strangers)
        with connect_from(gateway, "127.0.0.8") as one_more:
            assert associate(one_more) == BUSY
        known = [connect_from(gateway, "127.0.0.99") for _ in range(20)]
        strangers += known
        assert all(isinstance(associate(sock), AssociateAccept) for sock in known)
    finally:
        for sock in strangers:
            sock.close()


def test_one_byte_on_every_place_is_gone_after_artim(gateway: GatewayProcess, before: Usage) -> None:
    """As many one-byte connections as there are places, from many addresses: soon everybody is served again."""
    socks = [connect_from(gateway, f"127.0.2.{1 + number % 20}") for number in range(200)]
    for sock in socks:
        sock.sendall(b"\1")
    began = time.monotonic()
    while (refusal := _refusal_of_echo(gateway)) is not None:
        assert (refusal.result, refusal.source, refusal.reason) == (2, 3, 2)
        assert time.monotonic() - began < 8
        time.sleep(0.1)
    for sock in socks:
        sock.close()
    assert gateway.settle(before).threads <= before.threads


def _refusal_of_echo(gateway: GatewayProcess) -> AssociationRejected | None:
    try:
        gateway.echo()
    except AssociationRejected as error:
        return error
    return None


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.99"])
def test_after_the_crowd_everybody_is_served(gateway: GatewayProcess, address: str) -> None:
    """Nothing of it is left in the counts."""
    with connect_from(gateway, address) as sock:
        sock.sendall(encode(REQUEST))
        assert isinstance(read_pdu(sock), AssociateAccept)
