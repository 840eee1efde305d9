"""Multipart bodies: the same parts however the body is cut, and words for what is none."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.stow.multipart import MalformedBody, MultipartParser, PartBegins, PartData, PartEnds

BOUNDARY = b"b0-x"
# Bytes of which boundaries are made come often.
CONTENT = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b"--", b"-", b"b0-", b"x", b"\r\n--b0-", b"\0", b"DICM" * 9]),
    max_size=12,
).map(b"".join)


def parsed(body: bytes, cuts: list[int]) -> tuple[list[tuple[dict[str, str], bytes]], bool]:
    """The parts of a body that comes in pieces, and whether it came to its end; every part must begin before it ends."""
    parser, parts, is_open = MultipartParser(BOUNDARY), [], False
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    content = bytearray()
    for first, last in pairwise(places):
        for event in parser.feed(body[first:last]):
            match event:
                case PartBegins():
                    assert not is_open
                    is_open, fields, content = True, dict(event.fields), bytearray()
                case PartData():
                    assert is_open
                    assert len(event.data)
                    content += event.data
                case PartEnds():
                    parts.append((fields, bytes(content)))
                    is_open = False
    return parts, parser.is_complete


@settings(max_examples=150, deadline=None)
@given(
    contents=st.lists(CONTENT.filter(lambda each: b"\r\n--" + BOUNDARY not in each), max_size=4),
    preamble=st.sampled_from([b"", b"\r\n", b"This is a message in many parts.\r\n"]),
    cuts=st.lists(st.integers(0, 400), max_size=60),
    every_byte=st.booleans(),
)
def test_parts_are_the_same_however_the_body_is_cut(
    contents: list[bytes], preamble: bytes, cuts: list[int], every_byte: bool
) -> None:
    """Preamble and epilogue do not count; contents come back byte for byte."""
    body = preamble
    for number, content in enumerate(contents):
        fields = b"Content-Type: application/dicom\r\nX-Number:%d\r\n" % number if number % 2 else b""
        body += b"--" + BOUNDARY + b" \t\r\n" + fields + b"\r\n" + content + b"\r\n"
    body += b"--" + BOUNDARY + b"--\r\nepilogue\r\n--b0-x\r\n"
    parts, is_complete = parsed(body, [*range(len(body))] if every_byte else cuts)

    assert is_complete
    assert [content for _, content in parts] == contents
    for number, (fields, _) in enumerate(parts):
        assert fields == (
            {"content-type": "application/dicom", "x-number": str(number)} if number % 2 else {}
        )


@settings(max_examples=100, deadline=None)
@given(body=CONTENT, cuts=st.lists(st.integers(0, 400), max_size=20))
def test_any_bytes_are_parts_or_are_refused(body: bytes, cuts: list[int]) -> None:
    """Never another error, and the same one however it is cut."""
    whole = b"--" + BOUNDARY + b"\r\n" + body

    def outcome(places: list[int]) -> object:
        try:
            return parsed(whole, places)
        except MalformedBody:
            return "malformed"

    assert outcome(cuts) == outcome([])


def test_a_boundary_may_be_cut_anywhere() -> None:
    """Every split of a body in two, and byte by byte."""
    body = b"preamble\r\n--b0-x\r\nA: b\r\n\r\nabc\r\n--b0\r\n--b0-x\r\n\r\n\r\n--b0-x--\r\n"
    whole = ([({"a": "b"}, b"abc\r\n--b0"), ({}, b"")], True)

    for cuts in ([*range(len(body))], *([cut] for cut in range(len(body) + 1))):
        assert parsed(body, cuts) == whole


@pytest.mark.parametrize(
    "field", [b"A: x" + b" " * 8000 + b"x", b"A:" + b"\t " * 4000, b"A" + b" " * 8000 + b":"]
)
def test_a_head_is_read_in_no_time(field: bytes) -> None:
    """Blanks in it do not cost their square."""
    began = time.process_time()
    parts, _ = parsed((b"\r\n--b0-x\r\n" + field + b"\r\n\r\n") * 8 + b"\r\n--b0-x--", [])
    assert time.process_time() - began < 0.3
    assert [[*fields] for fields, _ in parts] == [["a"]] * 8


def test_a_part_without_content_may_end_with_its_head() -> None:
    """Some clients leave out the line end that belongs to the boundary."""
    assert parsed(b"--b0-x\r\nA: b\r\n\r\n--b0-x--", []) == ([({"a": "b"}, b"")], True)


@pytest.mark.parametrize(
    "body",
    [
        b"--b0-x\r\nA: b\r\n\r\nabc",
        b"--b0-x\r\nA: b",
        b"--b0-x",
        b"abc",
        b"",
        b"--b0-x\r\n\r\nabc\r\n--b0-x-",
    ],
)
def test_a_body_that_is_cut_short_is_not_complete(body: bytes) -> None:
    """Its last boundary has not come."""
    assert not parsed(body, [])[1]


@pytest.mark.parametrize(
    "body",
    [
        b"--b0-x\r\nno field\r\n\r\n",
        b"--b0-x\r\nA: " + b"x" * 9000 + b"\r\n\r\n",
        b"--b0-xx\r\n\r\n",
        b"--b0-x-\r\n\r\n",
        b"--b0-x" + b" " * 300 + b"\r\n\r\n",
    ],
)
def test_what_is_no_multipart_is_said(body: bytes) -> None:
    """However it comes."""
    for cuts in ([], [*range(len(body))]):
        with pytest.raises(MalformedBody):
            parsed(body, cuts)


def test_memory_does_not_grow_with_a_part() -> None:
    """What is held back is less than a boundary."""
    parser = MultipartParser(BOUNDARY)
    parser.feed(b"--b0-x\r\n\r\n")
    given_back = 0
    for _ in range(100):
        given_back += sum(
            len(event.data) for event in parser.feed(b"\r\n--b0" * 1000) if isinstance(event, PartData)
        )
        assert len(parser._held) < len(b"\r\n--b0-x")  # what the test is about
    assert given_back >= 600_000 - 8
