"""The frame index: what is written is what is read, and damage is noticed."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.frame_header import FrameIndexHeader, FrameLayout, Geometry, PixelKind, decode_header
from archive.frame_index import FrameIndex, encode_fragment_entry, encode_frame_entry
from dicomrelay.errors import FrameError, FrameIndexDamaged

U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
GEOMETRIES = st.builds(Geometry, U32, U32, U16, U16, U16, U16, U16, U16, TEXT)
HEADERS = st.builds(
    FrameIndexHeader,
    layout=st.sampled_from(FrameLayout),
    pixel_kind=st.sampled_from(PixelKind),
    frame_count=U64,
    declared_frames=U64,
    data_path=TEXT,
    data_bytes=U64,
    stored_path=TEXT,
    stored_bytes=U64,
    digest=st.binary(min_size=32, max_size=32).map(bytes.hex),
    study_instance_uid=TEXT,
    series_instance_uid=TEXT,
    sop_instance_uid=TEXT,
    sop_class_uid=TEXT,
    transfer_syntax_uid=TEXT,
    geometry=GEOMETRIES,
    pixel_offset=U64,
    frame_bits=U64,
    swap_bytes=st.sampled_from([1, 2, 4, 8]),
    fragment_count=U64,
    reason=TEXT,
)
FRAMES = st.lists(st.lists(st.integers(1, 2**32 - 1), min_size=1, max_size=4), min_size=1, max_size=20)


@given(HEADERS)
def test_a_header_comes_back_as_it_was(header: FrameIndexHeader) -> None:
    """Also with something behind it."""
    data = header.encode()

    assert len(data) % 32 == 0
    assert decode_header(data) == header
    assert decode_header(data + b"tables") == header


@given(HEADERS, st.data())
def test_a_changed_byte_is_noticed(header: FrameIndexHeader, data: st.DataObject) -> None:
    """Every byte of the header is covered by its checksum or by a check of its own."""
    encoded = bytearray(header.encode())
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))

    with pytest.raises(FrameError):
        decode_header(bytes(encoded))


@given(HEADERS, st.data())
def test_a_header_cut_short_is_refused(header: FrameIndexHeader, data: st.DataObject) -> None:
    """A torn write is no index."""
    encoded = header.encode()

    with pytest.raises(FrameError):
        decode_header(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


@given(st.binary(max_size=300))
def test_any_bytes_give_an_error_in_words(data: bytes) -> None:
    """Whatever lies under the name of an index."""
    with pytest.raises(FrameError):
        decode_header(data)


def file_of(data: bytes) -> int:
    """A descriptor of a nameless file; the index closes it."""
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(data)
        return os.dup(file.fileno())


def write(header: FrameIndexHeader, frames: list[list[int]]) -> int:
    """An open frame index of frames that have fragments of these lengths, each with an item header before it."""
    lengths = [length for frame in frames for length in frame]
    ends = list(accumulate(length + 8 for length in lengths))
    offsets = [1000 + end - length for end, length in zip(ends, lengths, strict=True)]
    first = [0, *accumulate(len(frame) for frame in frames)]
    rows = b"".join(
        encode_frame_entry(number, offsets[first[number - 1]], sum(frame), first[number - 1], len(frame))
        for number, frame in enumerate(frames, start=1)
    )
    table = b"".join(map(encode_fragment_entry, offsets, lengths))
    header = dataclasses.replace(
        header, layout=FrameLayout.FRAGMENTS, frame_count=len(frames), fragment_count=len(lengths)
    )
    return file_of(header.encode() + rows + table)


@given(HEADERS, FRAMES)
def test_every_fragment_of_every_frame_is_found(header: FrameIndexHeader, frames: list[list[int]]) -> None:
    """Pieces have the lengths that were written, lie one behind the other, and add up to the frame."""
    index = FrameIndex(write(header, frames))
    try:
        end = 1000
        for number, frame in enumerate(frames, start=1):
            location = index.locate(number)
            pieces = list(index.pieces(location))
            assert [length for _, length in pieces] == frame
            assert location.length_bytes == sum(frame)
            for offset, length in pieces:
                assert offset == end + 8
                end = offset + length
    finally:
        index.close()


@given(HEADERS, FRAMES, st.data())
def test_a_damaged_row_is_noticed_when_it_is_used(
    header: FrameIndexHeader, frames: list[list[int]], data: st.DataObject
) -> None:
    """A flipped bit in the tables never gives the wrong bytes of a patient."""
    descriptor = write(header, frames)
    size = os.fstat(descriptor).st_size
    rows_at = size - 16 * sum(map(len, frames)) - 32 * len(frames)
    number = data.draw(st.integers(1, len(frames)))
    position = rows_at + 32 * (number - 1) + data.draw(st.integers(0, 31))
    old = os.pread(descriptor, 1, position)[0]
    os.pwrite(descriptor, bytes([old ^ data.draw(st.integers(1, 255))]), position)
    index = FrameIndex(descriptor)
    try:
        with pytest.raises(FrameError):
            index.locate(number)
    finally:
        index.close()


@given(HEADERS, st.integers(2, 20), st.data())
def test_a_row_in_the_place_of_another_is_noticed(
    header: FrameIndexHeader, count: int, data: st.DataObject
) -> None:
    """Each is whole, and of another frame: it would show one frame for another."""
    descriptor = write(header, [[100]] * count)
    rows_at = os.fstat(descriptor).st_size - (16 + 32) * count
    one, other = data.draw(st.lists(st.integers(1, count), min_size=2, max_size=2, unique=True))
    row = os.pread(descriptor, 32, rows_at + 32 * (other - 1))
    os.pwrite(descriptor, row, rows_at + 32 * (one - 1))
    index = FrameIndex(descriptor)
    try:
        index.locate(other)
        with pytest.raises(FrameIndexDamaged, match=f"at frame {one}$"):
            index.locate(one)
    finally:
        index.close()


@given(st.integers(1, 200), st.integers(1, 10**9), st.integers(0, 2**40))
def test_uniform_frames_follow_each_other_bit_by_bit(bits: int, number: int, offset: int) -> None:
    """Frame n begins where frame n - 1 ends, also in the middle of a byte."""
    header = FrameIndexHeader(
        layout=FrameLayout.UNIFORM, pixel_kind=PixelKind.PIXEL_DATA, frame_count=10**9 + 1, declared_frames=10**9 + 1,
        data_path="d", data_bytes=0, stored_path="d", stored_bytes=0, digest="00" * 32, study_instance_uid="1",
        series_instance_uid="1", sop_instance_uid="1", sop_class_uid="1", transfer_syntax_uid="1", geometry=Geometry(),
        pixel_offset=offset, frame_bits=bits,
    )  # fmt: skip
    index = FrameIndex(file_of(header.encode()))
    try:
        one, following = index.locate(number), index.locate(number + 1)
    finally:
        index.close()

    assert (following.offset * 8 + following.shift_bits) - (one.offset * 8 + one.shift_bits) == bits
    assert one.span_bytes * 8 - one.shift_bits >= bits
    assert one.length_bytes == -(-bits // 8)
