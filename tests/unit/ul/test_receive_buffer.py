"""The memory of a connection: it follows the data, up to its limit and back."""

from __future__ import annotations

import struct

import pytest

from dicomrelay.ul.pdu import PduType
from dicomrelay.ul.receive_buffer import ReceiveBuffer

LIMITS = {PduType.ASSOCIATE_RQ: 1 << 20, PduType.P_DATA_TF: 300_000}
FIRST = 16_384
LARGE = 1 << 20


def _pdu(length: int, fill: int = 7) -> bytes:
    return struct.pack(">BxI", PduType.P_DATA_TF, length) + bytes([fill]) * length


def _fill(buffer: ReceiveBuffer, data: bytes) -> list[bytes]:
    """Receive it in reads as large as the buffer gives, and take what is whole after each."""
    found = []
    while data:
        space = buffer.space()
        count = min(len(space), len(data))
        space[:count] = data[:count]
        buffer.received(count)
        data = data[count:]
        while (pdu := buffer.next_pdu()) is not None:
            found.append(bytes(pdu[1]))
    return found


def test_nothing_is_spent_before_data_flows() -> None:
    """An association that is made and then silent, or says little, keeps its first 16 KiB."""
    buffer = ReceiveBuffer(LIMITS)
    buffer.enlarge(LARGE)
    for _ in range(100):
        assert len(_fill(buffer, _pdu(200))) == 1
    assert len(buffer.space()) == FIRST


@pytest.mark.parametrize("length", [1, 1000, 16_378, 16_379, 100_000, 300_000])
def test_it_grows_with_the_reads_that_fill_it_and_no_further(length: int) -> None:
    """Fourfold at each, whole PDUs or parts of them behind what was read, and every byte in its place."""
    buffer = ReceiveBuffer(LIMITS)
    buffer.enlarge(LARGE)
    count = -(-6_000_000 // length) if length > 1 else 400_000
    whole = [_pdu(length, number % 251) for number in range(count)]
    assert _fill(buffer, b"".join(whole)) == [pdu[6:] for pdu in whole]
    assert len(buffer) == 0
    assert len(buffer.space()) == LARGE


def test_it_shrinks_when_nothing_is_held_and_only_then() -> None:
    """What has begun to arrive is kept."""
    buffer = ReceiveBuffer(LIMITS)
    buffer.enlarge(LARGE)
    _fill(buffer, _pdu(300_000) * 10)
    begun = _pdu(50_000)
    assert _fill(buffer, begun[:40_000]) == []
    buffer.shrink()
    assert _fill(buffer, begun[40_000:]) == [begun[6:]]
    buffer.shrink()
    assert len(buffer.space()) == FIRST
    assert _fill(buffer, _pdu(300_000) * 10) == [_pdu(300_000)[6:]] * 10


def test_a_known_pdu_is_taken_by_its_looks() -> None:
    """Only whole, only first, and only when its type may be so long."""
    buffer = ReceiveBuffer({PduType.P_DATA_TF: 100, PduType.ASSOCIATE_RQ: 1000})
    expected = _pdu(90)
    assert not buffer.take_exactly(expected)
    _fill_raw(buffer, expected[:-1])
    assert not buffer.take_exactly(expected)
    _fill_raw(buffer, expected[-1:] + _pdu(10))
    assert not buffer.take_exactly(_pdu(10))
    assert buffer.take_exactly(expected)
    assert buffer.pdus_read == 1
    assert buffer.take_exactly(_pdu(10))
    too_long = _pdu(101)
    _fill_raw(buffer, too_long)
    assert not buffer.take_exactly(too_long)


def _fill_raw(buffer: ReceiveBuffer, data: bytes) -> None:
    buffer.space()[: len(data)] = data
    buffer.received(len(data))
