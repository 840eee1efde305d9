"""Command sets and messages (PS3.7 Section 6.3.1, 9.3 and Annex E)."""

from __future__ import annotations

import struct

import pytest

from dicomrelay.dimse.codec import decode_message, encode_message, encode_unsupported_response
from dicomrelay.dimse.command_set import decode_command_set, encode_command_set
from dicomrelay.dimse.messages import (
    CEchoRequest,
    CEchoResponse,
    CStoreRequest,
    CStoreResponse,
    Message,
    UnsupportedRequest,
    UnsupportedResponse,
)
from dicomrelay.errors import LocalProtocolError, RemoteProtocolError

# C-ECHO-RQ as PS3.7 Table 9.3-12 lays it out.
C_ECHO_RQ = bytes.fromhex(
    "00000000 04000000 38000000"  # (0000,0000) UL, 56 bytes follow
    "00000200 12000000 312e322e3834302e31303030382e312e3100"  # (0000,0002) UI 1.2.840.10008.1.1
    "00000001 02000000 3000"  # (0000,0100) US 0030H
    "00001001 02000000 0700"  # (0000,0110) US message id 7
    "00000008 02000000 0101"  # (0000,0800) US no data set
)


def _element(element: int, value: bytes, group: int = 0) -> bytes:
    return struct.pack("<HHI", group, element, len(value)) + value


def test_a_command_set_is_written_as_the_standard_lays_it_out() -> None:
    """Implicit VR little endian, ascending, group length first, UID padded with NUL."""
    assert encode_message(CEchoRequest(7, "1.2.840.10008.1.1"), has_data_set=False) == C_ECHO_RQ


def test_a_command_set_is_read_as_the_standard_lays_it_out() -> None:
    """The same bytes, back."""
    assert decode_message(C_ECHO_RQ) == (CEchoRequest(7, "1.2.840.10008.1.1"), False)


@pytest.mark.parametrize(
    ("message", "has_data_set"),
    [
        (CStoreRequest(1, "1.2", "1.2.3"), True),
        (CStoreRequest(65_535, "1.2", "1.2.3", 1, "MOVER", 9), True),
        (CStoreResponse(1, 0xA700, "1.2", "1.2.3", "no room"), False),
        (CStoreResponse(1, 0), False),
        (CEchoResponse(1, 0, "1.2"), False),
    ],
)
def test_every_message_comes_back_as_it_went(message: Message, has_data_set: bool) -> None:
    """Optional fields too, those that are left out as well."""
    assert decode_message(encode_message(message, has_data_set=has_data_set)) == (message, has_data_set)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", r"CommandField \(0000,0100\) is missing"),
        (C_ECHO_RQ[:-1], r"element \(0000,0800\) claims 2 bytes and 1 are left"),
        (C_ECHO_RQ + b"\0", "the command set is cut off at byte 68"),
        (_element(0x0010, b"ab", group=0x0010), r"element \(0010,0010\) does not belong in a command set"),
        (_element(0x0100, b"\x30"), r"CommandField \(0000,0100\) of 1 bytes is no US"),
        (_element(0x0000, b"\x30\0"), r"CommandGroupLength \(0000,0000\) of 2 bytes is no UL"),
        (_element(0x0901, b"\x30\0"), r"OffendingElement \(0000,0901\) of 2 bytes is no AT"),
        (_element(0x1000, b"1" * 66), r"AffectedSOPInstanceUID \(0000,1000\) of 66 bytes is no UI"),
        (_element(0x1000, b"1.\xe9"), r"AffectedSOPInstanceUID \(0000,1000\) of 3 bytes is no UI"),
        (_element(0x0100, b"\1\0") + _element(0x0800, b"\0\0"), r"AffectedSOPClassUID \(0000,0002\) is missing in a C_STORE_RQ"),
        (_element(0x0100, b"\1\0"), r"CommandDataSetType \(0000,0800\) is missing"),
        (_element(0x0100, b"\x99\0") + _element(0x0800, b"\0\0"), r"MessageID \(0000,0110\) is missing"),
    ],
)  # fmt: skip
def test_a_bad_command_set_is_refused_in_words(raw: bytes, words: str) -> None:
    """The element and what is wrong with it."""
    with pytest.raises(RemoteProtocolError, match=words):
        decode_message(raw)


def test_elements_that_are_not_in_the_table_are_skipped() -> None:
    """Retired elements (PS3.7 Annex E.2) still come from old equipment."""
    raw = C_ECHO_RQ + _element(0x5010, b"ab")
    assert decode_message(raw) == (CEchoRequest(7, "1.2.840.10008.1.1"), False)


def test_a_comment_that_is_no_text_ends_no_association() -> None:
    """Words for people are replaced where they are no ASCII, and cut at 64 characters."""
    assert decode_command_set(_element(0x0902, b"\xff" + b"x" * 99)) == {0x0902: "\ufffd" + "x" * 63}


def test_an_unknown_request_is_a_value_and_gets_a_response_of_its_kind() -> None:
    """Unrecognised operation: 0211H, with the command field of its response (PS3.7 Annex C.5)."""
    request = encode_command_set({0x0003: "1.2", 0x0100: 0x0150, 0x0110: 5, 0x0800: 0x0101})
    message, has_data_set = decode_message(request)
    assert message == UnsupportedRequest(0x0150, 5, "1.2")
    assert not has_data_set
    response = encode_unsupported_response(UnsupportedRequest(0x0150, 5, "1.2"), 0x0211)
    assert decode_message(response) == (UnsupportedResponse(0x8150, 5, 0x0211), False)


def test_attribute_tags_are_pairs_of_numbers() -> None:
    """VR AT: group and element, each little endian."""
    raw = encode_command_set({0x0901: (0x00100010, 0x7FE00010)})
    assert raw[12:] == bytes.fromhex("00000109 08000000 10001000 e07f1000")
    assert decode_command_set(raw)[0x0901] == (0x00100010, 0x7FE00010)


@pytest.mark.parametrize(
    "message",
    [
        CStoreRequest(65_536, "1.2", "1.2.3"),
        CStoreRequest(1, "1" * 65, "1.2.3"),
        CStoreRequest(1, "1.2", "1.2.3", move_originator_ae_title="SEVENTEEN-LETTERS"),
        CStoreResponse(1, 0, error_comment="\u00e9"),
        CStoreResponse(1, -1),
    ],
)
def test_a_value_that_does_not_fit_is_our_own_mistake(message: Message) -> None:
    """LocalProtocolError names the element by its keyword."""
    with pytest.raises(LocalProtocolError, match=r"^[A-Z][A-Za-z]+ cannot be "):
        encode_message(message, has_data_set=False)


def test_what_has_no_form_cannot_be_written() -> None:
    """The message table says what can be sent."""
    with pytest.raises(LocalProtocolError, match="no form for a UnsupportedRequest"):
        encode_message(UnsupportedRequest(1, 1), has_data_set=False)
