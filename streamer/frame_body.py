"""The body of an answer with frames: its length, its type, its pieces, and how they are sent (docs/design/hot-path.md)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Final

from archive.frame_index import FrameLocation
from archive.frame_reader import is_plain
from dicomrelay.errors import RelayError
from dicomrelay.log import get_logger
from streamer import media_types
from streamer.answers import Receive, Scope, Send
from streamer.conditions import Fields, wanted_span
from streamer.cut_short import CutShortError
from streamer.decoded_frames import DecodedFrames
from streamer.open_frames import OpenFrames
from streamer.pieces import FilePiece, frame_pieces, has_file_pieces
from streamer.zero_copy import EXTENSION, FILE_FOLLOWS

# Small frames travel together with their part headers.
_GATHER_BYTES: Final = 128 * 1024
_MOST_CUT: Final = 10_000
_BOUNDARY: Final = f"dicomrelay-{uuid.uuid4().hex}"
_log = get_logger("dicomrelay.streamer")


class FrameBody:
    """What is sent: stored frames, one range of one, or decoded ones."""

    def __init__(
        self, frames: OpenFrames, locations: list[FrameLocation], choice: media_types.Choice, syntax_uid: str
    ) -> None:
        self.frames = frames
        self.locations = locations
        self.is_multipart = choice.is_multipart
        part_type = f"{choice.part_type}; transfer-syntax={syntax_uid}"
        self.part_head = f"--{_BOUNDARY}\r\nContent-Type: {part_type}\r\n\r\n".encode()
        self.tail = f"--{_BOUNDARY}--\r\n".encode()
        self.content_type = (
            f'multipart/related; type="{choice.part_type}"; boundary={_BOUNDARY}'
            if self.is_multipart
            else part_type
        )
        self.status = 200
        self.content_range: tuple[bytes, bytes] | None = None
        self.decoded: DecodedFrames | None = None
        self._measure(sum(location.length_bytes for location in locations))

    def _measure(self, frame_bytes: int) -> None:
        self.length = frame_bytes
        if self.is_multipart:
            self.length += len(self.locations) * (len(self.part_head) + 2) + len(self.tail)

    @property
    def has_ranges(self) -> bool:
        """Whether some of its bytes can be sent alone: one frame, bare, as it stands in the file."""
        return (
            not self.is_multipart
            and self.decoded is None
            and is_plain(self.frames.index, self.locations[0])
            and self.locations[0].fragments <= _MOST_CUT
        )

    def cut(self, asked: Mapping[bytes, list[str]], etag: str) -> None:
        """Leave the range that is asked for, where it can be. Raises HttpError."""
        if b"range" not in asked or not self.has_ranges:
            return
        span = wanted_span(asked[b"range"], asked.get(b"if-range", ()), etag=etag, length=self.length)
        if span is None:
            return
        self.content_range = (b"content-range", span.content_range(self.length))
        self.status = 206
        cut = []
        position = 0
        for offset, length in self.frames.index.pieces(self.locations[0]):
            first, last = max(0, span.start - position), min(length, span.end - position)
            if first < last:
                cut.append(FrameLocation(offset + first, last - first, last - first))
            position += length
        self.locations = cut
        self.length = span.length

    def put(self, decoded: DecodedFrames) -> None:
        """Send these in place of what is stored."""
        self.decoded = decoded
        self._measure(decoded.count * decoded.frame_bytes)

    def has_files(self) -> bool:
        """Whether the kernel can send something of it from a file."""
        return self.decoded is None and any(
            has_file_pieces(self.frames, location) for location in self.locations
        )

    async def pieces(self, *, by_file: bool) -> AsyncIterator[bytes | FilePiece]:
        """What is sent, piece by piece."""
        for position, location in enumerate(self.locations):
            if self.is_multipart:
                yield self.part_head
            if self.decoded is not None:
                chunks = self.decoded.chunks(position)
                while chunk := await asyncio.to_thread(next, chunks, b""):
                    yield chunk
            else:
                async for piece in frame_pieces(self.frames, location, by_file=by_file):
                    yield piece
            if self.is_multipart:
                yield b"\r\n"
        if self.is_multipart:
            yield self.tail


async def send_body(scope: Scope, receive: Receive, send: Send, body: FrameBody, fields: Fields) -> None:
    """Send an answer.

    Raises
    ------
    CutShortError
        Something is wrong with the frames after the status went out: the answer has to end short of its length.
    """
    headers = [
        (b"content-type", body.content_type.encode()),
        (b"content-length", str(body.length).encode()),
        (b"accept-ranges", b"bytes" if body.has_ranges or body.content_range else b"none"),
        *fields,
    ]
    if body.content_range:
        headers.append(body.content_range)
    by_file = EXTENSION in scope.get("extensions", ()) and body.has_files()
    start = {"type": "http.response.start", "status": body.status, "headers": headers, FILE_FOLLOWS: by_file}
    await send(start)
    if scope["method"] == "HEAD":
        await send({"type": "http.response.body", "body": b""})
        return
    # What the kernel sends alone does not have to be told that nobody is there.
    is_watched = body.length > _GATHER_BYTES and not (by_file and len(body.locations) == 1)
    gone = asyncio.ensure_future(_disconnected(receive)) if is_watched else None
    try:
        await _send_pieces(send, body, by_file=by_file, gone=gone)
    except (RelayError, OSError, EOFError) as error:
        # The status is out already: ending short of the announced length is what tells the client.
        _log.error("frames cut short", action="streamer.frames", path=scope["path"], error=str(error))
        raise CutShortError("frames cut short") from None
    finally:
        if gone is not None:
            gone.cancel()


async def _send_pieces(
    send: Send, body: FrameBody, *, by_file: bool, gone: asyncio.Future[None] | None
) -> None:
    gathered: list[bytes] = []
    size, left = 0, body.length
    async for piece in body.pieces(by_file=by_file):
        if isinstance(piece, FilePiece):
            if gathered:
                await send({"type": "http.response.body", "body": _joined(gathered), "more_body": True})
            left -= size + piece.length
            gathered, size = [], 0
            await send(
                {
                    "type": EXTENSION,
                    "file": piece.descriptor,
                    "offset": piece.offset,
                    "count": piece.length,
                    "more_body": left > 0,
                }
            )
        else:
            gathered.append(piece)
            size += len(piece)
            if size >= _GATHER_BYTES:
                left -= size
                await send({"type": "http.response.body", "body": _joined(gathered), "more_body": left > 0})
                gathered, size = [], 0
        if gone is not None and gone.done():
            return
    if left > 0 or not body.length:
        await send({"type": "http.response.body", "body": _joined(gathered)})


def _joined(pieces: list[bytes]) -> bytes:
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
