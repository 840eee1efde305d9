"""Records of streams: the bytes of the design page, and bytes that are none; the assembly of frames from them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.client.assembly import Assembly, Frame, Request, StreamError
from streamer.streams.wire import (
    HEADER_BYTES,
    PIECE,
    PIECE_BYTES,
    WORDS,
    RecordHeader,
    WireError,
    decode_header,
    words_record,
)

# docs/design/streams.md, field by field.
GOLDEN = bytes.fromhex(
    "01 01 0100 03000000 07000000 02000000 01000000 05000000 0a00000000000000 0d00000000000000"
)
INSTANCE = {
    "event": "instance", "id": 1, "row": 0, "transfer_syntax": "1.2.840.10008.1.2.1", "media_type": "application/octet-stream",
    "rows": 1, "columns": 1, "samples_per_pixel": 1, "bits_allocated": 8, "bits_stored": 8, "high_bit": 7,
    "pixel_representation": 0, "planar_configuration": 0, "photometric_interpretation": "MONOCHROME2",
}  # fmt: skip


def packed(header: RecordHeader) -> bytes:
    buffer = bytearray(HEADER_BYTES)
    header.pack_into(buffer)
    return bytes(buffer)


def test_a_record_is_the_bytes_of_the_design_page() -> None:
    """Little endian, 40 bytes."""
    header = RecordHeader(PIECE, 3, True, 7, 2, 1, 5, 10, 13)

    assert packed(header) == GOLDEN
    assert decode_header(GOLDEN + b"abc") == header
    assert words_record(b"{}")[:8] == bytes.fromhex("02 00 0100 02000000")


@given(st.binary(max_size=60))
def test_any_bytes_are_a_record_or_an_error(data: bytes) -> None:
    """Never anything else."""
    try:
        header = decode_header(data)
    except WireError:
        return
    assert header.payload_bytes <= (PIECE_BYTES if header.kind == PIECE else 2**24)


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        (0, b"\x03", "kind 3"),
        (2, b"\x02", "version 2"),
        (4, b"\x01\x00\x04\x00", "262145"),
        (1, b"\x00", "does not fit"),
        (24, b"\x0b", "does not fit"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(at: int, value: bytes, words: str) -> None:
    """Before anything is done with it."""
    data = GOLDEN[:at] + value + GOLDEN[at + len(value) :]

    with pytest.raises(WireError, match=words):
        decode_header(data)
    with pytest.raises(WireError, match="39"):
        decode_header(GOLDEN[:39])
    assert decode_header(packed(RecordHeader(WORDS, 5))).kind == WORDS


def opened(frames: int = 2) -> tuple[Assembly, Request]:
    assembly = Assembly()
    request, words = assembly.open(
        "1.2", series=None, instances=["1.2.3"], frames=None, primary=("1.2.3", 2), order="outward", weight=1, paused=False
    )  # fmt: skip
    assert words["primary"] == {"instance": "1.2.3", "frame": 2}
    table = [{"uid": "1.2.1", "instances": [["1.2.3", frames]]}]
    assembly.hear(json.dumps({"event": "opened", "id": 1, "frames": frames, "series": table}))
    assembly.hear(json.dumps(INSTANCE))
    return assembly, request


@given(st.binary(max_size=50), st.integers(1, 50))
def test_pieces_of_any_size_make_the_frame(data: bytes, size: int) -> None:
    """Also an empty one, which is one piece."""
    assembly, request = opened()
    found: list[Frame | None] = []
    for offset in range(0, max(1, len(data)), size):
        part = data[offset : offset + size]
        is_last = offset + len(part) == len(data)
        header = RecordHeader(PIECE, len(part), is_last, 1, 1, 0, 2, offset, len(data))
        found.append(assembly.piece(header, part))

    assert found[:-1] == [None] * (len(found) - 1)
    frame = found[-1]
    assert frame is not None
    assert (frame.data, frame.request, frame.sop_instance_uid, frame.frame_number) == (
        data,
        request,
        "1.2.3",
        2,
    )


def test_a_piece_that_does_not_continue_its_frame_is_an_error() -> None:
    """No half of a frame is ever taken for a whole one."""
    assembly, _ = opened()
    assembly.piece(RecordHeader(PIECE, 3, False, 1, 0, 0, 1, 0, 9), b"abc")

    with pytest.raises(StreamError, match="one at 3 was due"):
        assembly.piece(RecordHeader(PIECE, 3, True, 1, 0, 0, 1, 6, 9), b"ghi")


def test_a_frame_larger_than_one_wants_is_an_error_before_its_bytes_come() -> None:
    """What is announced takes no memory."""
    assembly, _ = opened()

    with pytest.raises(StreamError, match="largest_frame"):
        assembly.piece(RecordHeader(PIECE, 1, False, 1, 0, 0, 1, 0, 2**40), b"a")


@pytest.mark.parametrize(
    "words", ["", "[]", "{}", '{"event": "opened", "id": 1}', '{"event": "instance", "id": 1}']
)
def test_words_that_make_no_sense_are_an_error(words: str) -> None:
    """With the words in it."""
    assembly, _ = opened()

    with pytest.raises(StreamError, match="no sense"):
        assembly.hear(words)
