"""Senders that go away in the middle: at every kind of place, in every way, and nothing of it stays on the disk."""

from __future__ import annotations

import itertools
import socket
import struct
import time
from pathlib import Path

import pytest

from chaos.gateway_process import GatewayProcess, Usage, half_written
from dicomrelay.ul.pdu import Abort
from dicomrelay.ul.writer import encode
from tests.support.attacks import answers, arrivals, conversation, converse, new_uid, seconds_until, statuses
from tests.support.wire import data_pdu, read_pdu, store_command

MOST_MEGABYTES = 128
# Not at the end: from there on the instance is whole, and keeping it is right.
PLACES = 200


def _leave(sock: socket.socket, how: str) -> None:
    if how == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif how == "abort":
        sock.sendall(encode(Abort()))
    sock.close()


def _files(home: Path) -> list[Path]:
    kept = {path for path in (home / "spool").rglob("*") if path.is_file() and path.suffix != ".part"}
    return sorted([*kept, *half_written(home)])


@pytest.mark.parametrize("how", ["close", "reset", "abort"])
def test_a_sender_that_leaves_in_the_middle_leaves_no_file(
    gateway: GatewayProcess, before: Usage, how: str
) -> None:
    """Two hundred places of the stream of one instance: no file, half or whole, and no thread."""
    held = _files(gateway.home)
    first, *rest = conversation(pixels=bytes(60_000), step=8_000)
    stream = b"".join(rest[:-1])
    for place in range(PLACES):
        cut = len(stream) * place // PLACES
        with gateway.connect() as sock:
            sock.sendall(first)
            read_pdu(sock)
            sock.sendall(stream[:cut])
            _leave(sock, how)
    assert seconds_until((_files(gateway.home) == held for _ in itertools.count()), at_most=5) < 5
    after = gateway.settle(before)
    assert after.holds_no_more_than(before)


def test_after_the_last_byte_it_is_kept_or_it_is_not_but_never_half(gateway: GatewayProcess) -> None:
    """A sender that resets before it reads the answer does not know; it sends again, and both files are whole."""
    held = len(arrivals(gateway.home))
    for _ in range(50):
        uid = new_uid()
        stream = b"".join(conversation(uid)[:-1])
        with gateway.connect() as sock:
            sock.sendall(stream)
            _leave(sock, "reset")
        assert statuses(converse(gateway, conversation(uid))) == [0]
    time.sleep(0.3)
    assert 50 <= len(arrivals(gateway.home)) - held <= 100
    assert not half_written(gateway.home)


def test_a_second_data_set_that_breaks_off_does_not_touch_the_first(gateway: GatewayProcess) -> None:
    """Acknowledged is acknowledged."""
    held = len(arrivals(gateway.home))
    with gateway.connect() as sock:
        sock.sendall(b"".join(conversation()[:-1]))
        read_pdu(sock)
        answer = read_pdu(sock)
        assert answer is not None
        assert statuses([answer]) == [0]
        sock.sendall(store_command(message_id=2, uid=new_uid()) + data_pdu(bytes(5000), is_last=False))
        _leave(sock, "reset")
    assert len(arrivals(gateway.home)) == held + 1
    assert seconds_until(
        (not half_written(gateway.home) for _ in itertools.count()), at_most=5
    ) < 5  # fmt: skip


@pytest.mark.parametrize(
    "data", [b"", b"\0\0", bytes(5000), b"\xff" * 5000], ids=["none", "two", "zeros", "ones"]
)
def test_what_is_no_data_set_is_refused_and_leaves_no_file(gateway: GatewayProcess, data: bytes) -> None:
    """With C000 or A900, and the association goes on."""
    held = _files(gateway.home)
    first, *_ = conversation()
    good = conversation()
    found = converse(
        gateway, [first, store_command(uid=new_uid()), data_pdu(data, is_last=True), *good[1:]]
    )  # fmt: skip
    refused, stored = statuses(found)
    assert refused & 0xF000 in {0xC000, 0xA000}
    assert stored == 0
    assert len(_files(gateway.home)) == len(held) + 1


def test_one_reset_while_a_hundred_answers_are_due(gateway: GatewayProcess, before: Usage) -> None:
    """Many instances in one go, and nobody who reads: each is kept whole or not at all."""
    uids = [new_uid() for _ in range(100)]
    pieces = [conversation(uid)[1:-1] for uid in uids]
    with gateway.connect() as sock:
        sock.sendall(conversation()[0])
        sock.sendall(b"".join(b"".join(each) for each in pieces))
        _leave(sock, "reset")
    after = gateway.settle(before)
    assert after.holds_no_more_than(before)
    assert not half_written(gateway.home)
    with gateway.connect() as sock:
        sock.sendall(b"".join(conversation()))
        assert statuses(answers(sock)) == [0]
