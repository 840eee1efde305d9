"""PDVs to messages, by the rules of PS3.8 Annex E."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dicomrelay.dimse.codec import encode_message
from dicomrelay.dimse.fragments import (
    MAX_COMMAND_BYTES,
    CommandReceived,
    DataSetReceived,
    MessageAssembler,
    command_bytes,
    largest_fragment,
)
from dicomrelay.dimse.messages import CEchoRequest, CStoreRequest
from dicomrelay.errors import LocalProtocolError, RemoteProtocolError
from dicomrelay.ul.pdu import PDataTf, Pdv, UserInformation
from tests.support.association_pair import REQUEST, AssociationPair, drain

STORE = CStoreRequest(1, "1.2", "1.2.3")
COMMAND = encode_message(STORE, has_data_set=True)
ECHO = encode_message(CEchoRequest(1, "1.2"), has_data_set=False)


def _data(data: bytes, *, last: bool = False, context_id: int = 1) -> Pdv:
    return Pdv(context_id, False, last, memoryview(data))


def _command(data: bytes, *, last: bool = True, context_id: int = 1) -> Pdv:
    return Pdv(context_id, True, last, memoryview(data))


def test_a_command_and_its_data_set_come_out_in_order() -> None:
    """However the PDVs are spread over PDUs."""
    assembler = MessageAssembler({1})
    assert assembler.feed([_command(COMMAND[:20], last=False)]) == []
    assert not assembler.is_between_messages
    first = assembler.feed([_command(COMMAND[20:]), _data(b"ab"), _data(b"cd")])
    assert first == [
        CommandReceived(1, STORE, True),
        DataSetReceived(1, [memoryview(b"ab"), memoryview(b"cd")], False),
    ]
    second = assembler.feed([_data(b"ef", last=True), _command(ECHO)])
    assert second == [
        DataSetReceived(1, [memoryview(b"ef")], True),
        CommandReceived(1, CEchoRequest(1, "1.2"), False),
    ]
    assert assembler.is_between_messages


def test_data_set_bytes_are_not_copied() -> None:
    """What went in comes out: the very same view."""
    assembler = MessageAssembler({1})
    assembler.feed([_command(COMMAND)])
    pdv = _data(b"ab", last=True)
    (received,) = assembler.feed([pdv])
    assert isinstance(received, DataSetReceived)
    assert received.fragments[0] is pdv.data


def test_an_empty_last_fragment_ends_a_data_set() -> None:
    """A sender that learns late that it has no more says so with an empty PDV."""
    assembler = MessageAssembler({1})
    assembler.feed([_command(COMMAND)])
    assert assembler.feed([_data(b"", last=True)]) == [DataSetReceived(1, [memoryview(b"")], True)]


@pytest.mark.parametrize(
    ("before", "pdv", "words"),
    [
        ([], _data(b"ab"), "without a whole command before"),
        ([_command(COMMAND[:10], last=False)], _data(b"ab"), "without a whole command before"),
        ([_command(ECHO)], _data(b"ab"), "without a whole command before"),
        ([_command(COMMAND)], _command(ECHO), "a command set where a data set must go on"),
        ([_command(COMMAND)], _data(b"ab", context_id=3), "of presentation context 1 goes on in context 3"),
        ([_command(COMMAND[:10], last=False)], _command(COMMAND[10:], context_id=3), "goes on in context 3"),
        ([], _command(ECHO, context_id=5), "presentation context 5 was not accepted"),
        ([], _command(ECHO, context_id=0), "presentation context 0 was not accepted"),  # found by chaos.fuzz
        ([_command(ECHO)], _command(COMMAND, context_id=0), "presentation context 0 was not accepted"),
        ([], _command(bytes(MAX_COMMAND_BYTES + 1), last=False), "more than 65536 bytes"),
        ([_command(bytes(40_000), last=False)], _command(bytes(40_000), last=False), "more than 65536 bytes"),
        ([], _command(b"\1"), "cut off"),
    ],
)
def test_what_annex_e_forbids_is_refused(before: list[Pdv], pdv: Pdv, words: str) -> None:
    """RemoteProtocolError, in words."""
    assembler = MessageAssembler({1, 3})
    assembler.feed(before)
    with pytest.raises(RemoteProtocolError, match=words):
        assembler.feed([pdv])


def test_a_command_set_is_spread_over_pdus_where_the_peer_takes_little() -> None:
    """Each within the peer's maximum, the last one marked, the bytes in order."""
    pair = AssociationPair(request=replace(REQUEST, user_information=UserInformation(maximum_length=30)))
    pair.establish()
    pair.requestor.receive(command_bytes(pair.acceptor, 1, COMMAND))
    pdvs = [pdv for pdu in drain(pair.requestor) if isinstance(pdu, PDataTf) for pdv in pdu.pdvs]
    assert len(pdvs) > 3
    assert all(len(pdv.data) + 6 <= 30 for pdv in pdvs)
    assert [pdv.is_last for pdv in pdvs] == [False] * (len(pdvs) - 1) + [True]
    assert MessageAssembler({1}).feed(pdvs) == [CommandReceived(1, STORE, True)]


def test_a_fragment_is_even_and_needs_room() -> None:
    """PS3.8 Annex E.1: an even number of bytes; a maximum length of 7 leaves none."""
    assert largest_fragment(16_384) == 16_378
    assert largest_fragment(16_385) == 16_378
    with pytest.raises(LocalProtocolError, match="maximum length of 7 leaves no room"):
        largest_fragment(7)
