"""Requests and reports of storage commitment as bytes; what is read of a report, and what it may cost."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from dicomrelay.dicom.commitment import FAILURES, Remedy, ReportStatus, failure, new_transaction_uid
from dicomrelay.dicom.uids import is_valid_uid
from dicomrelay.dimse import commitment
from dicomrelay.dimse.commitment import (
    COMMITMENT_TRANSFER_SYNTAXES,
    MAX_ELEMENTS,
    MAX_REFERENCES,
    CommitmentReport,
    ReportRefused,
    TooMany,
    decode_report,
    encode_request,
    read_report,
)
from dicomrelay.dimse.messages import NEventReportRequest
from dicomrelay.errors import MalformedDataSet

EXPLICIT, IMPLICIT = COMMITMENT_TRANSFER_SYNTAXES
CT = "1.2.840.10008.5.1.4.1.1.2"
PUSH, WELL_KNOWN = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
both = pytest.mark.parametrize("syntax", COMMITMENT_TRANSFER_SYNTAXES)


def written(data_set: Dataset, syntax: str, *, undefined: bool = False) -> bytes:
    """By pydicom, with sequences and items of defined or undefined length."""
    if undefined:
        for element in data_set:
            if element.VR == "SQ":
                element.is_undefined_length = True
                for item in element.value:
                    item.is_undefined_length_sequence_item = True
    buffer = DicomBytesIO()
    buffer.is_little_endian = True
    buffer.is_implicit_VR = syntax == IMPLICIT
    write_dataset(buffer, data_set)
    return bytes(buffer.getvalue())


def item(uid: str, reason: int | None = None) -> Dataset:
    made = Dataset()
    made.ReferencedSOPClassUID = CT
    made.ReferencedSOPInstanceUID = uid
    if reason is not None:
        made.FailureReason = reason
    return made


def report(committed: list[str], failed: dict[str, int | None], transaction: str = "2.25.1") -> Dataset:
    data_set = Dataset()
    data_set.TransactionUID = transaction
    data_set.ReferencedSOPSequence = Sequence([item(uid) for uid in committed])
    if failed:
        data_set.FailedSOPSequence = Sequence([item(uid, why) for uid, why in failed.items()])
    return data_set


@both
def test_a_request_is_what_pydicom_would_write(syntax: str) -> None:
    raw = encode_request("2.25.77", [(CT, "1.2.3"), (CT, "1.2.34")], syntax)
    assert raw == written(report(["1.2.3", "1.2.34"], {}, "2.25.77"), syntax)


def test_the_bytes_of_a_request() -> None:
    """PS3.4 Table J.3-1 in explicit VR little endian."""
    assert encode_request("1.2", [("1.3", "1.4.55")], EXPLICIT) == bytes.fromhex(
        "08009511 5549 0400 312e3200"  # (0008,1195) UI
        "08009911 5351 0000 22000000"  # (0008,1199) SQ
        "feff00e0 1a000000"  # one item
        "08005011 5549 0400 312e3300"  # (0008,1150) UI
        "08005511 5549 0600 312e342e3535"  # (0008,1155) UI
    )


@both
@pytest.mark.parametrize("undefined", [False, True])
def test_a_report_is_read_in_every_way_it_may_be_laid_out(syntax: str, undefined: bool) -> None:
    data_set = report(["1.2.3", "1.2.34"], {"1.2.4": 0x0112, "1.2.5": 0x0213})
    data_set.RetrieveAETitle = "ARCHIVE"
    for each in data_set.ReferencedSOPSequence:
        each.RetrieveAETitle = "ARCHIVE"
        each.StorageMediaFileSetID = "DISK"
    raw = written(data_set, syntax, undefined=undefined)
    assert decode_report(raw, syntax) == CommitmentReport(
        "2.25.1", frozenset({"1.2.3", "1.2.34"}), {"1.2.4": 0x0112, "1.2.5": 0x0213}
    )


def test_a_report_in_another_syntax_than_agreed_is_read_all_the_same() -> None:
    """As data sets are: the first element is believed more."""
    assert decode_report(written(report(["1.2"], {}), IMPLICIT), EXPLICIT).committed == {"1.2"}


def test_an_instance_in_both_lists_has_failed() -> None:
    found = decode_report(written(report(["1.2.3", "1.2.4"], {"1.2.4": 0x0110}), EXPLICIT), EXPLICIT)
    assert (found.committed, found.failed) == (frozenset({"1.2.3"}), {"1.2.4": 0x0110})


def test_a_failure_without_a_reason_is_a_failure() -> None:
    assert decode_report(written(report([], {"1.2": None}), EXPLICIT), EXPLICIT).failed == {"1.2": 0x0110}


def test_references_without_a_uid_or_with_none_are_passed_over() -> None:
    data_set = report(["1.2"], {})
    data_set.ReferencedSOPSequence.append(Dataset())
    data_set.ReferencedSOPSequence.append(item("../etc"))
    assert decode_report(written(data_set, EXPLICIT), EXPLICIT).committed == {"1.2"}


def test_sequences_that_nobody_wants_are_passed_over() -> None:
    """Their references are none of ours."""
    data_set = report(["1.2"], {})
    other = Dataset()
    other.ReferencedSOPSequence = Sequence([item("9.9")])
    data_set.ReferencedPerformedProcedureStepSequence = Sequence([other])
    for undefined in (False, True):
        raw = written(data_set, EXPLICIT, undefined=undefined)
        assert decode_report(raw, EXPLICIT).committed == {"1.2"}


@pytest.mark.parametrize("transaction", [None, "", "1..2", "x"])
def test_without_a_transaction_uid_it_is_no_report(transaction: str | None) -> None:
    data_set = report(["1.2"], {})
    if transaction is None:
        del data_set.TransactionUID
    else:
        data_set["TransactionUID"]._value = transaction
    with pytest.raises(MalformedDataSet, match=r"Transaction UID \(0008,1195\) is missing or is no UID"):
        decode_report(written(data_set, EXPLICIT), EXPLICIT)


@both
def test_every_cut_is_refused_or_says_less(syntax: str) -> None:
    """Nothing is made up from the rest of a value."""
    raw = written(report(["1.2.3"], {"1.2.4": 0x0112}), syntax)
    for end in range(len(raw)):
        try:
            found = decode_report(raw[:end], syntax)
        except MalformedDataSet:
            continue
        assert found.committed <= {"1.2.3"}
        assert found.failed.items() <= {("1.2.4", 0x0112)}


def test_more_instances_than_a_transfer_can_have_are_refused() -> None:
    empty = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    body = empty * (MAX_REFERENCES + 1)
    raw = struct.pack("<HH2sHI", 0x0008, 0x1199, b"SQ", 0, len(body)) + body
    with pytest.raises(TooMany, match="more than 20000 instances"):
        decode_report(raw, EXPLICIT)


def test_more_elements_than_a_report_can_have_are_refused() -> None:
    raw = struct.pack("<HH2sH", 0x0009, 0x0010, b"LO", 0) * (MAX_ELEMENTS + 1)
    with pytest.raises(TooMany, match="more than 200000 elements"):
        decode_report(raw, EXPLICIT)


def test_a_ladder_of_sequences_is_refused_before_it_is_climbed() -> None:
    raw = struct.pack("<HHI", 0x0009, 0x1001, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    with pytest.raises(TooMany, match="more than 4 deep"):
        decode_report(raw * 10_000, IMPLICIT)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(COMMITMENT_TRANSFER_SYNTAXES), st.data())
def test_whatever_comes_is_a_report_or_is_refused(noise: bytes, syntax: str, data: st.DataObject) -> None:
    """No other error, and nothing but UIDs and reasons."""
    raw = bytearray(written(report(["1.2.3"], {"1.2.4": 0x0112}), syntax))
    at = data.draw(st.integers(0, len(raw)))
    raw[at : at + data.draw(st.integers(0, 20))] = noise
    try:
        found = decode_report(bytes(raw), syntax)
    except MalformedDataSet:
        return
    assert all(set(uid) <= set("0123456789.") for uid in (*found.committed, *found.failed))
    assert all(0 <= reason <= 0xFFFF for reason in found.failed.values())


GOOD = NEventReportRequest(1, PUSH, WELL_KNOWN, 1)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (NEventReportRequest(1, "1.2.3", WELL_KNOWN, 1), ReportStatus.NO_SUCH_SOP_CLASS),
        (NEventReportRequest(1, PUSH, "1.2.3", 1), ReportStatus.NO_SUCH_SOP_INSTANCE),
        (NEventReportRequest(1, PUSH, "", 1), ReportStatus.NO_SUCH_SOP_INSTANCE),
        (NEventReportRequest(1, PUSH, WELL_KNOWN, 3), ReportStatus.NO_SUCH_EVENT_TYPE),
        (NEventReportRequest(1, PUSH, WELL_KNOWN), ReportStatus.NO_SUCH_EVENT_TYPE),
    ],
)
def test_a_report_of_something_else_is_refused_with_its_status(
    request_: NEventReportRequest, status: ReportStatus
) -> None:
    raw = written(report(["1.2"], {}), EXPLICIT)
    with pytest.raises(ReportRefused) as refused:
        read_report(request_, raw, EXPLICIT)
    assert refused.value.status is status


def test_a_report_that_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ReportRefused) as refused:
        read_report(GOOD, b"", EXPLICIT)
    assert refused.value.status is ReportStatus.PROCESSING_FAILURE
    monkeypatch.setattr(commitment, "MAX_REFERENCES", 1)
    with pytest.raises(ReportRefused) as refused:
        read_report(GOOD, written(report(["1.2", "1.3"], {}), EXPLICIT), EXPLICIT)
    assert refused.value.status is ReportStatus.RESOURCE_LIMITATION


def test_what_a_failure_reason_asks_for() -> None:
    """PS3.3 Section C.14.1.1; what is not in it is no reason to send everything again."""
    assert {code: row.remedy for code, row in FAILURES.items()} == {
        0x0110: Remedy.ASK_AGAIN,
        0x0112: Remedy.SEND_AGAIN,
        0x0119: Remedy.ATTENTION,
        0x0122: Remedy.ATTENTION,
        0x0131: Remedy.ASK_AGAIN,
        0x0213: Remedy.ASK_AGAIN,
    }
    assert all(bool(row.advice) == (row.remedy is Remedy.ATTENTION) for row in FAILURES.values())
    assert (failure(0xABCD).remedy, failure(0xABCD).name) == (Remedy.ASK_AGAIN, "failure reason 0xABCD")


def test_transaction_uids_are_uids_and_differ() -> None:
    made = {new_transaction_uid() for _ in range(100)}
    assert len(made) == 100
    assert all(is_valid_uid(uid) for uid in made)
