"""A request while its data set arrives."""

from __future__ import annotations

from dicomrelay.net.incoming_request import IncomingRequest


def test_a_request_is_taken_with_its_data_set_and_syntax() -> None:
    """In however many fragments; the next one begins anew."""
    incoming: IncomingRequest[str] = IncomingRequest(4)
    assert not incoming.is_receiving
    incoming.begin("first", "1.2.3")
    assert incoming.is_receiving
    incoming.add([memoryview(b"ab")])
    incoming.add([memoryview(b"c"), memoryview(b"d")])
    assert incoming.take() == ("first", b"abcd", "1.2.3")
    assert not incoming.is_receiving
    incoming.begin("second", "1.2.4")
    assert incoming.take() == ("second", b"", "1.2.4")


def test_what_is_over_the_limit_is_thrown_away_to_its_end() -> None:
    """The request is still answered; nothing of it stays for the next."""
    incoming: IncomingRequest[str] = IncomingRequest(4)
    incoming.begin("long", "1.2.3")
    incoming.add([memoryview(b"abcde")])
    incoming.add([memoryview(b"f")])
    assert incoming.is_receiving
    assert incoming.take() == ("long", None, "1.2.3")
    incoming.begin("half", "1.2.3")
    incoming.add([memoryview(b"ab")])
    incoming.forget()
    assert not incoming.is_receiving
    incoming.begin("next", "1.2.3")
    incoming.add([memoryview(b"cd")])
    assert incoming.take() == ("next", b"cd", "1.2.3")
