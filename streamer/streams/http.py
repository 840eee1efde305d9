"""Streams over HTTP: the words in the body of a POST, the records in its answer, further words in other POSTs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from dicomrelay.errors import RelayError
from dicomrelay.log import get_logger
from streamer.answers import HttpError, Receive, Scope, Send, header_values, send_error, send_whole
from streamer.audited import looked_of
from streamer.cut_short import CutShortError
from streamer.streams.messages import WordsError, parse_objects
from streamer.streams.registry import Registry
from streamer.streams.session import Session, StreamBrokenError
from streamer.streams.telling import encoded
from streamer.streams.wire import MEDIA_TYPE, words_record

PATH: Final = re.compile(r"/streams(?:/([0-9a-z-]{1,80}))?", re.ASCII)
MOST_BODY_BYTES: Final = 256 * 1024
HandOver = Callable[[str, bytes], Awaitable[bool]]
_log = get_logger("dicomrelay.streamer")


async def serve_http(
    registry: Registry, hand_over: HandOver, scope: Scope, receive: Receive, send: Send
) -> None:
    """`POST /streams` and `POST /streams/{name}`."""
    try:
        if scope["method"] != "POST":
            raise HttpError(
                405, "streams are asked for: POST, or a WebSocket", headers=((b"allow", b"POST"),)
            )
        kinds = [value.partition(";")[0].strip().lower() for value in header_values(scope, b"content-type")]
        if kinds != ["application/json"]:
            # Also what keeps the forms of other sites out: a browser sends this type only after it has asked.
            raise HttpError(415, "words are application/json")
        matched = PATH.fullmatch(scope["path"])
        name = matched[1] if matched else None
        body = await _body(receive)
        try:
            listed = parse_objects(body)
        except WordsError as error:
            raise HttpError(400, str(error)) from error
        if name is not None:
            await _further(registry, hand_over, name, body, listed, send)
            return
        with registry.stream(looked_of(scope)) as session:
            await _stream(session, listed, receive, send)
    except RelayError as error:
        await send_error(send, error)


async def _further(
    registry: Registry,
    hand_over: HandOver,
    name: str,
    body: bytes,
    listed: list[Mapping[str, Any]],
    send: Send,
) -> None:
    session = registry.find(name)
    if session is not None:
        for words in listed:
            await session.say(words)
    elif not await hand_over(name, body):
        raise HttpError(404, "there is no stream of that name: it may have ended")
    await send_whole(send, 202, b"", b"")


async def _stream(session: Session, listed: list[Mapping[str, Any]], receive: Receive, send: Send) -> None:
    gone = asyncio.ensure_future(_disconnected(session, receive))
    said = asyncio.ensure_future(_say_all(session, listed))
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"x-accel-buffering", b"no")]
    try:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        # The first words go out at once; then it is known how many requests there are to wait for.
        await _send_all(session, said, send)
        await send({"type": "http.response.body", "body": b""})
    except (StreamBrokenError, OSError) as error:
        # No end of the chunks: the client sees that something is missing.
        if isinstance(error, StreamBrokenError):
            _log.error("stream broken off", action="streamer.stream", error=str(error))
        raise CutShortError("stream broken off") from None
    finally:
        said.cancel()
        gone.cancel()


async def _send_all(session: Session, said: asyncio.Task[None], send: Send) -> None:
    async for record in session.records(until=said.done):
        data = words_record(encoded(record).encode()) if isinstance(record, dict) else bytes(record)
        await send({"type": "http.response.body", "body": data, "more_body": True})


async def _say_all(session: Session, listed: list[Mapping[str, Any]]) -> None:
    for words in listed:
        await session.say(words)
    session.wake()


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HttpError(400, "the words were not whole")
        body += message.get("body", b"")
        if len(body) > MOST_BODY_BYTES:
            raise HttpError(413, f"words of more than {MOST_BODY_BYTES} bytes at once")
        if not message.get("more_body", False):
            return bytes(body)


async def _disconnected(session: Session, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    session.end()
