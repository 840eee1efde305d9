"""Lengths that lie, PDUs out of place, commands that nobody knows, streams cut anywhere: to a gateway process."""

from __future__ import annotations

import struct
import time

import pytest

from chaos.gateway_process import GatewayProcess, Usage
from dicomrelay.dicom.uids import VERIFICATION
from dicomrelay.dimse.codec import encode_message
from dicomrelay.dimse.command_set import encode_command_set
from dicomrelay.dimse.messages import CEchoRequest
from dicomrelay.ul.pdu import (
    Abort,
    AssociateAccept,
    AssociateReject,
    PDataTf,
    Pdv,
    ReleaseRequest,
    ReleaseResponse,
)
from dicomrelay.ul.writer import encode
from tests.hardening.conftest import MEGABYTE
from tests.support.attacks import answers, arrivals, conversation, converse, new_uid, statuses
from tests.support.wire import REQUEST, associate, data_pdu, store_command

ECHO = encode(
    PDataTf((Pdv(3, True, True, encode_message(CEchoRequest(9, VERIFICATION), has_data_set=False)),))
)
MAX_PDU_BYTES = 262_144


@pytest.mark.parametrize("pdu_type", [1, 2, 3, 4, 5, 6, 7, 0, 8, 0x16, 0xFF])
@pytest.mark.parametrize("is_established", [False, True], ids=["before", "established"])
def test_a_pdu_that_claims_4_gib_costs_neither_memory_nor_time(
    gateway: GatewayProcess, before: Usage, pdu_type: int, is_established: bool
) -> None:
    """The header is refused; what is poured in behind it is thrown away, and the connection ends."""
    began = time.monotonic()
    head = [encode(REQUEST)] if is_established else []
    flood = (bytes(MEGABYTE) for _ in range(64))
    found = converse(gateway, [*head, struct.pack(">BBI", pdu_type, 0, 0xFFFFFFFF), *flood])

    assert time.monotonic() - began < 5
    assert [each for each in found if not isinstance(each, AssociateAccept)] in (
        [],  # the flood overtook it
        [Abort(2, 6)],
        [Abort(2, 1)],
        [Abort(0, 0)],
    )
    assert gateway.usage().peak_rss_bytes - before.rss_bytes < 16 * MEGABYTE


def test_fifty_peers_that_claim_4_gib_cost_fifty_buffers(gateway: GatewayProcess, before: Usage) -> None:
    """Memory is spent for what came, not for what was claimed."""
    socks = [gateway.connect() for _ in range(50)]
    for sock in socks:
        sock.sendall(b"\1\0\xff\xff\xff\xff" + bytes(1000))
    for sock in socks:
        answers(sock)
        sock.close()
    assert gateway.usage().peak_rss_bytes - before.rss_bytes < 32 * MEGABYTE


@pytest.mark.parametrize(("size", "accepted"), [(MAX_PDU_BYTES, True), (MAX_PDU_BYTES + 2, False)])
def test_the_maximum_length_that_we_advertise_is_the_one_that_holds(
    gateway: GatewayProcess, size: int, accepted: bool
) -> None:
    """PS3.8 Annex D.1: to the byte."""
    uid = new_uid()
    first, command, *rest = conversation(uid, pixels=bytes(400_000), step=size - 6)

    found = converse(gateway, [first, command, *rest])

    assert (statuses(found) == [0]) is accepted
    assert isinstance(found[-1], ReleaseResponse) if accepted else found[-1] == Abort(2, 6)


def test_a_stream_cut_at_every_byte_stores_the_same(gateway: GatewayProcess) -> None:
    """Two pieces, the cut at each place once; then one byte at a time."""
    held = len(arrivals(gateway.home))
    stream = b"".join(conversation(pixels=bytes(40)))
    for cut in range(1, len(stream)):
        found = converse(gateway, [stream[:cut], stream[cut:]], pause_s=0.0002)
        assert statuses(found) == [0], cut
    assert statuses(converse(gateway, [bytes([each]) for each in stream])) == [0]
    assert len(arrivals(gateway.home)) - held == len(stream)


_PDUS = {
    "a-associate-rq": encode(REQUEST),
    "a-associate-ac": encode(AssociateAccept("A", "B", REQUEST.application_context, (), REQUEST.user_information)),
    "a-associate-rj": encode(AssociateReject(1, 1, 1)),
    "p-data-tf, command": ECHO,
    "p-data-tf, data": data_pdu(b"abcd", is_last=True),
    "a-release-rq": encode(ReleaseRequest()),
    "a-release-rp": encode(ReleaseResponse()),
    "a-abort": encode(Abort()),
    "type 0": bytes(10),
    "type 8": b"\x08" + encode(Abort())[1:],
    "type 255": b"\xff" + encode(Abort())[1:],
}  # fmt: skip
_BEFORE = {
    "nothing": [],
    "established": [encode(REQUEST)],
    "in a command": [
        encode(REQUEST),
        encode(PDataTf((Pdv(1, True, False, b"\0\0\0\0\4\0\0\0"),))),
    ],
    "in a data set": [encode(REQUEST), store_command(uid="1.2.3"), data_pdu(b"ab", is_last=False)],
    "released": [encode(REQUEST), encode(ReleaseRequest())],
    "aborted": [encode(REQUEST), encode(Abort())],
}
# What is in its place there (PS3.8 Table 9-10); everything else ends in an A-ABORT or, where the last word is said, in silence.
_IN_PLACE = {
    ("nothing", "a-associate-rq"): AssociateAccept,
    ("established", "p-data-tf, command"): PDataTf,
    ("established", "a-release-rq"): ReleaseResponse,
    ("in a data set", "a-release-rq"): ReleaseResponse,
    ("in a command", "a-release-rq"): ReleaseResponse,
}


@pytest.mark.parametrize("pdu", _PDUS)
@pytest.mark.parametrize("state", _BEFORE)
def test_a_pdu_out_of_place_ends_the_association(gateway: GatewayProcess, state: str, pdu: str) -> None:
    """Every kind in every state of the acceptor: answered as the table says, closed at once, nothing stored."""
    held = len(arrivals(gateway.home))
    earlier = {"nothing": 0, "released": 2}.get(state, 1)
    began = time.monotonic()

    found = converse(gateway, [*_BEFORE[state], _PDUS[pdu]])

    assert time.monotonic() - began < 3
    last = found[earlier:]
    expected = _IN_PLACE.get((state, pdu))
    if expected is not None:
        assert isinstance(last[0], expected)
    elif state in {"released", "aborted"} or pdu == "a-abort":
        assert all(isinstance(each, Abort) for each in last)
    elif (state, pdu) != ("in a data set", "p-data-tf, data"):
        assert [type(each) for each in last] == [Abort]
    assert len(arrivals(gateway.home)) == held


def _request(field: int, *, has_data_set: bool = False) -> bytes:
    elements = {
        0x0002: "1.2.3",
        0x0003: "1.2.3",  # an N-ACTION without is no command set (PS3.7 Section 10.3.4)
        0x0100: field,
        0x0110: 5,
        0x0800: 0 if has_data_set else 0x0101,
        0x1000: "1.4",
    }
    return encode(PDataTf((Pdv(1, True, True, encode_command_set(elements)),)))


@pytest.mark.parametrize("has_data_set", [False, True], ids=["alone", "with a data set"])
def test_an_unknown_command_is_answered_0211_and_the_association_goes_on(
    gateway: GatewayProcess, has_data_set: bool
) -> None:
    """Every field with few bits and a thousand others, that is no request of a service that the gateway has."""
    known = {0x0001, 0x0010, 0x0020, 0x0021, 0x0030, 0x0110, 0x0120, 0x0130, 0x0140, 0x0FFF}
    fields = [field for field in [*range(0x0200), *range(0x0200, 0x8000, 31)] if field not in known]
    pieces = [encode(REQUEST)]
    for field in fields:
        pieces += [
            _request(field, has_data_set=has_data_set),
            *([data_pdu(b"ab", is_last=True)] * has_data_set),
        ]

    found = converse(gateway, [*pieces, ECHO, encode(ReleaseRequest())])

    assert statuses(found) == [0x0211] * len(fields) + [0]
    assert isinstance(found[-1], ReleaseResponse)


def test_a_flood_of_event_reports_starts_no_thread(gateway: GatewayProcess) -> None:
    """One association has one thread, whatever it sends."""
    with gateway.connect() as sock:
        associate(sock)
        threads = gateway.usage().threads
        sock.sendall(_request(0x0100) * 1000)
        assert gateway.usage().threads <= threads
        sock.sendall(encode(ReleaseRequest()))
        assert statuses(answers(sock)) == [0x0211] * 1000


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0",
        bytes(8),
        bytes(65_536),
        b"\0\0\0\1\xff\xff\xff\xff",
        b"\x08\0\x16\0\4\0\0\0abcd",
        encode_command_set({0x0100: 1, 0x0110: 1, 0x0800: 0}),  # a C-STORE-RQ of nothing
    ],
    ids=len,
)
def test_what_is_no_command_set_aborts(gateway: GatewayProcess, raw: bytes) -> None:
    """With reason 6, an invalid parameter value."""
    found = converse(gateway, [encode(REQUEST), encode(PDataTf((Pdv(1, True, True, raw),)))])
    assert found[1:] == [Abort(2, 6)]


def test_a_command_set_without_end_aborts(gateway: GatewayProcess, before: Usage) -> None:
    """64 KiB are more than any has."""
    piece = encode(PDataTf((Pdv(1, True, False, bytes(60_000)),)))
    assert converse(gateway, [encode(REQUEST), *[piece] * 200])[1:] in ([Abort(2, 6)], [])
    assert gateway.usage().peak_rss_bytes - before.rss_bytes < 16 * MEGABYTE
