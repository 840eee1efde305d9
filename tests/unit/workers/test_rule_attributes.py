"""Attributes that rules ask for, from files as they come (docs/design/rules.md)."""

from __future__ import annotations

import errno
import io
import os
import struct
import time
import zlib
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from dicomrelay.errors import ServiceUnavailable
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


def sequence(items: int) -> Dataset:
    """A sequence and its items without lengths, as many scanners write them, before what is asked for."""
    data_set = sample()
    part = Dataset()
    part.ReferencedSOPClassUID, part.ReferencedSOPInstanceUID = (
        "1.2.840.10008.5.1.4.1.1.2",
        "1.2.3." + "4" * 50,
    )
    part.is_undefined_length_sequence_item = True
    data_set.ReferencedImageSequence = [part] * items
    data_set["ReferencedImageSequence"].is_undefined_length = True
    return data_set


def test_what_stands_behind_a_sequence_that_the_first_bytes_cut_is_found_too(tmp_path: Path) -> None:
    """Of 80 kB; and where the last bytes cut one, what stands before it."""
    found = reads(tmp_path, encoded(sequence(700)))
    assert (found[BODY], found[NAME], found[IMAGE_TYPE]) == (
        ("HEAD",),
        ("Müller^Jörg",),
        ("ORIGINAL", "PRIMARY"),
    )
    content = encoded(sequence(700))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workers.attributes._HEADS", (16_384, 65_536))
        found = reads(tmp_path, content)
    assert (found[BODY], found[IMAGE_TYPE]) == ((), ("ORIGINAL", "PRIMARY"))


def test_a_sequence_of_very_many_items_is_not_made_into_objects(tmp_path: Path) -> None:
    """Half a million of them would take seconds and hundreds of megabytes; what stands before it is known."""
    whole = encoded(sample())
    at = whole.index(b"\x10\x00\x10\x00")
    items = struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 400_000
    many = whole[:at] + struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + items
    began = time.process_time()
    found = reads(tmp_path, many + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0) + whole[at:])
    assert (found[IMAGE_TYPE], found[NAME], found[BODY]) == (("ORIGINAL", "PRIMARY"), (), ())
    assert time.process_time() - began < 2


def test_what_is_wrong_hides_nothing_that_stands_before_it(tmp_path: Path) -> None:
    """The rules are told what can be read."""
    whole = encoded(sample())
    at = whole.index(b"\x18\x00\x15\x00")
    broken = whole[:at] + b"\x18\x00\x14\x00SQ\0\0\xff\xff\xff\xff" + b"\x10\x00\x10\x00PN"
    found = reads(tmp_path, broken)
    assert (found[IMAGE_TYPE], found[NAME], found[BODY]) == (("ORIGINAL", "PRIMARY"), ("Müller^Jörg",), ())


@pytest.mark.parametrize("tag", [NAME, 0x0040A160])
def test_of_a_long_value_no_more_is_decoded_than_is_kept(tmp_path: Path, tag: int) -> None:
    """Three million bytes of escape sequences would take ten seconds."""
    data_set = Dataset()
    data_set.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    text = encoded(data_set)
    value = b"A" + b"\x1b$B\x1b(B" * 500_000
    began = time.process_time()
    found = reads(
        tmp_path,
        text + struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, b"UT", 0, len(value)) + value,
        tags=(tag,),
    )
    assert (found[tag][0][:1], time.process_time() - began < 2) == ("A", True)


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


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ESTALE, None])
def test_what_cannot_be_read_now_is_not_taken_for_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    """Or an instance would go elsewhere for good, for want of a file descriptor or of memory."""
    error = MemoryError() if number is None else OSError(number, os.strerror(number))

    class Troubled(io.FileIO):
        def read(self, *_: object) -> bytes:
            raise error

    path = tmp_path / "item"
    path.write_bytes(encoded(sample()))
    monkeypatch.setattr(Path, "open", lambda self, *_, **__: Troubled(self, "rb"))
    with pytest.raises(ServiceUnavailable, match="cannot be read"):
        read_attributes(path, data_set_offset=0, transfer_syntax_uid=EXPLICIT, tags=TAGS)
