"""A request for storage commitment from bytes, and a report to bytes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset

from dicomrelay.dicom.commitment import (
    STORAGE_COMMITMENT_PUSH_MODEL,
    STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE,
)
from dicomrelay.dimse.commitment import (
    COMMITMENT_TRANSFER_SYNTAXES,
    MAX_REFERENCES,
    decode_report,
    encode_request,
)
from dicomrelay.dimse.commitment_request import (
    ActionRefused,
    CommitmentResult,
    encode_report,
    read_action,
)
from dicomrelay.dimse.messages import NActionRequest

CT, EXPLICIT, IMPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
REFERENCES = ((CT, "1.2.3"), (CT, "1.2.4"), ("1.2.840.10008.5.1.4.1.1.4", "1.2.5"))
REQUEST = NActionRequest(1, STORAGE_COMMITMENT_PUSH_MODEL, STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE, 1)


@pytest.mark.parametrize("syntax", COMMITMENT_TRANSFER_SYNTAXES)
def test_what_we_ask_is_what_we_read(syntax: str) -> None:
    """Each instance once, in the order in which it was named."""
    found = read_action(REQUEST, encode_request("2.25.1", [*REFERENCES, REFERENCES[0]], syntax), syntax)
    assert (found.transaction_uid, found.references) == ("2.25.1", REFERENCES)


@pytest.mark.parametrize("syntax", COMMITMENT_TRANSFER_SYNTAXES)
def test_a_report_is_read_by_others_as_it_was_meant(syntax: str) -> None:
    """By our own reader and by pydicom: committed, failed, why, and where it can be retrieved."""
    result = CommitmentResult(REFERENCES[:2], ((*REFERENCES[2], 0x0112),))
    raw = encode_report("2.25.1", result, syntax, retrieve_ae_title="RELAY")
    found = decode_report(raw, syntax)
    assert (found.transaction_uid, found.committed, found.failed) == (
        "2.25.1",
        {"1.2.3", "1.2.4"},
        {"1.2.5": 0x0112},
    )
    ds = read_dataset(DicomBytesIO(raw), is_implicit_VR=syntax == IMPLICIT, is_little_endian=True)
    assert ds.RetrieveAETitle == "RELAY"
    assert [item.ReferencedSOPClassUID for item in ds.ReferencedSOPSequence] == [CT, CT]
    assert [item.FailureReason for item in ds.FailedSOPSequence] == [0x0112]
    assert (result.event_type, CommitmentResult(REFERENCES).event_type) == (2, 1)


def test_a_report_without_one_of_the_two() -> None:
    """A sequence without items is left out (type 1C), and nothing is retrievable of what failed."""
    all_failed = CommitmentResult((), tuple((*each, 0x0110) for each in REFERENCES))
    ds = read_dataset(
        DicomBytesIO(encode_report("2.25.1", all_failed, EXPLICIT, retrieve_ae_title="RELAY")),
        is_implicit_VR=False,
        is_little_endian=True,
    )
    assert "ReferencedSOPSequence" not in ds
    assert "RetrieveAETitle" not in ds
    assert len(ds.FailedSOPSequence) == 3
    assert b"\x99\x11" in encode_report("2.25.1", CommitmentResult(REFERENCES), EXPLICIT)
    assert b"\x98\x11" not in encode_report("2.25.1", CommitmentResult(REFERENCES), EXPLICIT)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (NActionRequest(1, "1.2.3", STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE, 1), 0x0118),
        (NActionRequest(1, STORAGE_COMMITMENT_PUSH_MODEL, "1.2.3", 1), 0x0112),
        (NActionRequest(1, STORAGE_COMMITMENT_PUSH_MODEL), 0x0112),
        (NActionRequest(1, STORAGE_COMMITMENT_PUSH_MODEL, STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE, 2), 0x0123),
        (NActionRequest(1, STORAGE_COMMITMENT_PUSH_MODEL, STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE), 0x0123),
    ],
)
def test_another_request_than_for_commitment(request_: NActionRequest, status: int) -> None:
    """SOP class, SOP instance and action, each with its status (PS3.7 Section 10.1.4.1.10)."""
    with pytest.raises(ActionRefused) as refused:
        read_action(request_, encode_request("2.25.1", REFERENCES, EXPLICIT), EXPLICIT)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("information", "status"),
    [
        (None, 0x0213),
        (b"", 0x0115),
        (b"\x08\x00\x95\x11", 0x0115),
        (encode_request("2.25.1", [], EXPLICIT), 0x0115),
        (encode_request("", REFERENCES, EXPLICIT), 0x0115),
        (encode_request("2.25.x", REFERENCES, EXPLICIT), 0x0115),
        (encode_request("2.25.1", [("", "1.2.3")], EXPLICIT), 0x0115),
        (encode_request("2.25.1", [(CT, "")], EXPLICIT), 0x0115),
        (encode_request("2.25.1", [(CT, "1.2.3"), ("1.2.9", "1.2.3")], EXPLICIT), 0x0115),
        (encode_request("2.25.1", [(CT, "1.2.3")] * (MAX_REFERENCES + 1), EXPLICIT), 0x0213),
    ],
)
def test_action_information_that_is_not_taken(information: bytes | None, status: int) -> None:
    """Missing, cut off, without what it must have, ambiguous, or too much; the words quote nothing."""
    with pytest.raises(ActionRefused) as refused:
        read_action(REQUEST, information, EXPLICIT)
    assert refused.value.status == status
    assert len(str(refused.value)) <= 64
    assert "1.2.3" not in str(refused.value)


@given(st.binary(max_size=400), st.sampled_from(COMMITMENT_TRANSFER_SYNTAXES))
def test_any_bytes_are_read_or_refused(raw: bytes, syntax: str) -> None:
    """Nothing else than ActionRefused."""
    with suppress(ActionRefused):
        read_action(REQUEST, raw, syntax)
