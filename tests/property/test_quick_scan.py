"""The quick scan and the quick file meta answer what the general ones answer, or nothing."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomrelay.cli import files
from dicomrelay.cli.files import DicomFile, read
from dicomrelay.dicom.elements import LONG_VRS
from dicomrelay.dicom.part10 import HEAD_BYTES, FileMeta, encode_file_meta, parse_file_meta, quick_file_meta
from dicomrelay.dicom.quick_scan import quick_scan
from dicomrelay.dicom.scan import Header, HeaderScanner
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.errors import DataSetError, MalformedDataSet
from tests.support.data_sets import (
    BIG_ENDIAN,
    DEFLATED,
    ENCODERS,
    EXPLICIT,
    IMPLICIT,
    JPEG_LOSSLESS,
    UNDEFINED,
    Encoder,
    real_files,
)

UIDS = st.from_regex(r"[1-9][0-9]{0,8}(\.(0|[1-9][0-9]{0,8})){1,5}", fullmatch=True)
TAGS = st.sampled_from(
    [0x00080005, 0x00080060, 0x00081140, 0x00091001, 0x0020000D, 0x00280008, 0x7FE00010, 0xFFFEE00D, 0]
)
VRS = st.sampled_from([b"SH", b"UI", b"IS", b"OB", b"UN", b"OW", b"UT", b"SQ", b"ZZ"])


def general(data: bytes, syntax: str) -> Header | None:
    """What the general scan says, None for malformed."""
    scanner = HeaderScanner(syntax, whole=True)
    try:
        scanner.feed(memoryview(data))
        return scanner.finish()
    except MalformedDataSet:
        return None


def sequence(draw: st.DrawFn, encoder: Encoder, depth: int) -> bytes:
    """A sequence with items of known and of open length, and sequences in them."""
    items = []
    for _ in range(draw(st.integers(0, 2))):
        inner = encoder.element(0x00080018, b"UI", draw(UIDS).encode())
        if depth and draw(st.booleans()):
            inner += sequence(draw, encoder, depth - 1)
        if draw(st.booleans()):
            items.append(encoder.mark(0xFFFEE000, len(inner)) + inner)
        else:
            items.append(encoder.mark(0xFFFEE000, UNDEFINED) + inner + encoder.mark(0xFFFEE00D))
    body = b"".join(items)
    if draw(st.booleans()):
        return encoder.element(0x00081140, b"SQ", body)
    return encoder.element(0x00081140, b"SQ", b"", length=UNDEFINED) + body + encoder.mark(0xFFFEE0DD)


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[str, bytes]:
    """A data set of any plain syntax, often with something in it that is not the rule, sometimes damaged."""
    syntax = draw(st.sampled_from([EXPLICIT, IMPLICIT, JPEG_LOSSLESS, BIG_ENDIAN]))
    encoder = ENCODERS[draw(st.sampled_from([syntax, syntax, syntax, EXPLICIT, IMPLICIT]))]
    between = b"".join(sequence(draw, encoder, 2) for _ in range(draw(st.integers(0, 2))))
    for _ in range(draw(st.integers(0, 3))):
        vr = draw(VRS)
        lengths = [None, None, None, 0, UNDEFINED if encoder.implicit or vr in LONG_VRS else 0xFFFF]
        length = draw(st.sampled_from(lengths))
        between += encoder.element(draw(TAGS), vr, draw(st.binary(max_size=200)), length=length)
    data = encoder.identity(draw(UIDS), between=between)
    if draw(st.booleans()):
        data += encoder.element(0x7FE00010, b"OB", b"", length=UNDEFINED)
        data += encoder.mark(0xFFFEE000) + encoder.mark(0xFFFEE000, 6) + bytes(6) + encoder.mark(0xFFFEE0DD)
    else:
        data += encoder.element(0x7FE00010, b"OW", bytes(64))
    data += bytes(draw(st.sampled_from([0, 0, 0, 2, 8, 30])))
    if draw(st.booleans()):
        position = draw(st.integers(0, len(data) - 1))
        data = data[:position] + draw(st.binary(max_size=4)) + data[position + 1 :]
    return syntax, data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 5)) == 0 else data


@settings(max_examples=600, deadline=None)
@given(data_sets(), st.integers(0, 40))
def test_the_quick_scan_says_what_the_general_one_says_or_nothing(made: tuple[str, bytes], cut: int) -> None:
    """With the whole file at hand, and with its head only."""
    syntax, data = made
    whole = quick_scan(data, 0, len(data), syntax)
    head = quick_scan(data[: max(0, len(data) - cut)], 0, len(data), syntax)

    assert whole is None or whole == general(data, syntax)
    assert head is None or head == general(data, syntax)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED]), st.binary(max_size=200))
def test_any_bytes_give_the_general_answer_or_none(syntax: str, data: bytes) -> None:
    """Whatever stands in a file."""
    found = quick_scan(data, 0, len(data), syntax)

    assert found is None or found == general(data, syntax)


def same_meta(head: bytes) -> bool:
    """Whether the quick file meta agrees with the general one as far as it goes; False when it gave up."""
    quick = quick_file_meta(head)
    if quick is None:
        return False
    full = parse_file_meta(head)
    for name in ("sop_class_uid", "sop_instance_uid", "transfer_syntax_uid", "data_set_offset"):
        assert getattr(quick, name) == getattr(full, name), name
    return True


@settings(max_examples=300, deadline=None)
@given(UIDS, st.integers(128, 400), st.binary(max_size=6))
def test_the_quick_file_meta_says_what_the_general_one_says_or_nothing(
    uid: str, position: int, damage: bytes
) -> None:
    """Our own metas are quick ones; damaged ones are given up, or read alike."""
    meta = FileMeta("1.2.840.10008.5.1.4.1.1.2", uid, EXPLICIT, source_ae_title="CT")
    head = encode_file_meta(meta) + ENCODERS[EXPLICIT].identity(uid)
    damaged = head[:position] + damage + head[position + len(damage) :]

    assert same_meta(head)
    try:
        parse_file_meta(damaged)
    except DataSetError:
        assert quick_file_meta(damaged) is None
    else:
        same_meta(damaged)


def test_real_files_are_read_alike_and_most_of_the_plain_ones_the_quick_way() -> None:
    """Clean, odd and malformed ones; a quick scan that always gave up would be no use."""
    plain = quick = 0
    for path, _row in real_files("corpus", "studies", "malformed"):
        if not path.stat().st_size:
            continue
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                meta = parse_file_meta(content[:HEAD_BYTES])
            except DataSetError:
                assert quick_file_meta(content[:HEAD_BYTES]) is None, path
                continue
            same_meta(content[:HEAD_BYTES])
            at, syntax = meta.data_set_offset, meta.transfer_syntax_uid
            found = [
                quick_scan(view, at, len(content), syntax)
                for view in (content, content[:16_384], content[:2_000])
            ]
            expected = general(content[at:], syntax)
        assert all(header is None or header == expected for header in found), path
        plain += expected is not None and not transfer_syntax(syntax).is_deflated
        quick += found[0] is not None
    assert quick > 0.9 * plain, f"{quick} of {plain}"


def test_a_file_is_read_alike_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page at a time, so that most files have many: the same answer, or the same complaint."""

    def answer(path: Path) -> object:
        try:
            return read(path)
        except DataSetError as error:
            return str(error)

    paths = [path for path, _row in real_files("corpus", "malformed") if path.stat().st_size]
    whole = {path: answer(path) for path in paths}
    monkeypatch.setattr(files, "_WINDOW_BYTES", 4096)
    monkeypatch.setattr(files, "_FIRST_BYTES", 0)  # or the head of most files would be enough

    assert {path: answer(path) for path in paths} == whole


def test_a_file_that_the_quick_way_gives_up_is_found_all_the_same(tmp_path: Path) -> None:
    """A private sequence of VR UN and undefined length, and a header longer than the first read."""
    encoder = ENCODERS[EXPLICIT]
    implicit = ENCODERS[IMPLICIT]
    odd = (
        encoder.element(0x00091002, b"UN", b"", length=UNDEFINED)
        + implicit.mark(0xFFFEE000, UNDEFINED)
        + implicit.element(0x00080018, b"UI", b"9.9")
        + implicit.mark(0xFFFEE00D)
        + implicit.mark(0xFFFEE0DD)
    )
    long = encoder.element(0x00091001, b"OB", bytes(40_000))
    meta = encode_file_meta(FileMeta("1.2.840.10008.5.1.4.1.1.2", "1.2.3", EXPLICIT))
    for name, between in (("odd", odd), ("long", long)):
        data = encoder.identity("1.2.3", between=between)
        (tmp_path / name).write_bytes(meta + data)
        found = read(tmp_path / name)

        assert isinstance(found, DicomFile)
        assert (found.sop_instance_uid, found.study_instance_uid) == ("1.2.3", "1.2.3.4")
        assert (found.path, found.data_set_bytes) == (tmp_path / name, len(data))
