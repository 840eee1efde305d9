"""What a data set says of its pixel data, whatever it says."""

from __future__ import annotations

import io

import pytest

from archive.pixel_element import find_pixel_element
from dicomrelay.errors import MalformedDataSet
from tests.support.data_sets import Encoder


def _data_set(high_bit: bytes) -> bytes:
    encode = Encoder().element
    return (
        encode(0x00280010, b"US", b"\2\0")
        + encode(0x00280011, b"US", b"\2\0")
        + encode(0x00280100, b"US", b"\x08\0")
        + high_bit
        + encode(0x7FE00010, b"OB", bytes(4))
    )


@pytest.mark.parametrize(
    "high_bit",
    [
        Encoder().element(0x00280102, b"US", b"\7\0\0"),
        Encoder().element(0x00280102, b"FD", b"\7\0"),
        Encoder().element(0x00280102, b"DS", b"seven "),
        Encoder().element(0x00280102, b"AT", b"\7\0"),
    ],
    ids=["US of 3 bytes", "FD of 2 bytes", "DS that is no number", "AT of 2 bytes"],
)
def test_a_number_that_makes_no_sense_counts_as_missing_or_the_data_set_as_malformed(high_bit: bytes) -> None:
    """Never another error: the frames worker would fall over the whole batch."""
    try:
        found = find_pixel_element(
            io.BytesIO(_data_set(high_bit)), data_set_offset=0, is_implicit_vr=False, is_little_endian=True
        )
    except MalformedDataSet:
        return
    assert found.geometry.high_bit in {0, 7}
    assert (found.geometry.rows, found.value.length) == (2, 4)


def test_a_sequence_that_is_cut_off_is_malformed_and_no_trouble_of_the_disk() -> None:
    """What is the disk's is tried again, twenty times; this will never be otherwise."""
    cut = Encoder().element(0x00280010, b"US", b"\2\0") + b"\x00\x52\x29\x92SQ\0\0\xff\xff\xff\xff\xfe\xff"
    with pytest.raises(MalformedDataSet):
        find_pixel_element(io.BytesIO(cut), data_set_offset=0, is_implicit_vr=False, is_little_endian=True)
