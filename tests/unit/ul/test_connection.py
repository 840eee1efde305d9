"""Two sans-I/O ends on a fake link, and the receive buffer's promises."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dicomrelay.errors import LocalProtocolError, RemoteProtocolError
from dicomrelay.ul.connection import MAX_SENT_PDU_BYTES, Connection, ConnectionClosed, Effect
from dicomrelay.ul.pdu import (
    Abort,
    AssociateReject,
    PDataTf,
    Pdv,
    ReleaseRequest,
    ReleaseResponse,
    UserInformation,
)
from dicomrelay.ul.receive_buffer import ReceiveBuffer
from dicomrelay.ul.state import State
from dicomrelay.ul.writer import encode
from tests.support.association_pair import ACCEPT, REQUEST, AssociationPair


def test_an_association_is_made_used_and_released() -> None:
    """The whole life: request, accept, data both ways, release, close; both ends are idle in the end."""
    pair = AssociationPair()
    pair.establish()
    data = PDataTf((Pdv(1, True, True, b"command"),))
    assert pair.to_acceptor(data) == [data]
    assert pair.to_requestor(data) == [data]
    assert pair.to_acceptor(ReleaseRequest()) == [ReleaseRequest()]
    assert pair.to_requestor(ReleaseResponse()) == [ReleaseResponse()]
    assert pair.requestor.state is State.STA1_IDLE
    assert Effect.CLOSE_TRANSPORT in pair.requestor.effects()
    pair.acceptor.receive(b"")
    assert pair.acceptor.next_event() == ConnectionClosed()
    assert pair.acceptor.state is State.STA1_IDLE


def test_a_rejection_closes_the_requestor() -> None:
    """AE-4: the requestor sees the rejection and closes; the acceptor waits in Sta13 with ARTIM."""
    pair = AssociationPair()
    pair.request()
    pair.acceptor.effects()
    assert pair.to_requestor(AssociateReject(2, 3, 2)) == [AssociateReject(2, 3, 2)]
    assert pair.requestor.state is State.STA1_IDLE
    assert pair.acceptor.state is State.STA13_AWAITING_CLOSE
    assert pair.acceptor.effects() == [Effect.START_ARTIM]


def test_crossing_releases_end_on_both_sides() -> None:
    """PS3.8 Section 7.2.2: the requestor of the association answers first (Sta9 to 11, Sta10 to 12)."""
    pair = AssociationPair()
    pair.establish()
    from_requestor = pair.requestor.send(ReleaseRequest())
    from_acceptor = pair.acceptor.send(ReleaseRequest())
    pair.acceptor.receive(from_requestor)
    pair.requestor.receive(from_acceptor)
    assert pair.acceptor.next_event() == ReleaseRequest()
    assert pair.requestor.next_event() == ReleaseRequest()
    assert pair.to_acceptor(ReleaseResponse()) == [ReleaseResponse()]
    assert pair.to_requestor(ReleaseResponse()) == [ReleaseResponse()]
    assert pair.requestor.state is State.STA1_IDLE
    assert pair.acceptor.state is State.STA13_AWAITING_CLOSE


def test_data_may_still_come_while_a_release_is_awaited() -> None:
    """AR-6 and AR-7: the side that was asked may send its last data first."""
    pair = AssociationPair()
    pair.establish()
    pair.to_acceptor(ReleaseRequest())
    data = PDataTf((Pdv(1, False, True, b"last"),))
    assert pair.to_requestor(data) == [data]


def test_an_abort_is_seen_and_ends_both_sides() -> None:
    """AA-1 and AA-3."""
    pair = AssociationPair()
    pair.establish()
    assert pair.to_acceptor(Abort(0, 0)) == [Abort(0, 0)]
    assert pair.acceptor.state is State.STA1_IDLE
    assert pair.acceptor.next_event() is None


def test_we_never_send_more_than_the_peer_takes() -> None:
    """PS3.8 Annex D.1: the peer's maximum length counts the whole variable field."""
    pair = AssociationPair(request=replace(REQUEST, user_information=UserInformation(maximum_length=100)))
    pair.establish()
    assert pair.acceptor.peer_max_pdu_bytes == 100
    pair.acceptor.send(PDataTf((Pdv(1, False, True, bytes(94)),)))
    with pytest.raises(LocalProtocolError, match="106 bytes is longer than the peer's 100"):
        pair.acceptor.send(PDataTf((Pdv(1, False, True, bytes(100)),)))
    with pytest.raises(LocalProtocolError, match="longer than the peer's 100"):
        pair.acceptor.send_p_data_header(1, 96, is_command=False, is_last=True)


def test_a_peer_without_a_limit_gets_ours() -> None:
    """Maximum length 0 means any; we stay at a megabyte all the same."""
    pair = AssociationPair(accept=replace(ACCEPT, user_information=UserInformation(maximum_length=0)))
    pair.establish()
    assert pair.requestor.peer_max_pdu_bytes == MAX_SENT_PDU_BYTES


def test_the_longest_pdu_we_advertise_is_taken_and_one_byte_more_is_not() -> None:
    """PS3.8 Annex D.1: it shall be a protocol error, and it is one before the body has arrived."""
    pair = AssociationPair(max_pdu_bytes=1000)
    pair.establish()
    pair.acceptor.receive(encode(PDataTf((Pdv(1, False, True, bytes(994)),))))
    assert isinstance(pair.acceptor.next_event(), PDataTf)
    pair.acceptor.receive(b"\x04\0" + (1001).to_bytes(4, "big"))
    with pytest.raises(RemoteProtocolError, match="claims 1001 bytes, more than the 1000"):
        pair.acceptor.next_event()
    assert encode(Abort(2, 6)) == pair.acceptor.take_output()


def test_data_before_the_association_is_refused() -> None:
    """Sta2 and P-DATA-TF: AA-1."""
    connection = Connection(max_pdu_bytes=1000)
    connection.transport_accepted()
    connection.receive(encode(PDataTf((Pdv(1, False, True, b"ab"),))))
    with pytest.raises(RemoteProtocolError, match="PDataTf is not expected in Sta2"):
        connection.next_event()
    assert connection.next_event() is None


def test_nothing_is_sent_before_the_association_stands() -> None:
    """The local user gets LocalProtocolError that names event and state."""
    connection = Connection(max_pdu_bytes=1000)
    with pytest.raises(LocalProtocolError, match=r"Evt9 \(p data request\) is not allowed in Sta1 \(idle\)"):
        connection.send_p_data_header(1, 10, is_command=False, is_last=True)
    with pytest.raises(LocalProtocolError, match=r"associate\(\)"):
        connection.send(REQUEST)


def test_a_pdv_is_a_view_of_the_receive_buffer() -> None:
    """No copy is made of what was received; the next receive voids the view."""
    pair = AssociationPair()
    pair.establish()
    pair.acceptor.receive(encode(PDataTf((Pdv(1, False, True, b"abcdef"),))))
    event = pair.acceptor.next_event()
    assert isinstance(event, PDataTf)
    view = event.pdvs[0].data
    assert isinstance(view, memoryview)
    assert bytes(view) == b"abcdef"
    pair.acceptor.receive_buffer()[:32] = b"\xee" * 32
    assert bytes(view) == b"\xee" * 6


def test_a_claimed_length_costs_no_memory() -> None:
    """A header that claims the largest A-ASSOCIATE-RQ leaves the buffer as small as it was."""
    buffer = ReceiveBuffer({1: 1 << 20})
    header = b"\x01\0\x00\x10\x00\x00"
    buffer.space()[: len(header)] = header
    buffer.received(len(header))
    assert buffer.next_pdu() is None
    assert len(buffer.space()) < 32_768


def test_a_pdu_larger_than_the_first_buffer_arrives_whole() -> None:
    """The buffer grows with what came, doubling, and never beyond the largest PDU."""
    buffer = ReceiveBuffer({1: 300_000})
    body = bytes(range(256)) * 1171
    raw = b"\x01\0" + len(body).to_bytes(4, "big") + body
    position = 0
    while (found := buffer.next_pdu()) is None:
        space = buffer.space()
        assert 0 < len(space) <= 300_006
        count = min(len(space), 10_000, len(raw) - position)
        space[:count] = raw[position : position + count]
        buffer.received(count)
        position += count
    assert (found[0], bytes(found[1])) == (1, body)


def test_an_abort_that_is_due_is_said_once() -> None:
    """`request_abort` adds nothing where the last word is said, and nothing before an association."""
    pair = AssociationPair()
    pair.establish()
    pair.acceptor.request_abort(Abort(2, 0))
    pair.acceptor.request_abort(Abort(2, 0))
    assert encode(Abort(2, 0)) == pair.acceptor.take_output()
    fresh = Connection(max_pdu_bytes=1000)
    fresh.transport_accepted()
    fresh.request_abort(Abort(2, 0))
    assert fresh.take_output() == b""


def test_a_long_association_keeps_no_list_of_effects() -> None:
    """A driver that never asks for them pays a few words, however many messages pass."""
    pair = AssociationPair()
    pair.establish()
    data = PDataTf((Pdv(1, False, True, b"data"),))
    for _ in range(1000):
        pair.to_acceptor(data)
        pair.to_requestor(data)
    pair.to_acceptor(ReleaseRequest())
    pair.to_requestor(ReleaseResponse())
    assert pair.requestor.effects() == [Effect.CLOSE_TRANSPORT]
    assert pair.acceptor.effects() == [Effect.START_ARTIM]
