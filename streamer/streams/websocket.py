"""Streams over WebSocket: words are text messages, pieces are binary ones."""

from __future__ import annotations

import asyncio

from dicomrelay.log import get_logger
from streamer.answers import HttpError, Receive, Scope, Send
from streamer.audited import looked_of
from streamer.door import refuse
from streamer.streams.messages import WordsError, parse_objects
from streamer.streams.registry import Registry
from streamer.streams.session import Session, StreamBrokenError
from streamer.streams.telling import encoded
from streamer.streams.wire import SUBPROTOCOL

_NORMAL, _UNSUPPORTED, _INVALID, _BROKEN = 1000, 1003, 1007, 1011
_log = get_logger("dicomrelay.streamer")


async def serve_websocket(registry: Registry, scope: Scope, receive: Receive, send: Send) -> None:
    """One stream, from the handshake to its end."""
    await receive()  # websocket.connect
    offered = scope.get("subprotocols", [])
    if offered and SUBPROTOCOL not in offered:
        await refuse(scope, send, HttpError(400, f"the subprotocol spoken here is {SUBPROTOCOL}"))
        return
    try:
        with registry.stream(looked_of(scope)) as session:
            await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if offered else None})
            listening = asyncio.ensure_future(_listen(session, receive))
            try:
                await _send_records(session, listening, send)
            finally:
                listening.cancel()
    except HttpError as error:
        await refuse(scope, send, error)


async def _send_records(session: Session, listening: asyncio.Task[int], send: Send) -> None:
    code = _NORMAL
    try:
        async for record in session.records():
            if isinstance(record, dict):
                await send({"type": "websocket.send", "text": encoded(record)})
            else:
                await send({"type": "websocket.send", "bytes": record})
        if listening.done():
            code = listening.result()
    except StreamBrokenError as error:
        _log.error("stream broken off", action="streamer.stream", error=str(error))
        code = _BROKEN
    except OSError:  # uvicorn's ClientDisconnected is one
        return
    if code:
        await send({"type": "websocket.close", "code": code})


async def _listen(session: Session, receive: Receive) -> int:
    """Hear the client until it is gone (0) or says what makes no sense (the close code)."""
    try:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return 0
            if message.get("text") is None:
                return _UNSUPPORTED
            try:
                listed = parse_objects(message["text"])
            except WordsError:
                return _INVALID
            for words in listed:
                await session.say(words)
    finally:
        session.end()
