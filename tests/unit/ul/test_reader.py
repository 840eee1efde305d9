"""The reader refuses what PS3.8 does not allow, and says what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dicomrelay.errors import LocalProtocolError, RemoteProtocolError
from dicomrelay.ul.pdu import (
    AssociateAccept,
    AssociateRequest,
    ContextDecision,
    ProposedContext,
    UserInformation,
)
from dicomrelay.ul.reader import DECODERS
from dicomrelay.ul.user_information import item
from dicomrelay.ul.writer import encode

REQUEST = AssociateRequest(
    "CALLED", "CALLING", "1.2.840.10008.3.1.1.1", (ProposedContext(1, "1.2", ("1.3",)),), UserInformation()
)
HEAD = encode(REQUEST)[6:74]
CONTEXT = b"\x01\0\0\0" + item(0x30, b"1.2") + item(0x40, b"1.3")


def _read(pdu_type: int, body: bytes) -> object:
    return DECODERS[pdu_type](memoryview(body))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (HEAD[:60], "60 bytes is cut off"),
        (HEAD, "no presentation context is proposed"),
        (HEAD + b"\x20\0", "an item of an A-ASSOCIATE PDU is cut off"),
        (HEAD + b"\x20\0\xff\xff\x01", "item 0x20 claims 65535 bytes and 1 are left"),
        (HEAD + item(0x20, b"\x01\0"), "presentation context item is cut off"),
        (HEAD + item(0x20, b"\x02\0\0\0" + CONTEXT[4:]), "presentation context id 2 is not odd"),
        (HEAD + item(0x20, b"\x00\0\0\0" + CONTEXT[4:]), "presentation context id 0 is not odd"),
        (HEAD + item(0x20, CONTEXT) * 2, "used twice"),
        (HEAD + item(0x20, CONTEXT) * 129, "more than 128"),
        (HEAD + item(0x20, CONTEXT[:4] + item(0x30, b"1.2")), "lacks its abstract or its transfer syntax"),
        (HEAD + item(0x20, CONTEXT[:4] + item(0x40, b"1.2")), "lacks its abstract or its transfer syntax"),
        (HEAD + item(0x20, CONTEXT + item(0x40, b"1" * 65)), "the transfer syntax is no UID: 65 bytes"),
        (HEAD + item(0x20, CONTEXT + item(0x40, b"1.\xff")), "the transfer syntax is no UID"),
        (HEAD.replace(b"CALLING", b"CALL\nNG") + item(0x20, CONTEXT), "calling AE title holds control characters"),
        (HEAD + item(0x20, CONTEXT) + item(0x50, item(0x51, b"\0\0")), "sub-item for maximum_length is cut off"),
        (HEAD + item(0x20, CONTEXT) + item(0x50, b"\x51\0\0\x09\0"), "sub-item 0x51 claims 9 bytes and 1 are left"),
        (HEAD + item(0x20, CONTEXT) + item(0x50, b"\x51"), "user information sub-item is cut off"),
        (HEAD + item(0x20, CONTEXT) + item(0x50, item(0x54, b"\0\x50\x31")), "sub-item for roles is cut off"),
        (HEAD + item(0x20, CONTEXT) + item(0x50, item(0x55, b"A\x1b[2J")), "implementation version name"),
    ],
)  # fmt: skip
def test_a_bad_request_is_refused_in_words(body: bytes, words: str) -> None:
    """Each fault has its sentence, a clause, and the reason of the A-ABORT: 6, invalid parameter value."""
    with pytest.raises(RemoteProtocolError, match=words) as caught:
        _read(1, body)
    assert caught.value.abort_reason == 6
    assert caught.value.section.startswith("PS3.8") or caught.value.section.startswith("PS3.7")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "without a PDV"),
        (b"\0\0\0\x02\x01", "a PDV item is cut off"),
        (b"\0\0\0\x01\x01\x03", "a PDV item length of 1"),
        (b"\xff\xff\xff\xff\x01\x03ab", "a PDV item length of 4294967295"),
    ],
)
def test_bad_p_data_is_refused_in_words(body: bytes, words: str) -> None:
    """A PDV does not reach beyond its PDU (PS3.8 Annex E.2)."""
    with pytest.raises(RemoteProtocolError, match=words):
        _read(4, body)


def test_an_acceptance_names_exactly_one_transfer_syntax() -> None:
    """PS3.8 Section 9.3.3.2; that of a refused context is not even looked at."""
    accept = AssociateAccept("A", "B", "1.2", (), UserInformation())
    head = encode(accept)[6:]
    with pytest.raises(RemoteProtocolError, match="names 0 transfer syntaxes"):
        _read(2, head + item(0x21, b"\x01\0\0\0"))
    two = item(0x40, b"1.2") * 2
    with pytest.raises(RemoteProtocolError, match="names 2 transfer syntaxes"):
        _read(2, head + item(0x21, b"\x01\0\0\0" + two))
    refused = _read(2, head + item(0x21, b"\x01\0\x03\0rubbish"))
    assert isinstance(refused, AssociateAccept)
    assert refused.contexts == (ContextDecision(1, 3),)


def _decided(*ids: int) -> bytes:
    return b"".join(item(0x21, bytes((each, 0, 0, 0)) + item(0x40, b"1.2")) for each in ids)


def test_answers_to_contexts_are_read_wherever_they_stand() -> None:
    """PS3.8 Table 9-17 has them together; with something between them, or last, they mean the same, once and again."""
    head, unknown = encode(AssociateAccept("A", "B", "1.2", (), UserInformation()))[6:74], item(0x99, b"?")
    expected = tuple(ContextDecision(each, 0, "1.2") for each in (1, 3, 5))
    for body in (
        _decided(1, 3, 5) + unknown,
        unknown + _decided(1, 3, 5),
        _decided(1, 3) + unknown + _decided(5),
        _decided(1) + unknown + _decided(3) + unknown + _decided(5),
    ):
        for _ in range(2):
            accept = _read(2, head + body)
            assert isinstance(accept, AssociateAccept)
            assert accept.contexts == expected


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (_decided(1, 1), "used twice"),
        (_decided(1) + item(0x99, b"?") + _decided(1), "used twice"),
        (_decided(*range(1, 256, 2), 1), "more than 128"),
        (_decided(*range(1, 256, 2)) + item(0x99, b"?") + _decided(1), "more than 128"),
        (_decided(1, 3)[:-1], "item 0x21 claims 11 bytes and 10 are left"),
        (_decided(1) + b"\x21\0", "an item of an A-ASSOCIATE PDU is cut off"),
        (_decided(1, 2), "id 2 is not odd"),
    ],
)
def test_bad_answers_to_contexts_are_refused_in_words(body: bytes, words: str) -> None:
    """The same words however they stand, at the second time too: nothing is remembered of what was refused."""
    head = encode(AssociateAccept("A", "B", "1.2", (), UserInformation()))[6:74]
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match=words):
            _read(2, head + body)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (replace(REQUEST, called_ae_title="SEVENTEEN-LETTERS"), "17 characters, at most 16"),
        (replace(REQUEST, calling_ae_title="\u20ac"), "is not ASCII"),
        (replace(REQUEST, contexts=(ProposedContext(2, "1.2", ("1.3",)),)), "id 2 is not odd"),
        (replace(REQUEST, contexts=(ProposedContext(257, "1.2", ("1.3",)),)), "id 257 is not odd or not in"),
        (replace(REQUEST, application_context="\u00e9"), "is no UID"),
    ],
)
def test_what_has_no_bytes_is_our_own_mistake(wrong: AssociateRequest, words: str) -> None:
    """The writer does not write a PDU that its own reader would refuse."""
    with pytest.raises(LocalProtocolError, match=words):
        encode(wrong)
