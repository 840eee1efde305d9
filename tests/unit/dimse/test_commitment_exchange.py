"""Which message may come after a storage commitment request; no socket."""

from __future__ import annotations

import pytest

from dicomrelay.dimse import commitment_exchange
from dicomrelay.dimse.codec import decode_message, encode_message
from dicomrelay.dimse.commitment_exchange import CommitmentExchange, Reported
from dicomrelay.dimse.fragments import CommandReceived, DataSetReceived
from dicomrelay.dimse.messages import (
    CEchoResponse,
    Message,
    NActionRequest,
    NActionResponse,
    NEventReportRequest,
    NEventReportResponse,
)
from dicomrelay.errors import RemoteProtocolError

PUSH, WELL_KNOWN = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
ACTION = NActionRequest(7, PUSH, WELL_KNOWN, 1)
ANSWER = NActionResponse(7, 0, PUSH, WELL_KNOWN, 1)
REPORT = NEventReportRequest(3, PUSH, WELL_KNOWN, 1)


@pytest.fixture
def exchange() -> CommitmentExchange:
    return CommitmentExchange(ACTION, 1)


def command(message: Message, *, has_data_set: bool = False, context: int = 1) -> CommandReceived:
    return CommandReceived(context, message, has_data_set)


def data(*pieces: bytes, last: bool = True) -> DataSetReceived:
    return DataSetReceived(1, [memoryview(piece) for piece in pieces], last)


@pytest.mark.parametrize(
    "message",
    [
        ACTION,
        NActionResponse(7, 0x0112, PUSH, WELL_KNOWN, 1, "said"),
        NActionResponse(7, 0),
        REPORT,
        NEventReportRequest(3, PUSH),
        NEventReportResponse(3, 0x0115, PUSH, WELL_KNOWN, 2),
        NEventReportResponse(3, 0),
    ],
)
@pytest.mark.parametrize("has_data_set", [False, True])
def test_the_messages_are_written_and_read(message: Message, has_data_set: bool) -> None:
    assert decode_message(encode_message(message, has_data_set=has_data_set)) == (message, has_data_set)


def test_the_bytes_of_an_n_action_request() -> None:
    """PS3.7 Table 10.3-9, in ascending order of the element."""
    assert encode_message(NActionRequest(1, "1.2", "1.3", 1), has_data_set=True) == bytes.fromhex(
        "00000000 04000000 40000000"
        "00000300 04000000 312e3200"  # Requested SOP Class UID
        "00000001 02000000 3001"
        "00001001 02000000 0100"
        "00000008 02000000 0000"
        "00000110 04000000 312e3300"  # Requested SOP Instance UID
        "00000810 02000000 0100"  # Action Type ID
    )


def test_the_response_and_then_the_report(exchange: CommitmentExchange) -> None:
    assert exchange.feed([command(ANSWER)]) == [ANSWER]
    assert exchange.is_answered
    assert exchange.feed([command(REPORT, has_data_set=True), data(b"ab", last=False)]) == []
    assert exchange.feed([data(b"cd")]) == [Reported(REPORT, b"abcd")]


def test_a_report_before_the_response(exchange: CommitmentExchange) -> None:
    assert exchange.feed([command(REPORT, has_data_set=True), data(b"ab")]) == [Reported(REPORT, b"ab")]
    assert not exchange.is_answered
    assert exchange.feed([command(ANSWER)]) == [ANSWER]


def test_a_report_without_a_data_set_has_none(exchange: CommitmentExchange) -> None:
    assert exchange.feed([command(REPORT)]) == [Reported(REPORT, b"")]


@pytest.mark.parametrize(
    "parts",
    [
        [command(ANSWER), command(ANSWER)],
        [command(NActionResponse(8, 0))],
        [command(ANSWER, has_data_set=True)],
        [command(ANSWER, context=3)],
        [command(REPORT), command(REPORT)],
        [command(CEchoResponse(7, 0))],
        [command(ACTION)],
    ],
)
def test_what_does_not_fit_ends_the_association(
    exchange: CommitmentExchange, parts: list[CommandReceived]
) -> None:
    with pytest.raises(RemoteProtocolError):
        exchange.feed(parts)


def test_a_report_is_bounded_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commitment_exchange, "MAX_REPORT_BYTES", 4)
    exchange = CommitmentExchange(ACTION, 1)
    exchange.feed([command(REPORT, has_data_set=True), data(b"abcd", last=False)])
    with pytest.raises(RemoteProtocolError, match="more than 4 bytes"):
        exchange.feed([data(b"e")])
