"""What the streamer's app needs of the streams: both transports, and the way between its processes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from archive import Archive
from streamer.answers import HttpError, Receive, Scope, Send
from streamer.door import refuse
from streamer.open_frames import FrameCache
from streamer.streams import handover, http
from streamer.streams.messages import parse_objects
from streamer.streams.registry import Registry
from streamer.streams.websocket import serve_websocket

_WEBSOCKET_PATH: Final = re.compile(r"/streams/?")


class Streams:
    """The streams of one process.

    Parameters
    ----------
    most : int
        Streams at once.
    folder : Path, optional
        Where the processes of one streamer find each other; None when there is one process only.
    """

    def __init__(self, archive: Archive, cache: FrameCache, *, most: int, folder: Path | None = None) -> None:
        self._post = None if folder is None else handover.Post(folder, self._say)
        prefix = "" if self._post is None else f"{self._post.name}-"
        self._registry = Registry(archive, cache, most=most, prefix=prefix)

    async def start(self) -> None:
        """Listen for what other processes hand over."""
        if self._post is not None:
            await self._post.start()

    async def stop(self) -> None:
        """Listen no more."""
        if self._post is not None:
            await self._post.stop()

    @staticmethod
    def is_mine(scope: Scope) -> bool:
        """Whether a request is one for streams."""
        kind = scope["type"]
        return kind == "websocket" or (kind == "http" and http.PATH.fullmatch(scope["path"]) is not None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer it."""
        if scope["type"] == "http":
            await http.serve_http(self._registry, self._hand_over, scope, receive, send)
        elif _WEBSOCKET_PATH.fullmatch(scope["path"]):
            await serve_websocket(self._registry, scope, receive, send)
        else:
            await receive()
            await refuse(scope, send, HttpError(404, "there are WebSockets at /streams only"))

    async def _hand_over(self, name: str, body: bytes) -> bool:
        return self._post is not None and await self._post.hand_over(name, body)

    async def _say(self, name: str, body: bytes) -> bool:
        session = self._registry.find(name)
        if session is None:
            return False
        for words in parse_objects(body):
            await session.say(words)
        return True
