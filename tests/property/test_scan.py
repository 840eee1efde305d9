"""The header scan against any bytes, any cutting, and pydicom."""

from __future__ import annotations

import io
import warnings

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomrelay.dicom.part10 import HEAD_BYTES, parse_file_meta
from dicomrelay.dicom.scan import Header, HeaderScanner, ScanLimits
from dicomrelay.errors import DataSetError, MalformedDataSet
from tests.support.data_sets import BIG_ENDIAN, DEFLATED, ENCODERS, EXPLICIT, IMPLICIT, UNDEFINED, real_files

SYNTAXES = st.sampled_from([IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED])
PLAIN = st.sampled_from([IMPLICIT, EXPLICIT, BIG_ENDIAN])
LIMITS = ScanLimits(max_bytes=1 << 20, max_elements=1000, max_depth=16)
UIDS = st.from_regex(r"[1-9][0-9]{0,8}(\.(0|[1-9][0-9]{0,8})){1,5}", fullmatch=True)


def scan(syntax: str, pieces: list[bytes], *, whole: bool) -> Header | str:
    """The header, or "malformed"."""
    scanner = HeaderScanner(syntax, whole=whole, limits=LIMITS)
    try:
        for piece in pieces:
            scanner.feed(memoryview(piece))
        return scanner.finish()
    except MalformedDataSet:
        return "malformed"


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[str, bytes]:
    """A data set with sequences of every kind of length in it, sometimes damaged."""
    syntax = draw(PLAIN)
    encoder = ENCODERS[syntax]
    parts = []
    for _ in range(draw(st.integers(0, 4))):
        inner = encoder.element(0x00080018, b"UI", draw(UIDS).encode())
        item = draw(st.sampled_from([(len(inner), b""), (UNDEFINED, encoder.mark(0xFFFEE00D))]))
        body = encoder.mark(0xFFFEE000, item[0]) + inner + item[1]
        if draw(st.booleans()):
            open_ended = encoder.element(0x00081140, b"SQ", b"", length=UNDEFINED)
            parts.append(open_ended + body + encoder.mark(0xFFFEE0DD))
        else:
            parts.append(encoder.element(0x00081140, b"SQ", body))
    between = b"".join(parts) + encoder.element(0x00091001, b"OB", draw(st.binary(max_size=300)))
    data = encoder.identity(draw(UIDS), between=between) + encoder.element(0x7FE00010, b"OW", bytes(64))
    if draw(st.booleans()):
        position = draw(st.integers(0, len(data) - 1))
        data = data[:position] + draw(st.binary(min_size=1, max_size=4)) + data[position + 1 :]
    return syntax, data


@settings(max_examples=150, deadline=None)
@given(data_sets(), st.lists(st.integers(1, 300), max_size=40), st.booleans())
def test_any_cutting_gives_the_same_header(made: tuple[str, bytes], sizes: list[int], whole: bool) -> None:
    """Pieces of one byte, of forty, of all: the same header, or malformed each time."""
    syntax, data = made
    pieces, at = [], 0
    for size in [*sizes, len(data)]:
        pieces.append(data[at : at + size])
        at += size
    at_once = scan(syntax, [data], whole=whole)
    assert scan(syntax, pieces, whole=whole) == at_once
    assert scan(syntax, [data[n : n + 1] for n in range(len(data))], whole=whole) == at_once


@settings(max_examples=300, deadline=None)
@given(SYNTAXES, st.lists(st.binary(max_size=200), max_size=5), st.booleans())
def test_any_bytes_give_a_header_or_malformed(syntax: str, pieces: list[bytes], whole: bool) -> None:
    """And nothing else, whatever is sent."""
    result = scan(syntax, pieces, whole=whole)
    assert result == "malformed" or isinstance(result, Header)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_give_file_meta_or_a_refusal(data: bytes, prefixed: bool) -> None:
    """With the prefix before them or without."""
    head = bytes(128) + b"DICM\2\0" + data if prefixed else data
    try:
        meta = parse_file_meta(head)
    except DataSetError:
        return
    assert 0 <= meta.data_set_offset <= len(head)


@settings(max_examples=60, deadline=None)
@given(PLAIN, UIDS, UIDS, UIDS, st.sampled_from(["CT", "MR", "", "US"]))
def test_the_scan_agrees_with_pydicom_on_what_pydicom_wrote(
    syntax: str, instance: str, study: str, series: str, modality: str
) -> None:
    """Written by pydicom in each syntax, with a sequence before the UIDs."""
    other = pydicom.Dataset()
    other.ReferencedSOPInstanceUID, other.SOPInstanceUID = "1.9", "1.9.9"
    made = pydicom.Dataset()
    made.SOPClassUID, made.SOPInstanceUID, made.Modality = "1.2.840.10008.5.1.4.1.1.2", instance, modality
    made.ReferencedStudySequence = [other]
    made.StudyInstanceUID, made.SeriesInstanceUID = study, series
    made.Rows = 7
    file = io.BytesIO()
    made.save_as(file, implicit_vr=syntax == IMPLICIT, little_endian=syntax != BIG_ENDIAN)
    expected = Header("1.2.840.10008.5.1.4.1.1.2", instance, study, series, modality)
    assert scan(syntax, [file.getvalue()], whole=True) == expected


KEYWORDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality")


def test_every_real_file_gives_what_pydicom_gives() -> None:
    """1,334 clean and quirky files: the header stopped early and the whole walk agree with pydicom on each."""
    seen = 0
    for path, row in real_files("corpus", "studies"):
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = file.read()
            meta = parse_file_meta(data[:HEAD_BYTES])
            read = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=list(KEYWORDS))
        expected = tuple(str(read.get(keyword) or "") for keyword in KEYWORDS)
        for whole in (False, True):
            scanner = HeaderScanner(meta.transfer_syntax_uid, whole=whole)
            scanner.feed(memoryview(data)[meta.data_set_offset :])
            header = scanner.finish()
            found = (
                header.sop_class_uid,
                header.sop_instance_uid,
                header.study_instance_uid,
                header.series_instance_uid,
                header.modality,
            )
            assert found == expected, f"{row['path']} whole={whole}"
        seen += 1
    assert seen > 1300


@pytest.mark.parametrize("step", [997, 1 << 20])
def test_every_malformed_file_gives_a_header_or_a_refusal(step: int) -> None:
    """461 hostile, broken and foreign files: no other exception, whatever the pieces."""
    refused = 0
    for path, _ in real_files("malformed"):
        data = path.read_bytes()
        try:
            meta = parse_file_meta(data[:HEAD_BYTES])
            scanner = HeaderScanner(meta.transfer_syntax_uid, whole=True)
            for at in range(meta.data_set_offset, len(data), step):
                scanner.feed(memoryview(data)[at : at + step])
            scanner.finish()
        except DataSetError:
            refused += 1
    assert refused > 60
