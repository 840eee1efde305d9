"""gzip for what is text, as it is made (RFC 9110 Section 8.4.1.3). Frames and instances go as they are."""

from __future__ import annotations

import asyncio
import re
import zlib
from typing import Final

from streamer.answers import AsgiApp, Message, Receive, Scope, Send, header_values

_LEAST_BYTES: Final = 1024
# Larger pieces are compressed in a thread, so that the others do not wait.
_LARGE_BYTES: Final = 64 * 1024
_LEVEL: Final = 3
_GZIP: Final = zlib.MAX_WBITS | 16
_TEXT: Final = re.compile(
    rb"(?:application/(?:dicom\+json|json|javascript|wasm)|text/(?:html|css|javascript|plain)|image/svg\+xml)\s*(?:;.*)?"
)
_CODING: Final = re.compile(r"\s*(gzip|\*)\s*(?:;\s*q\s*=\s*([0-9.]{1,5}))?\s*", re.ASCII | re.IGNORECASE)


def compressed(app: AsgiApp) -> AsgiApp:
    """The app with gzip for those who take it."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] == "http"
            and scope["method"] != "HEAD"
            and takes_gzip(header_values(scope, b"accept-encoding"))
        ):
            send = _Compressor(send)
        await app(scope, receive, send)

    return wrapped


def takes_gzip(values: list[str]) -> bool:
    """Whether Accept-Encoding has gzip, or anything, with a weight over 0."""
    found: dict[str, bool] = {}
    for entry in ",".join(values)[:4096].split(","):
        if matched := _CODING.fullmatch(entry):
            try:
                found[matched[1].lower()] = float(matched[2] or 1) > 0
            except ValueError:
                continue
    return found.get("gzip", found.get("*", False))


class _Compressor:
    """Holds back the start of an answer until its first piece says whether it is worth it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._packer: zlib._Compress | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if _is_text(message):
                self._start = message
                return
        elif message["type"] == "http.response.body":
            message = await self._body(message)
        await self._send(message)

    async def _body(self, message: Message) -> Message:
        body, is_last = message.get("body", b""), not message.get("more_body", False)
        if self._start is not None:
            start, self._start = self._start, None
            if len(body) >= _LEAST_BYTES or not is_last:
                self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
                start["headers"] = _packed_fields(start["headers"])
            await self._send(start)
        if self._packer is None:
            return message
        if len(body) > _LARGE_BYTES:
            packed = await asyncio.to_thread(self._packer.compress, body)
        else:
            packed = self._packer.compress(body)
        if is_last:
            packed += self._packer.flush()
        return {**message, "body": packed}


def _is_text(start: Message) -> bool:
    fields = dict(start.get("headers", ()))
    if start["status"] in {204, 206, 304} or b"content-encoding" in fields:
        return False
    return _TEXT.fullmatch(fields.get(b"content-type", b"").lower()) is not None


def _packed_fields(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Another length, another coding; a strong ETag says the same only weakly."""
    kept = []
    for name, value in fields:
        if name == b"etag" and not value.startswith(b"W/"):
            kept.append((name, b"W/" + value))
        elif name not in {b"content-length", b"accept-ranges"}:
            kept.append((name, value))
    return [*kept, (b"content-encoding", b"gzip"), (b"vary", b"Accept-Encoding")]
