"""What a client takes, against what is stored (PS3.18 Section 8.7)."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from streamer.answers import HttpError
from streamer.media_types import (
    Choice,
    accepts,
    choose,
    frame_type,
    parse_accept,
    ranges_of,
    served_transfer_syntax,
)

J2K, EXPLICIT = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.1"
OCTETS, JP2 = "application/octet-stream", "image/jp2"


def chosen(accept: str, *, syntax: str = J2K, single: bool = True) -> Choice | None:
    types = tuple(dict.fromkeys((frame_type(syntax), OCTETS)))
    return choose(parse_accept([accept]), types=types, syntax_uid=syntax, may_be_single=single)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", Choice(JP2, True)),
        ("*/*", Choice(JP2, True)),
        ("multipart/related", Choice(JP2, True)),
        ('multipart/related; type="application/octet-stream"', Choice(OCTETS, True)),
        ('multipart/related; type="application/octet-stream"; transfer-syntax="*"', Choice(OCTETS, True)),
        (f'multipart/related;type="image/jp2";transfer-syntax={J2K}', Choice(JP2, True)),
        ("MULTIPART/RELATED; TYPE=image/jp2", Choice(JP2, True)),
        ('multipart/related; type="image/*"', Choice(JP2, True)),
        ("application/octet-stream", Choice(OCTETS, False)),
        (f"application/octet-stream; transfer-syntax={J2K}", Choice(OCTETS, False)),
        ("image/jp2", Choice(JP2, False)),
        ("image/jpeg;q=0.9, application/octet-stream;q=0.5", Choice(OCTETS, False)),
        ("image/jp2;q=0.1, multipart/related;q=0.9", Choice(JP2, True)),
        ("image/jpeg", None),
        ('multipart/related; type="image/jls"', None),
        (f"application/octet-stream; transfer-syntax={EXPLICIT}", None),
        ("application/octet-stream;q=0", None),
        ("application/octet-stream;q=0, image/jp2", Choice(JP2, False)),
        ("image/jpeg;q=0, */*;q=0", None),
        ("image/jp2;", Choice(JP2, False)),
        ('image/jpeg; a="x,y", image/jp2;q=0.1', Choice(JP2, False)),
        ("text/html", None),
    ],
)
def test_the_form_that_is_wanted_most_and_is_there_wins(accept: str, expected: Choice | None) -> None:
    """Nothing is transcoded, so what is stored decides."""
    assert chosen(accept) == expected


def test_several_frames_cannot_be_bare() -> None:
    """A bare answer has no parts."""
    assert chosen("application/octet-stream", single=False) is None
    assert chosen("application/octet-stream, multipart/related", single=False) == Choice(JP2, True)


@pytest.mark.parametrize(
    ("syntax", "media_type"),
    [
        ("1.2.840.10008.1.2.4.50", "image/jpeg"),
        ("1.2.840.10008.1.2.4.70", "image/jpeg"),
        ("1.2.840.10008.1.2.4.80", "image/jls"),
        ("1.2.840.10008.1.2.4.201", "image/jphc"),
        ("1.2.840.10008.1.2.5", "image/dicom-rle"),
        (EXPLICIT, OCTETS),
        ("1.2.3.4", OCTETS),
    ],
)
def test_each_transfer_syntax_has_its_media_type(syntax: str, media_type: str) -> None:
    """PS3.18 Table 8.7.3-5."""
    assert frame_type(syntax) == media_type


def test_native_frames_are_named_explicit_little_endian() -> None:
    """Whatever the data set is stored in, bare native frames are served one way."""
    for uid in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", EXPLICIT):
        assert served_transfer_syntax(uid) == EXPLICIT
    assert served_transfer_syntax(J2K) == J2K


def test_what_is_not_wanted_is_not_taken() -> None:
    """q=0 (RFC 9110 Section 12.4.2)."""
    assert not accepts(parse_accept(["application/json;q=0"]), "application/json")
    assert accepts(parse_accept(["text/html;q=0, application/json"]), "application/json")
    assert accepts(parse_accept([""]), "application/json")


@pytest.mark.parametrize("value", [" " * 4096, "a" * 4096, "a;" * 2048, ";" * 4096, '"' * 4095, "a/" * 2048])
def test_a_header_takes_the_time_of_its_length(value: str) -> None:
    """As often as it stands in a request: 60 KiB of it hold up nobody."""
    began = time.process_time()
    with suppress(HttpError):
        ranges_of([value] * 15)
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize(
    "accept", ['a/b; x="', ";;;,,,", "a" * 100_000, 'multipart/related; type="' + "a" * 10_000, "a/b;q=x"]
)
def test_a_malformed_header_is_no_error(accept: str) -> None:
    """It is read for what can be read, in no time."""
    parse_accept([accept])
