"""Attributes that rules ask for, from files as they come (docs/design/rules.md)."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from workers.attributes import MAX_CHARACTERS, MAX_VALUES, read_attributes

EXPLICIT, IMPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"
BODY, NAME, IMAGE_TYPE, THICK, MISSING, ROWS = (
    0x00180015,
    0x00100010,
    0x00080008,
    0x00180050,
    0x00101010,
    0x00280010,
)
TAGS = (BODY, NAME, IMAGE_TYPE, THICK, MISSING, ROWS)


def encoded(data_set: Dataset, syntax: str = EXPLICIT) -> bytes:
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, syntax == IMPLICIT
    write_dataset(out, data_set)
    plain = out.getvalue()
    if syntax != DEFLATED:
        return plain
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(plain) + deflater.flush()


def sample() -> Dataset:
    data_set = Dataset()
    data_set.SpecificCharacterSet = "ISO_IR 192"
    data_set.ImageType = ["ORIGINAL", "PRIMARY"]
    data_set.PatientName = "Müller^Jörg"
    data_set.BodyPartExamined = "HEAD "
    data_set.SliceThickness = "1.50"
    data_set.Rows = 512
    data_set.PixelData = b"\0" * 100
    data_set["PixelData"].VR = "OW"
    return data_set


def reads(
    tmp_path: Path, content: bytes, syntax: str = EXPLICIT, tags: tuple[int, ...] = TAGS
) -> dict[int, tuple[str, ...]]:
    path = tmp_path / "item"
    path.write_bytes(b"head" + content)
    return read_attributes(path, data_set_offset=4, transfer_syntax_uid=syntax, tags=tags)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, DEFLATED])
def test_values_are_texts_whatever_the_encoding_is(tmp_path: Path, syntax: str) -> None:
    """In their order, as they are written, without padding; none where there is none."""
    assert reads(tmp_path, encoded(sample(), syntax), syntax) == {
        BODY: ("HEAD",),
        NAME: ("Müller^Jörg",),
        IMAGE_TYPE: ("ORIGINAL", "PRIMARY"),
        THICK: ("1.50",),
        MISSING: (),
        ROWS: ("512",),
    }


def test_what_stands_behind_the_first_bytes_is_found_too(tmp_path: Path) -> None:
    """And nothing behind four million of them."""
    near, far = sample(), sample()
    near.add_new(0x00091010, "OB", b"\0" * 100_000)
    far.add_new(0x00091010, "OB", b"\0" * (5 << 20))
    assert reads(tmp_path, encoded(near))[BODY] == ("HEAD",)
    assert reads(tmp_path, encoded(far)) == {**dict.fromkeys(TAGS, ()), IMAGE_TYPE: ()}


def test_values_are_bounded(tmp_path: Path) -> None:
    """In number and in length."""
    data_set = Dataset()
    data_set.ImageType = ["A"] * 1000
    data_set.add_new(0x00104000, "LT", "x" * 5000)
    found = reads(tmp_path, encoded(data_set), tags=(IMAGE_TYPE, 0x00104000))
    assert (len(found[IMAGE_TYPE]), len(found[0x00104000][0])) == (MAX_VALUES, MAX_CHARACTERS)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 300, b"\x08\x00\x08\x00CS\xff\x00A", b"\x08\x00\x08\x00SQ\0\0\xff\xff\xff\xff" * 40],
)
def test_what_is_no_data_set_has_no_attributes(tmp_path: Path, content: bytes) -> None:
    """It is archived and sent all the same, by rules that do not ask."""
    found = reads(tmp_path, content)
    assert found.keys() == set(TAGS)
    assert all(len(value) <= 2 for values in found.values() for value in values)
    assert reads(tmp_path, zlib.compress(b"x"), DEFLATED) == dict.fromkeys(TAGS, ())


def test_a_file_that_is_gone_has_none(tmp_path: Path) -> None:
    """Nor is one opened where nothing is asked."""
    gone = tmp_path / "gone"
    for tags, expected in (((BODY,), {BODY: ()}), ((), {})):
        assert read_attributes(gone, data_set_offset=0, transfer_syntax_uid=EXPLICIT, tags=tags) == expected
