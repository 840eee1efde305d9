"""gzip for those who take it, without a network."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence

import pytest

from streamer.answers import Message, Receive, Scope, Send
from streamer.compression import compressed, takes_gzip

Fields = list[tuple[bytes, bytes]]


@pytest.mark.parametrize(
    ("values", "takes"),
    [
        ([], False),
        (["gzip"], True),
        (["GZIP;q=1"], True),
        (["br, gzip;q=0.1"], True),
        (["br", "gzip"], True),
        (["*"], True),
        (["*;q=0"], False),
        (["gzip;q=0, *"], False),
        (["gzip; q=0"], False),
        (["br, deflate"], False),
        (["gzip;q=."], False),
        (["x" * 10_000 + ",gzip"], False),
    ],
)
def test_who_takes_gzip_says_so(values: list[str], takes: bool) -> None:
    """RFC 9110 Section 12.5.3."""
    assert takes_gzip(values) is takes


def answered(
    fields: Fields, pieces: Sequence[bytes], status: int = 200
) -> tuple[dict[bytes, bytes], bytes, int]:
    """Header fields, body and number of messages of an answer in pieces, for a client that takes gzip."""
    sent: list[Message] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": fields})
        for number, piece in enumerate(pieces, start=1):
            await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "headers": [(b"accept-encoding", b"gzip")]}
    asyncio.run(compressed(app)(scope, receive, send))
    return dict(sent[0]["headers"]), b"".join(message["body"] for message in sent[1:]), len(sent)


JSON = (b"content-type", b"application/dicom+json")


def test_pieces_are_compressed_as_they_come() -> None:
    """None is held back, a large one neither; the length is no longer known and the ETag is weak."""
    pieces = [b"a" * 10, b"b" * 200_000, b""]

    fields, body, messages = answered([JSON, (b"content-length", b"200010"), (b"etag", b'"x"')], pieces)

    assert gzip.decompress(body) == b"".join(pieces)
    assert len(body) < 2000
    assert messages == 4
    assert b"content-length" not in fields
    assert (fields[b"content-encoding"], fields[b"etag"]) == (b"gzip", b'W/"x"')


@pytest.mark.parametrize(
    ("fields", "status", "body"),
    [
        ([JSON], 200, b"[]"),
        ([(b"content-type", b"application/octet-stream")], 200, b"x" * 5000),
        ([(b"content-type", b"image/png")], 200, b"x" * 5000),
        ([JSON, (b"content-encoding", b"br")], 200, b"x" * 5000),
        ([JSON], 206, b"x" * 5000),
    ],
)
def test_what_is_small_or_no_text_goes_as_it_is(fields: Fields, status: int, body: bytes) -> None:
    """Field for field and byte for byte."""
    found, sent, _ = answered(fields, [body], status)

    assert (found, sent) == (dict(fields), body)
