"""PDUs as bytes, each byte accounted for, against PS3.8 Section 9.3 and PS3.7 Annex D.3.3."""

from __future__ import annotations

import contextlib
import re

import pytest

from dicomrelay.errors import RemoteProtocolError
from dicomrelay.ul.pdu import (
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    AsynchronousOperations,
    CommonExtendedNegotiation,
    ContextDecision,
    ExtendedNegotiation,
    PDataTf,
    Pdu,
    Pdv,
    ProposedContext,
    ReleaseRequest,
    ReleaseResponse,
    RoleSelection,
    UserIdentity,
    UserInformation,
)
from dicomrelay.ul.reader import DECODERS
from dicomrelay.ul.writer import encode, p_data_header


def _bytes(text: str) -> bytes:
    """Hex with comments, and quoted ASCII."""
    out = b""
    for line in text.splitlines():
        for quoted, pair in re.findall(r'"([^"]*)"|([0-9a-f]{2})', line.split("#")[0]):
            out += quoted.encode() if quoted else bytes.fromhex(pair)
    return out


ASSOCIATE_RQ = _bytes("""
01 00  00 00 01 48                      # A-ASSOCIATE-RQ, 328 bytes follow
00 01  00 00                            # protocol version 1
"ANY-SCP         "                      # called AE title
"ECHOSCU         "                      # calling AE title
00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
10 00  00 15  "1.2.840.10008.3.1.1.1"   # application context
20 00  00 2e                            # presentation context
  01 00 00 00                           #   id 1
  30 00  00 11  "1.2.840.10008.1.1"     #   verification
  40 00  00 11  "1.2.840.10008.1.2"     #   implicit VR little endian
20 00  00 4d                            # presentation context
  ff 00 00 00                           #   id 255
  30 00  00 19  "1.2.840.10008.5.1.4.1.1.2"
  40 00  00 11  "1.2.840.10008.1.2"
  40 00  00 13  "1.2.840.10008.1.2.1"
50 00  00 64                            # user information
  51 00  00 04  00 00 40 00             #   maximum length 16384
  52 00  00 05  "1.2.3"                 #   implementation class UID
  53 00  00 04  00 05 00 00             #   asynchronous operations: 5 invoked, any performed
  54 00  00 09  00 05 "1.2.4" 01 00     #   role selection: SCU yes, SCP no
  55 00  00 04  "NAME"                  #   implementation version name
  56 00  00 09  00 05 "1.2.4" 02 01     #   extended negotiation
  57 00  00 12  00 05 "1.2.4" 00 03 "1.2" 00 04 00 02 "19"   # common extended, one related class
  58 00  00 0f  02 01 00 05 "alice" 00 04 "s3cr"             # user name and passcode, response wanted
""")
REQUEST = AssociateRequest(
    called_ae_title="ANY-SCP",
    calling_ae_title="ECHOSCU",
    application_context="1.2.840.10008.3.1.1.1",
    contexts=(
        ProposedContext(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),
        ProposedContext(255, "1.2.840.10008.5.1.4.1.1.2", ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")),
    ),
    user_information=UserInformation(
        maximum_length=16_384,
        implementation_class_uid="1.2.3",
        implementation_version_name="NAME",
        asynchronous_operations=AsynchronousOperations(5, 0),
        roles=(RoleSelection("1.2.4", scu=True, scp=False),),
        extended=(ExtendedNegotiation("1.2.4", b"\x02\x01"),),
        common_extended=(CommonExtendedNegotiation("1.2.4", "1.2", ("19",)),),
        user_identity=UserIdentity(2, True, b"alice", b"s3cr"),
    ),
)
ASSOCIATE_AC = _bytes("""
02 00  00 00 00 a3
00 01  00 00
"ANY-SCP         " "ECHOSCU         "
00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
10 00  00 15  "1.2.840.10008.3.1.1.1"
21 00  00 19  01 00 00 00  40 00  00 11  "1.2.840.10008.1.2"   # id 1 accepted
21 00  00 08  03 00 03 00  40 00  00 00                        # id 3, abstract syntax not supported
50 00  00 19
  51 00  00 04  00 00 00 00                                    # any length
  52 00  00 05  "1.2.3"
  59 00  00 04  00 02 "ok"                                     # user identity, server response
""")
ACCEPT = AssociateAccept(
    "ANY-SCP",
    "ECHOSCU",
    "1.2.840.10008.3.1.1.1",
    (ContextDecision(1, 0, "1.2.840.10008.1.2"), ContextDecision(3, 3)),
    UserInformation(implementation_class_uid="1.2.3", user_identity_response=b"ok"),
)
ASSOCIATE_AC_NEGOTIATED = _bytes("""
02 00  00 00 00 c3
00 01  00 00
"ANY-SCP         " "ECHOSCU         "
00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
10 00  00 15  "1.2.840.10008.3.1.1.1"
21 00  00 19  01 00 00 00  40 00  00 11  "1.2.840.10008.1.2"
50 00  00 45
  51 00  00 04  00 04 00 00                                    # maximum length 262144
  52 00  00 05  "1.2.3"
  53 00  00 04  00 20 00 01                                    # 32 they may invoke, 1 we may
  54 00  00 09  00 05 "1.2.4" 01 00                            # role selection: SCU granted, SCP not
  55 00  00 04  "NAME"
  56 00  00 0d  00 05 "1.2.4" 02 00 03 00 00 00                # level 2, signatures 3, no coercion
  59 00  00 02  00 00                                          # user identity holds; nothing more to say
""")
ACCEPT_NEGOTIATED = AssociateAccept(
    "ANY-SCP",
    "ECHOSCU",
    "1.2.840.10008.3.1.1.1",
    (ContextDecision(1, 0, "1.2.840.10008.1.2"),),
    UserInformation(
        maximum_length=262_144,
        implementation_class_uid="1.2.3",
        implementation_version_name="NAME",
        asynchronous_operations=AsynchronousOperations(32, 1),
        roles=(RoleSelection("1.2.4", scu=True, scp=False),),
        extended=(ExtendedNegotiation("1.2.4", b"\x02\x00\x03\x00\x00\x00"),),
        user_identity_response=b"",
    ),
)
GOLDEN: dict[str, tuple[bytes, Pdu]] = {
    "A-ASSOCIATE-AC with every answer": (ASSOCIATE_AC_NEGOTIATED, ACCEPT_NEGOTIATED),
    "A-ASSOCIATE-RQ": (ASSOCIATE_RQ, REQUEST),
    "A-ASSOCIATE-AC": (ASSOCIATE_AC, ACCEPT),
    "A-ASSOCIATE-RJ": (_bytes("03 00  00 00 00 04  00 02 03 02"), AssociateReject(2, 3, 2)),
    "P-DATA-TF": (
        _bytes("""
        04 00  00 00 00 12
        00 00 00 06  01 03  "abcd"      # 4 + 2 bytes, context 1, command, last
        00 00 00 04  01 00  "ef"        # 2 + 2 bytes, context 1, data set, more to come
        """),
        PDataTf((Pdv(1, True, True, b"abcd"), Pdv(1, False, False, b"ef"))),
    ),
    "A-RELEASE-RQ": (_bytes("05 00  00 00 00 04  00 00 00 00"), ReleaseRequest()),
    "A-RELEASE-RP": (_bytes("06 00  00 00 00 04  00 00 00 00"), ReleaseResponse()),
    "A-ABORT": (_bytes("07 00  00 00 00 04  00 00 02 06"), Abort(2, 6)),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_pdu_is_written_as_the_standard_lays_it_out(name: str) -> None:
    """Every field in its place, lengths exact."""
    raw, value = GOLDEN[name]
    assert raw == encode(value)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_pdu_is_read_as_the_standard_lays_it_out(name: str) -> None:
    """The same bytes make the same value."""
    raw, value = GOLDEN[name]
    assert len(raw) == 6 + int.from_bytes(raw[2:6], "big")
    assert value == DECODERS[raw[0]](memoryview(raw)[6:])


@pytest.mark.parametrize("name", GOLDEN)
def test_a_pdu_that_is_cut_off_anywhere_is_refused(name: str) -> None:
    """No prefix of a body is read as something it is not, but where an item ends and the rest is optional."""
    raw, value = GOLDEN[name]
    body = memoryview(raw)[6:]
    for length in range(len(body)):
        with contextlib.suppress(RemoteProtocolError):
            assert value != DECODERS[raw[0]](body[:length])


def test_unknown_items_and_sub_items_are_skipped() -> None:
    """PS3.8 Section 9.3.1 and Annex D.2: they are ignored, and the association goes on."""
    item, sub_item = b"\x77\x00\x00\x02zz", b"\x5e\x00\x00\x03yyy"
    # The user information item begins 104 bytes before the end: header 4 and value 100.
    head, user = ASSOCIATE_RQ[6:-104], ASSOCIATE_RQ[-104:]
    user = user[:2] + (100 + len(sub_item)).to_bytes(2, "big") + sub_item + user[4:]
    assert DECODERS[1](memoryview(head + item + user)) == REQUEST


def test_a_secret_of_the_user_identity_is_in_no_repr() -> None:
    """What a log or a traceback prints of a request shows no name, ticket or passcode."""
    assert "alice" not in repr(REQUEST)
    assert "s3cr" not in repr(REQUEST)


def test_padding_of_uids_and_titles_is_taken_off() -> None:
    """Some equipment pads UIDs to even length with NUL, and titles with NUL in place of spaces."""
    padded = ASSOCIATE_RQ.replace(b"ECHOSCU         ", b"ECHOSCU\0\0\0\0\0\0\0\0\0")
    padded = padded.replace(b"\x52\x00\x00\x051.2.3\x53", b"\x52\x00\x00\x061.2.3\x00\x53")
    padded = padded.replace(b"\x50\x00\x00\x64", b"\x50\x00\x00\x65")
    assert DECODERS[1](memoryview(padded)[6:]) == REQUEST


def test_the_header_before_data_from_elsewhere_is_that_of_a_pdu_with_one_pdv() -> None:
    """What the writer makes of a whole PDU begins with the same twelve bytes."""
    whole = encode(PDataTf((Pdv(5, False, True, bytes(100)),)))
    assert whole[:12] == p_data_header(5, 100, is_command=False, is_last=True)
