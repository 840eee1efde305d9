"""The header scan, on data sets made for it."""

from __future__ import annotations

import zlib

import pytest

from dicomrelay.dicom.scan import Header, HeaderScanner, ScanLimits
from dicomrelay.errors import MalformedDataSet
from tests.support.data_sets import (
    BIG_ENDIAN,
    CT_IMAGE_STORAGE,
    DEFLATED,
    ENCODERS,
    EXPLICIT,
    IMPLICIT,
    JPEG_LOSSLESS,
    UNDEFINED,
    Encoder,
)

EXPECTED = Header(CT_IMAGE_STORAGE, "1.2.3", "1.2.3.4", "1.2.3.4.5", "CT")
LE = ENCODERS[EXPLICIT]
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


def scan(
    transfer_syntax: str, data: bytes, *, whole: bool = False, limits: ScanLimits | None = None
) -> Header:
    scanner = HeaderScanner(transfer_syntax, whole=whole, limits=limits)
    scanner.feed(memoryview(data))
    return scanner.finish()


def sequence(encoder: Encoder, *items: bytes, tag: int = 0x00081140, vr: bytes = b"SQ") -> bytes:
    """A sequence of undefined length, of items of undefined length."""
    body = b"".join(encoder.mark(ITEM, UNDEFINED) + item + encoder.mark(ITEM_END) for item in items)
    return encoder.element(tag, vr, b"", length=UNDEFINED) + body + encoder.mark(SEQUENCE_END)


@pytest.mark.parametrize("transfer_syntax", ENCODERS)
def test_the_uids_are_found_in_every_plain_syntax(transfer_syntax: str) -> None:
    """Implicit, explicit, big endian, encapsulated."""
    assert scan(transfer_syntax, ENCODERS[transfer_syntax].identity()) == EXPECTED


def test_a_deflated_data_set_is_inflated_in_steps() -> None:
    """PS3.5 Annex A.5: a raw deflate stream, padded with a zero byte to even length."""
    packer = zlib.compressobj(wbits=-15)
    stream = packer.compress(LE.identity() + LE.element(0x7FE00010, b"OW", bytes(1 << 20))) + packer.flush()
    assert scan(DEFLATED, stream + b"\0", whole=True) == EXPECTED
    assert scan(DEFLATED, stream) == EXPECTED


def test_a_deflate_bomb_is_refused_before_it_is_inflated() -> None:
    """100 MB of nothing in 100 kB: the scan gives up after the first steps, or when the limit is reached."""
    packer = zlib.compressobj(9, wbits=-15)
    bomb = packer.compress(LE.element(0x00080005, b"UT", b"", length=0x7FFFFFFE))
    bomb += b"".join(packer.compress(bytes(1 << 20)) for _ in range(100)) + packer.flush()
    stream = memoryview(bomb)
    scanner = HeaderScanner(DEFLATED)
    with pytest.raises(MalformedDataSet, match="not within the first 67108864 bytes"):
        scanner.feed(stream)
    assert scanner._seen <= 65_536
    patient = HeaderScanner(DEFLATED, whole=True, limits=ScanLimits(max_bytes=1 << 20))
    with pytest.raises(MalformedDataSet, match=r"(more than|first) 1048576 bytes"):
        patient.feed(stream)


def test_a_deflated_stream_that_ends_early_or_is_none_is_malformed() -> None:
    """Both are told apart in words."""
    packer = zlib.compressobj(wbits=-15)
    stream = packer.compress(LE.identity()) + packer.flush()
    with pytest.raises(MalformedDataSet, match="truncated"):
        scan(DEFLATED, stream[:-4], whole=True)
    with pytest.raises(MalformedDataSet, match="cannot be inflated"):
        scan(DEFLATED, b"\xff" * 40)


@pytest.mark.parametrize("transfer_syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
def test_uids_in_sequences_are_not_those_of_the_instance(transfer_syntax: str) -> None:
    """Referenced instances carry the same tags one level down."""
    encoder = ENCODERS[transfer_syntax]
    other = encoder.element(0x00080018, b"UI", b"9.9") + encoder.element(0x0020000D, b"UI", b"9.9.9")
    nested = sequence(encoder, other + sequence(encoder, other), other)
    assert scan(transfer_syntax, encoder.identity(between=nested)) == EXPECTED


def test_an_item_of_defined_length_is_stepped_over() -> None:
    """In a sequence of undefined length (PS3.5 Section 7.5.2)."""
    inner = LE.element(0x00080018, b"UI", b"9.9")
    body = LE.element(0x00081140, b"SQ", b"", length=UNDEFINED) + LE.mark(ITEM, len(inner)) + inner
    assert scan(EXPLICIT, LE.identity(between=body + LE.mark(SEQUENCE_END))) == EXPECTED


def test_un_of_undefined_length_is_implicit_inside() -> None:
    """CP-246: whatever the transfer syntax, a sequence behind UN is in implicit VR little endian."""
    implicit = ENCODERS[IMPLICIT]
    inside = (
        implicit.mark(ITEM, UNDEFINED) + implicit.element(0x00091001, b"", b"abcd") + implicit.mark(ITEM_END)
    )
    for transfer_syntax in (EXPLICIT, BIG_ENDIAN):
        encoder = ENCODERS[transfer_syntax]
        unknown = (
            encoder.element(0x00091010, b"UN", b"", length=UNDEFINED) + inside + implicit.mark(SEQUENCE_END)
        )
        assert scan(transfer_syntax, encoder.identity(between=unknown)) == EXPECTED


def test_a_forgotten_item_delimiter_is_forgiven() -> None:
    """A sequence's end closes its open item."""
    body = (
        LE.element(0x00081140, b"SQ", b"", length=UNDEFINED)
        + LE.mark(ITEM, UNDEFINED)
        + LE.mark(SEQUENCE_END)
    )
    assert scan(EXPLICIT, LE.identity(between=body)) == EXPECTED


@pytest.mark.parametrize("promised", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
@pytest.mark.parametrize("delivered", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
def test_the_first_element_is_believed_more_than_the_transfer_syntax(promised: str, delivered: str) -> None:
    """Peers mislabel; what they meant can be seen."""
    assert scan(promised, ENCODERS[delivered].identity()) == EXPECTED


def test_padding_is_no_part_of_a_uid() -> None:
    """Zero by the standard (PS3.5 Section 9.1), spaces in real files."""
    data = LE.element(0x00080016, b"UI", CT_IMAGE_STORAGE.encode() + b"  ") + LE.element(
        0x00080018, b"UI", b"1.2 \0"
    )
    assert scan(EXPLICIT, data).sop_instance_uid == "1.2"


def test_it_stops_behind_the_series_and_never_sees_what_follows() -> None:
    """What follows may be wrong, and is not ours to judge."""
    scanner = HeaderScanner(EXPLICIT)
    assert scanner.feed(memoryview(LE.identity() + LE.element(0x00280010, b"US", b"\0\1") + b"\xff" * 1000))
    assert scanner.feed(memoryview(b"junk"))
    assert scanner.finish() == EXPECTED


def test_uids_out_of_order_are_found_up_to_pixel_data() -> None:
    """A tag order that PS3.5 Section 7.1 forbids, and that exists."""
    late = LE.element(0x00080018, b"UI", b"1.2.3")
    data = LE.element(0x0020000E, b"UI", b"1.5") + LE.element(0x00280010, b"US", b"\0\1") + late
    assert scan(EXPLICIT, data).sop_instance_uid == "1.2.3"
    hidden = LE.element(0x7FE00010, b"OW", bytes(8)) + late
    assert scan(EXPLICIT, hidden).sop_instance_uid == ""


def test_a_value_of_gigabytes_is_stepped_over_without_being_kept() -> None:
    """4 GB of a private value arrive in pieces; no more than one piece is ever held."""
    limits = ScanLimits(max_bytes=1 << 33)
    scanner = HeaderScanner(EXPLICIT, limits=limits)
    scanner.feed(memoryview(LE.element(0x00091010, b"OB", b"", length=0xFFFFFF00)))
    piece, left = memoryview(bytes(1 << 26)), 0xFFFFFF00
    while left:
        scanner.feed(piece[: min(left, len(piece))])
        left -= min(left, len(piece))
        assert len(scanner._carry) == 0
    scanner.feed(memoryview(LE.identity()))
    assert scanner.finish() == EXPECTED


def test_a_whole_scan_finds_the_number_of_frames() -> None:
    """And walks through encapsulated pixel data to the end."""
    fragments = LE.mark(ITEM, 0) + LE.mark(ITEM, 4) + b"abcd" + LE.mark(SEQUENCE_END)
    pixels = LE.element(0x7FE00010, b"OB", b"", length=UNDEFINED) + fragments
    data = (
        LE.identity()
        + LE.element(0x00280008, b"IS", b"12")
        + pixels
        + LE.element(0xFFFCFFFC, b"OB", bytes(6))
    )
    assert scan(JPEG_LOSSLESS, data, whole=True).number_of_frames == 12


@pytest.mark.parametrize("cut", [1, 4, 7, 9, 500, 1007])
def test_a_whole_scan_tells_where_a_data_set_was_cut_off(cut: int) -> None:
    """The offset is where the bytes end."""
    data = LE.identity() + LE.element(0x7FE00010, b"OW", bytes(1000))
    with pytest.raises(MalformedDataSet, match="truncated at byte") as caught:
        scan(EXPLICIT, data[:-cut], whole=True)
    assert caught.value.offset == len(data) - cut


def test_a_whole_scan_forgives_zeros_at_the_end() -> None:
    """Files are padded to blocks by some media."""
    data = LE.identity() + LE.element(0x7FE00010, b"OW", bytes(100))
    for zeros in (2, 8, 511, 100_000):
        assert scan(EXPLICIT, data + bytes(zeros), whole=True) == EXPECTED


def test_a_sequence_without_an_end_is_truncated() -> None:
    """The data set ends while a sequence of undefined length is open."""
    data = LE.identity(between=LE.element(0x00081140, b"SQ", b"", length=UNDEFINED))
    with pytest.raises(MalformedDataSet, match="must"):
        scan(EXPLICIT, data)
    with pytest.raises(MalformedDataSet, match="inside a sequence"):
        scan(EXPLICIT, LE.element(0x00081140, b"SQ", b"", length=UNDEFINED))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (LE.element(0x00080018, b"UI", b"1." * 100), "a UID has 64 at most"),
        (LE.element(0x00080020, b"DA", b"20200101") + LE.mark(ITEM, 0), "cannot stand in the data set"),
        (LE.element(0x00080020, b"UT", b"", length=UNDEFINED), "has no length"),
        (sequence(LE)[:-8] + LE.mark(ITEM_END), "cannot stand in a sequence"),
    ],
)
def test_what_is_no_data_set_is_refused_in_words(data: bytes, words: str) -> None:
    """Each with the tag and the offset."""
    with pytest.raises(MalformedDataSet, match=words):
        scan(EXPLICIT, data, whole=True)


def test_the_limits_are_kept() -> None:
    """On depth, elements and bytes; elements and bytes only until the UIDs are passed."""
    deep = b"".join(
        LE.element(0x00081140, b"SQ", b"", length=UNDEFINED) + LE.mark(ITEM, UNDEFINED) for _ in range(40)
    )
    with pytest.raises(MalformedDataSet, match="more than 64 deep"):
        scan(EXPLICIT, deep)
    many = b"".join(LE.element(0x00090010 + number, b"LO", b"") for number in range(50))
    with pytest.raises(MalformedDataSet, match="more than 20 elements"):
        scan(EXPLICIT, many, limits=ScanLimits(max_elements=20))
    with pytest.raises(MalformedDataSet, match="within the first 1000 bytes"):
        scan(EXPLICIT, LE.element(0x00090010, b"OB", bytes(2000)), limits=ScanLimits(max_bytes=1000))
    no_series = LE.element(0x00080018, b"UI", b"1.2.3") + LE.element(0x00280010, b"US", b"\0\1") * 50
    assert scan(EXPLICIT, no_series, limits=ScanLimits(max_elements=20)).sop_instance_uid == "1.2.3"


def test_an_empty_data_set_has_an_empty_header() -> None:
    """Whether that is enough is not the scan's to say."""
    assert scan(EXPLICIT, b"") == Header()
