"""What may come in a C-FIND, C-MOVE and C-GET, and what ends the association."""

from __future__ import annotations

import pytest

from dicomrelay.dimse.exchange import Exchange, Finished, Pending, StoreBegun, StoreData, echo_status
from dicomrelay.dimse.fragments import CommandReceived, DataSetReceived
from dicomrelay.dimse.identifier_buffer import MAX_IDENTIFIER_BYTES
from dicomrelay.dimse.messages import (
    CCancelRequest,
    CEchoRequest,
    CEchoResponse,
    CFindRequest,
    CFindResponse,
    CGetRequest,
    CGetResponse,
    CMoveRequest,
    CMoveResponse,
    CStoreRequest,
    Message,
    UnsupportedRequest,
    UnsupportedResponse,
)
from dicomrelay.errors import RemoteProtocolError

FIND, MOVE, GET = CFindRequest(7, "1.2"), CMoveRequest(7, "1.3", "RELAY"), CGetRequest(7, "1.4")
STORE = CStoreRequest(1, "1.2.840.10008.5.1.4.1.1.2", "1.2.3")


def _command(message: Message, *, data: bool = False, context_id: int = 1) -> CommandReceived:
    return CommandReceived(context_id, message, data)


def _data(data: bytes, *, last: bool = True, context_id: int = 1) -> DataSetReceived:
    return DataSetReceived(context_id, [memoryview(data)], last)


def test_a_find_ends_with_its_last_response() -> None:
    """Answers first, each whole, however its bytes came."""
    exchange = Exchange(FIND, 1)
    pending, final = CFindResponse(7, 0xFF00), CFindResponse(7, 0)
    assert exchange.feed([_command(pending, data=True), _data(b"ab", last=False)]) == []
    assert exchange.feed([_data(b"cd")]) == [Pending(pending, b"abcd")]
    assert not exchange.is_over
    warned = CFindResponse(7, 0xFF01)
    assert exchange.feed([_command(warned, data=True), _data(b"ef"), _command(final)]) == [
        Pending(warned, b"ef"),
        Finished(final, b""),
    ]
    assert exchange.is_over


@pytest.mark.parametrize("status", [0x0000, 0xFE00, 0xA700, 0xA900, 0xC001, 0x0122, 0x1234, 0xB000])
def test_every_status_that_is_not_pending_is_the_last(status: int) -> None:
    """One that no table knows too: waiting for more would be waiting for ever."""
    exchange = Exchange(FIND, 1)
    assert exchange.feed([_command(CFindResponse(7, status))]) == [Finished(CFindResponse(7, status), b"")]


def test_a_move_counts_and_may_list_its_failures() -> None:
    """The list is the identifier of the last response (PS3.4 Section C.4.2.3.2)."""
    exchange = Exchange(MOVE, 1)
    pending, final = CMoveResponse(7, 0xFF00, "", 3, 1, 0, 0), CMoveResponse(7, 0xB000, "", 0, 3, 1, 0)
    assert exchange.feed([_command(pending)]) == [Pending(pending, b"")]
    assert exchange.feed([_command(final, data=True), _data(b"list")]) == [Finished(final, b"list")]


def test_a_get_brings_stores_between_its_responses() -> None:
    """In the storage contexts only; their bytes pass through as the views that they are."""
    exchange = Exchange(GET, 1, {3, 5})
    data = _data(b"xy", last=False, context_id=3)
    assert exchange.feed([_command(STORE, data=True, context_id=3), data]) == [
        StoreBegun(3, STORE),
        StoreData(data.fragments, False),
    ]
    assert exchange.feed([_data(b"z", context_id=3), _command(CGetResponse(7, 0xFF00))]) == [
        StoreData([memoryview(b"z")], True),
        Pending(CGetResponse(7, 0xFF00), b""),
    ]
    assert exchange.feed([_command(CGetResponse(7, 0))]) == [Finished(CGetResponse(7, 0), b"")]


@pytest.mark.parametrize("request_", [FIND, MOVE, GET], ids=lambda each: type(each).__name__)
@pytest.mark.parametrize(
    "part",
    [
        _command(CFindResponse(8, 0)),
        _command(CMoveResponse(8, 0)),
        _command(CGetResponse(0, 0xFF00)),
        _command(CEchoResponse(7, 0)),
        _command(UnsupportedResponse(0x8110, 7, 0)),
        _command(UnsupportedRequest(0x0110, 7)),
        _command(CCancelRequest(7)),
        _command(CFindRequest(7, "1.2"), data=True),
        _command(STORE, data=True),
        _command(STORE, data=False, context_id=3),
        _command(STORE, data=True, context_id=9),
    ],
    ids=str,
)
def test_what_answers_nothing_ends_it(request_: CFindRequest, part: CommandReceived) -> None:
    """Another message id, another kind, a store where none may come."""
    with pytest.raises(RemoteProtocolError):
        Exchange(request_, 1, {3}).feed([part])


def test_a_response_of_another_operation_ends_it() -> None:
    """Each request has its own response, in its own context, and answers come before the last."""
    with pytest.raises(RemoteProtocolError, match="answers nothing"):
        Exchange(MOVE, 1).feed([_command(CGetResponse(7, 0))])
    with pytest.raises(RemoteProtocolError, match="context 3"):
        Exchange(GET, 1, {3}).feed([_command(CGetResponse(7, 0), context_id=3)])
    with pytest.raises(RemoteProtocolError, match="without an identifier"):
        Exchange(FIND, 1).feed([_command(CFindResponse(7, 0xFF00))])
    with pytest.raises(RemoteProtocolError, match="after the last"):
        Exchange(FIND, 1).feed([_command(CFindResponse(7, 0)), _command(CFindResponse(7, 0))])
    for request in (FIND, MOVE):
        with pytest.raises(RemoteProtocolError, match="C-STORE"):
            Exchange(request, 1, {3}).feed([_command(STORE, data=True, context_id=3)])


def test_an_identifier_without_end_ends_it() -> None:
    """When the first byte over the limit comes, not when the peer has finished."""
    exchange = Exchange(FIND, 1)
    exchange.feed([_command(CFindResponse(7, 0xFF00), data=True)])
    half = bytes(MAX_IDENTIFIER_BYTES // 2)
    exchange.feed([_data(half, last=False)])
    exchange.feed([_data(half, last=False)])
    with pytest.raises(RemoteProtocolError, match="more than"):
        exchange.feed([_data(b"x", last=False)])


def test_pending_without_end_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that only ever says that it is busy."""
    monkeypatch.setattr("dicomrelay.dimse.exchange.MAX_PENDING", 3)
    exchange = Exchange(MOVE, 1)
    busy = _command(CMoveResponse(7, 0xFF00))
    exchange.feed([busy] * 3)
    with pytest.raises(RemoteProtocolError, match="pending"):
        exchange.feed([busy])


@pytest.mark.parametrize("status", [0, 0x0122, 0xFF00])
def test_an_echo_has_one_response_whatever_its_status(status: int) -> None:
    """None as long as it is not there."""
    request = CEchoRequest(7, "1.2.840.10008.1.1")
    assert echo_status(request, []) is None
    assert echo_status(request, [_command(CEchoResponse(7, status))]) == status


@pytest.mark.parametrize(
    "parts",
    [
        [_command(CEchoResponse(8, 0))],
        [_command(CEchoResponse(7, 0), data=True)],
        [_command(CFindResponse(7, 0))],
        [_command(CEchoResponse(7, 0)), _command(CEchoResponse(7, 0))],
        [_data(b"x")],
    ],
    ids=["id", "data set", "kind", "two", "data"],
)
def test_what_answers_no_echo_ends_it(parts: list[CommandReceived | DataSetReceived]) -> None:
    """The next request would take it for its own answer."""
    with pytest.raises(RemoteProtocolError):
        echo_status(CEchoRequest(7, "1.2.840.10008.1.1"), parts)
