"""N-CREATE, N-SET and N-GET as bytes: the elements that PS3.7 Section 10.3 gives them, and pynetdicom's own encoding of them."""

from __future__ import annotations

from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pynetdicom.dimse_messages import N_CREATE_RQ, N_CREATE_RSP, N_GET_RQ, N_SET_RQ, N_SET_RSP
from pynetdicom.dimse_primitives import N_CREATE, N_GET, N_SET
from pynetdicom.dsutils import encode

from dicomrelay.dimse.codec import decode_message, encode_message, encode_unsupported_response
from dicomrelay.dimse.command_set import decode_command_set
from dicomrelay.dimse.messages import (
    NCreateRequest,
    NCreateResponse,
    NGetRequest,
    NGetResponse,
    NSetRequest,
    NSetResponse,
    UnsupportedResponse,
)

MPPS = "1.2.840.10008.3.1.2.3.3"


@pytest.mark.parametrize(
    ("message", "has_data_set"),
    [
        (NCreateRequest(1, MPPS, "1.2.3"), True),
        (NCreateRequest(1, MPPS), True),
        (NCreateResponse(1, 0, MPPS, "1.2.3"), False),
        (NSetRequest(2, MPPS, "1.2.3"), True),
        (NSetResponse(2, 0x0110, MPPS, "1.2.3", "may no longer be updated", 0xA710), False),
        (NSetResponse(2, 0x0120, MPPS, "1.2.3", "missing", None, (0x00400250,)), False),
        (NGetRequest(3, MPPS, "1.2.3", (0x00400252, 0x00400340)), False),
        (NGetResponse(3, 0, MPPS, "1.2.3"), True),
    ],
)
def test_what_is_written_is_read_again(message: NCreateRequest, has_data_set: bool) -> None:
    assert decode_message(encode_message(message, has_data_set=has_data_set)) == (message, has_data_set)


def test_the_elements_are_those_of_the_standard() -> None:
    """N-CREATE names the Affected, N-SET the Requested SOP class and instance (PS3.7 Tables 10.3-5 and 10.3-11)."""
    created = decode_command_set(encode_message(NCreateRequest(1, MPPS, "1.2.3"), has_data_set=True))
    assert {element: created[element] for element in (0x0002, 0x0100, 0x1000)} == {
        0x0002: MPPS,
        0x0100: 0x0140,
        0x1000: "1.2.3",
    }
    changed = decode_command_set(encode_message(NSetRequest(1, MPPS, "1.2.3"), has_data_set=True))
    assert {element: changed[element] for element in (0x0003, 0x0100, 0x1001)} == {
        0x0003: MPPS,
        0x0100: 0x0120,
        0x1001: "1.2.3",
    }


def _command(message: object, primitive: object) -> bytes:
    """The command set as pynetdicom writes it."""
    message.primitive_to_message(primitive)  # type: ignore[attr-defined]
    encoded = encode(message.command_set, True, True)  # type: ignore[attr-defined]
    assert encoded is not None
    return encoded


def test_pynetdicom_says_the_same() -> None:
    attributes = Dataset()
    attributes.PatientID = "1"
    created = N_CREATE()
    created.MessageID, created.AffectedSOPClassUID, created.AffectedSOPInstanceUID = 7, MPPS, "1.2.3"
    created.AttributeList = BytesIO(encode(attributes, False, True) or b"")
    assert decode_message(_command(N_CREATE_RQ(), created)) == (NCreateRequest(7, MPPS, "1.2.3"), True)
    changed = N_SET()
    changed.MessageID, changed.RequestedSOPClassUID, changed.RequestedSOPInstanceUID = 8, MPPS, "1.2.3"
    changed.ModificationList = BytesIO(encode(attributes, False, True) or b"")
    assert decode_message(_command(N_SET_RQ(), changed)) == (NSetRequest(8, MPPS, "1.2.3"), True)
    wanted = N_GET()
    wanted.MessageID, wanted.RequestedSOPClassUID, wanted.RequestedSOPInstanceUID = 9, MPPS, "1.2.3"
    wanted.AttributeIdentifierList = [0x00400252, 0x00400340]
    assert decode_message(_command(N_GET_RQ(), wanted)) == (
        NGetRequest(9, MPPS, "1.2.3", (0x00400252, 0x00400340)),
        False,
    )
    answered = N_CREATE()
    answered.MessageIDBeingRespondedTo, answered.AffectedSOPClassUID, answered.Status = 7, MPPS, 0x0111
    assert decode_message(_command(N_CREATE_RSP(), answered)) == (NCreateResponse(7, 0x0111, MPPS), False)
    refused = N_SET()
    refused.MessageIDBeingRespondedTo, refused.Status, refused.ErrorID = 8, 0x0110, 0xA710
    refused.ErrorComment = "may no longer be updated"
    assert decode_message(_command(N_SET_RSP(), refused)) == (
        NSetResponse(8, 0x0110, error_comment="may no longer be updated", error_id=0xA710),
        False,
    )


def test_one_that_nobody_serves_gets_a_response_of_its_kind() -> None:
    """Unrecognised operation (PS3.7 Annex C.5)."""
    found = decode_message(encode_unsupported_response(NSetRequest(5, MPPS, "1.2.3"), 0x0211))
    assert found == (NSetResponse(5, 0x0211, MPPS), False)
    assert not isinstance(found[0], UnsupportedResponse)
