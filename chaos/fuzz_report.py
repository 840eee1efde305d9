"""What gets the inputs in this process, of storage commitment: the reader of reports."""

from __future__ import annotations

import random

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from chaos.fuzz_mutate import Mutator
from chaos.fuzz_samples import Samples
from chaos.fuzz_targets import require
from dicomrelay.dicom.uids import is_tolerable_uid
from dicomrelay.dimse.commitment import (
    COMMITMENT_TRANSFER_SYNTAXES,
    MAX_REFERENCES,
    CommitmentReport,
    decode_report,
    encode_request,
)
from dicomrelay.errors import MalformedDataSet

_CT = "1.2.840.10008.5.1.4.1.1.2"


class ReportTarget:
    """Data sets of reports, in either transfer syntax."""

    name = "report"

    def __init__(self, _samples: Samples) -> None:
        self._reports = [
            _written(count, failed, undefined=undefined, implicit=implicit)
            for count, failed in ((0, 0), (1, 0), (3, 2), (40, 1))
            for undefined in (False, True)
            for implicit in (False, True)
        ]

    def make(self, chance: random.Random) -> bytes:
        """The transfer syntax in the first byte, a changed report behind it."""
        first = chance.randrange(256)
        return bytes([first]) + Mutator(chance, self._reports).mutate(chance.choice(self._reports))

    def attempt(self, data: bytes) -> bool:
        """Read: UIDs and numbers and no more of them than the bytes can hold; what is committed can be asked for and read."""
        syntax = COMMITMENT_TRANSFER_SYNTAXES[data[0] & 1]
        try:
            report = decode_report(data[1:], syntax)
        except MalformedDataSet:
            return False
        count = len(report.committed) + len(report.failed)
        require(count <= min(MAX_REFERENCES, len(data)), f"{count} instances in {len(data)} bytes")
        require(not report.committed & report.failed.keys(), "an instance is committed and has failed")
        uids = [report.transaction_uid, *report.committed, *report.failed]
        require(all(map(is_tolerable_uid, uids)), "what is no UID was taken for one")
        require(all(0 <= reason <= 0xFFFF for reason in report.failed.values()), "a reason is no US")
        raw = encode_request(report.transaction_uid, [(_CT, uid) for uid in sorted(report.committed)], syntax)
        again = decode_report(raw, syntax)
        require(
            again == CommitmentReport(report.transaction_uid, report.committed),
            f"written and read again, {report!r:.300} is {again!r:.300}",
        )
        return True


def _written(count: int, failed: int, *, undefined: bool, implicit: bool) -> bytes:
    information = Dataset()
    information.TransactionUID = "2.25.340282366920938463463374607431768211455"
    information.RetrieveAETitle = "ARCHIVE"
    information.FailedSOPSequence = Sequence([_item(f"1.2.4.{n}", 0x0112) for n in range(failed)])
    information.ReferencedSOPSequence = Sequence([_item(f"1.2.3.{n}") for n in range(count)])
    for element in information:
        if undefined and element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, implicit
    write_dataset(buffer, information)
    return bytes(buffer.getvalue())


def _item(uid: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = _CT
    item.ReferencedSOPInstanceUID = uid
    if reason is not None:
        item.FailureReason = reason
    return item
