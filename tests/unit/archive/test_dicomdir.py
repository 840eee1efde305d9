"""The DICOMDIR writer: a tree of records as offsets, read back by pydicom's own walk."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset

from archive.dicomdir import DirectoryWriter
from archive.directory_keys import AT_ROOT, KEYS, record_type

Tree = list[tuple[int, str]]


def element(name: str) -> bytes:
    """Directory Record Type, as a name of the record."""
    value = name.encode() + b" " * (len(name) % 2)
    return struct.pack("<HH2sH", 0x0004, 0x1430, b"CS", len(value)) + value


def written(tree: Tree) -> bytes:
    file = io.BytesIO()
    writer = DirectoryWriter(file, file_set_uid="1.2.3", file_set_id="ODD")
    for level, name in tree:
        writer.add(level, element(name))
    size = writer.finish()
    assert size == len(file.getvalue())
    return file.getvalue()


def walked(data: bytes) -> tuple[Dataset, Tree]:
    """The records in the order of their pointers, with their levels."""
    directory = dcmread(io.BytesIO(data))
    records = {item.seq_item_tell: item for item in directory.DirectoryRecordSequence}
    found: Tree = []

    def visit(offset: int, level: int) -> None:
        while offset:
            record = records.pop(offset)  # each once
            assert record.RecordInUseFlag == 0xFFFF
            found.append((level, record.DirectoryRecordType))
            visit(record.OffsetOfReferencedLowerLevelDirectoryEntity, level + 1)
            offset = record.OffsetOfTheNextDirectoryRecord

    visit(directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity, 0)
    assert not records
    return directory, found


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    tree: Tree = []
    level = -1
    for number in range(draw(st.integers(0, 30))):
        level = draw(st.integers(0, min(level + 1, 3)))
        tree.append((level, f"R{number}"))
    return tree


@given(trees())
def test_every_record_is_found_by_its_pointers_in_order(tree: Tree) -> None:
    """Depth first, each once, at its level."""
    directory, found = walked(written(tree))

    assert found == tree
    assert directory.FileSetConsistencyFlag == 0
    assert directory.FileSetID == "ODD"
    assert directory.file_meta.MediaStorageSOPClassUID == "1.2.840.10008.1.3.10"
    assert directory.file_meta.MediaStorageSOPInstanceUID == "1.2.3"
    last = directory.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity
    assert bool(last) == bool(tree)
    if tree:
        offsets = [item.seq_item_tell for item in directory.DirectoryRecordSequence]
        assert offsets.index(last) == max(place for place, (level, _) in enumerate(tree) if level == 0)


@pytest.mark.parametrize("levels", [[1], [0, 2], [0, 1, 2, 3, 4]])
def test_a_record_without_a_parent_is_refused(levels: list[int]) -> None:
    """A fault of the caller."""
    with pytest.raises(ValueError, match="level"):
        written([(level, "X") for level in levels])


@pytest.mark.parametrize(
    ("uid", "has_image", "expected"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", True, "IMAGE"),
        ("1.2.840.10008.5.1.4.1.1.4.2", False, "SPECTROSCOPY"),
        ("1.2.840.10008.5.1.4.1.1.88.11", False, "SR DOCUMENT"),
        ("1.2.840.10008.5.1.4.1.1.88.59", False, "KEY OBJECT DOC"),
        ("1.2.840.10008.5.1.4.1.1.66", False, "RAW DATA"),
        ("1.2.840.10008.5.1.4.1.1.66.1", False, "REGISTRATION"),
        ("1.2.840.10008.5.1.4.1.1.66.4", True, "IMAGE"),
        ("1.2.840.10008.5.1.4.1.1.481.1", True, "IMAGE"),
        ("1.2.840.10008.5.1.4.1.1.481.2", True, "RT DOSE"),
        ("1.2.840.10008.5.1.4.1.1.481.10", False, "RADIOTHERAPY"),
        ("1.2.840.10008.5.1.4.1.1.104.1", False, "ENCAP DOC"),
        ("1.2.840.10008.5.1.4.38.1", False, "HANGING PROTOCOL"),
        ("1.3.46.670589.5.0.14", True, "IMAGE"),
        ("1.3.46.670589.5.0.14", False, "PRIVATE"),
    ],
)
def test_a_sop_class_has_its_record(uid: str, has_image: bool, expected: str) -> None:
    """PS3.3 Table F.4-1."""
    assert record_type(uid, has_image=has_image) == expected
    assert expected in KEYS


def test_every_record_type_has_keys_and_a_name_of_the_standard() -> None:
    """At most 16 characters, as a code string."""
    assert {*KEYS} >= AT_ROOT
    assert all(len(name) <= 16 and name.replace(" ", "").isalpha() for name in KEYS)
