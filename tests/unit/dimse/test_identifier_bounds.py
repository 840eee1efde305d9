"""Before an identifier is decoded, and after: how many elements, and of which VRs."""

from __future__ import annotations

import struct
import time

import pytest
from pydicom.dataset import Dataset

from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.dimse.identifier import decode_identifier, encode_identifier
from dicomrelay.dimse.identifier_bounds import (
    MAX_ELEMENTS,
    TooManyElements,
    foreign_vr,
    require_few_elements,
)

BOTH = pytest.mark.parametrize("syntax", [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN])


def element(tag: int, vr: bytes, value: bytes, *, undefined: bool = False) -> bytes:
    """Explicit VR little endian."""
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    if vr in {b"SQ", b"UN", b"UT", b"OB"}:
        return head + struct.pack("<HI", 0, 0xFFFFFFFF if undefined else len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def implicit(tag: int, value: bytes) -> bytes:
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def item(value: bytes, *, undefined: bool = False) -> bytes:
    end = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) if undefined else b""
    return struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF if undefined else len(value)) + value + end


LEVEL = element(0x00080052, b"CS", b"STUDY ")
CODES = 0x00081032  # Procedure Code Sequence
END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
MANY = b"".join(element(0x00090000 + number, b"LO", b"") for number in range(0x10, 60_000))
MANY_IMPLICIT = b"".join(implicit(0x00090000 + number, b"") for number in range(0x10, 60_000))


@pytest.mark.parametrize(
    ("raw", "syntax"),
    [
        (LEVEL + MANY, EXPLICIT_VR_LITTLE_ENDIAN),
        (LEVEL + element(CODES, b"SQ", item(b"") * 60_000), EXPLICIT_VR_LITTLE_ENDIAN),
        (LEVEL + element(CODES, b"SQ", item(MANY)), EXPLICIT_VR_LITTLE_ENDIAN),
        (LEVEL + element(CODES, b"SQ", item(MANY, undefined=True) + END, undefined=True), EXPLICIT_VR_LITTLE_ENDIAN),
        (LEVEL + element(CODES, b"UN", item(MANY_IMPLICIT)), EXPLICIT_VR_LITTLE_ENDIAN),
        (LEVEL + element(CODES, b"UN", item(MANY_IMPLICIT) + END, undefined=True), EXPLICIT_VR_LITTLE_ENDIAN),
        (MANY_IMPLICIT, IMPLICIT_VR_LITTLE_ENDIAN),
        (implicit(CODES, item(b"") * 60_000), IMPLICIT_VR_LITTLE_ENDIAN),
        (implicit(CODES, item(MANY_IMPLICIT)), IMPLICIT_VR_LITTLE_ENDIAN),
    ],
)  # fmt: skip
def test_too_many_elements_cost_next_to_nothing(raw: bytes, syntax: str) -> None:
    """Wherever they stand; whoever decodes them is busy for seconds."""
    began = time.process_time()
    with pytest.raises(TooManyElements, match="more than 5000 elements"):
        decode_identifier(raw, syntax, max_elements=MAX_ELEMENTS)
    assert time.process_time() - began < 0.5


@BOTH
def test_what_the_bound_allows_is_decoded(syntax: str) -> None:
    """A long value is one element, and so is a list of UIDs."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = [f"1.2.{number}" for number in range(5000)]
    identifier.ProcedureCodeSequence = [Dataset() for _ in range(100)]
    assert len(decode_identifier(encode_identifier(identifier, syntax), syntax)) == 3
    raw = encode_identifier(identifier, syntax)
    require_few_elements(raw, syntax, 103)
    with pytest.raises(TooManyElements):
        require_few_elements(raw, syntax, 102)
    assert MAX_ELEMENTS > 1000


@pytest.mark.parametrize("length", range(60))
def test_an_end_anywhere_is_no_fault(length: int) -> None:
    """Whether it is a whole data set is asked elsewhere."""
    raw = LEVEL + element(CODES, b"SQ", item(LEVEL)) + LEVEL
    require_few_elements(raw[:length], EXPLICIT_VR_LITTLE_ENDIAN)


@pytest.mark.parametrize(
    ("raw", "tag"),
    [
        (element(0x00101010, b"SQ", item(LEVEL)), 0x00101010),  # Patient's Age
        (element(0x00080020, b"SQ", b""), 0x00080020),
        (element(0x00080020, b"OB", b"20260101"), 0x00080020),
        (element(0x0020000D, b"FD", b"12345678"), 0x0020000D),
        (element(0x00100010, b"LO", b"A*"), 0x00100010),  # a name is matched by its groups
        (element(CODES, b"LO", b"X*"), CODES),
        (element(CODES, b"SQ", item(element(0x00080102, b"US", b"\1\0"))), 0x00080102),
        (element(0x00080050, b"LO", b"A*"), None),  # Accession Number is SH
        (element(0x00281101, b"US", b"\1\0" * 3), None),  # US or SS
        (element(0x00281101, b"SS", b"\1\0" * 3), None),
        (element(0x00080020, b"UN", b"20260101"), None),
        (element(0x00090010, b"SQ", b""), None),  # private
        (element(0x0008FFFF, b"SQ", b""), None),  # of no dictionary
    ],
)
def test_an_element_of_another_vr_is_named(raw: bytes, tag: int | None) -> None:
    """What may stand for the attribute's own is passed."""
    found = decode_identifier(raw, EXPLICIT_VR_LITTLE_ENDIAN)
    assert foreign_vr(found) == tag
