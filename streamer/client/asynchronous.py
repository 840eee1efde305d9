"""The client for asyncio, over WebSocket."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from streamer.client import steering
from streamer.client.assembly import (
    LARGEST_FRAME_BYTES,
    Assembly,
    Frame,
    Request,
    StreamEnded,
    StreamError,
    Words,
    refused,
)
from streamer.streams.wire import HEADER_BYTES, LARGEST_WORDS_BYTES, SUBPROTOCOL, WireError, decode_header


class AsyncStreamClient:
    """A stream: `async with` it, `open` requests, and take frames with `async for`.

    Parameters
    ----------
    url : str
        The streamer, such as `http://127.0.0.1:8080`.
    token, user :
        A bearer token, or name and password, where the streamer asks for one.
    window : int, optional
        Bytes that may be under way at most. Without, TCP alone holds the server back.
    largest_frame : int
        A frame of more bytes is an error.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        user: tuple[str, str] | None = None,
        window: int | None = None,
        largest_frame: int = LARGEST_FRAME_BYTES,
    ) -> None:
        self._server = steering.server(url, token=token, user=user)
        self._window = steering.Window(window)
        self._assembly = Assembly(largest_frame=largest_frame)
        self._connection: ClientConnection | None = None
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Connect.

        Raises
        ------
        StreamRefused
            The server lets nobody in, or has as many streams as it may.
        StreamError
            Who answers there is no streamer.
        StreamEnded
            It was closed at once.
        OSError
            It cannot be reached.
        """
        try:
            self._connection = await self._stack.enter_async_context(
                connect(
                    self._server.websocket_url,
                    subprotocols=[Subprotocol(SUBPROTOCOL)],
                    additional_headers=self._server.headers,
                    compression=None,
                    max_size=LARGEST_WORDS_BYTES,
                    proxy=None,
                )
            )
        except InvalidStatus as error:
            raise refused(error.response.status_code, error.response.body or b"") from error
        except InvalidHandshake as error:
            raise StreamError(f"{self._server.websocket_url} speaks no WebSocket: {error}") from error
        try:
            await self._say(self._window.first())
        except BaseException:
            await self._stack.aclose()  # __aexit__ is not called
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the stream."""
        await self._stack.aclose()

    async def open(
        self,
        study: str,
        *,
        series: str | None = None,
        instances: Sequence[str] | None = None,
        frames: tuple[int, int] | None = None,
        primary: int | tuple[str, int] = 0,
        order: str = "outward",
        weight: int = 1,
        paused: bool = False,
    ) -> Request:
        """Ask for the frames of a study, a series or some instances.

        Parameters
        ----------
        frames : (int, int), optional
            The first and the last frame of each instance, from 1; all by default.
        primary : int or (str, int)
            What is wanted first: a position from 0, or a SOP Instance UID and a frame number.
        order : str
            "outward" from the primary index, "forward" or "backward".
        weight : int
            1 to 100: the share beside other requests.
        """
        request, words = self._assembly.open(
            study, series=series, instances=instances, frames=frames,
            primary=primary, order=order, weight=weight, paused=paused,
        )  # fmt: skip
        await self._say([words])
        return request

    async def move(self, request: Request, primary: int | tuple[str, int]) -> None:
        """Have frames go on from another primary index."""
        await self._say([steering.move(request, primary)])

    async def weigh(self, request: Request, weight: int) -> None:
        """Give a request another share."""
        await self._say([steering.weigh(request, weight)])

    async def pause(self, request: Request) -> None:
        """Have no more frames of a request, until `resume`."""
        await self._say([steering.named("pause", request)])

    async def resume(self, request: Request) -> None:
        """Have its frames again."""
        await self._say([steering.named("resume", request)])

    async def cancel(self, request: Request) -> None:
        """End a request, in the middle of a frame too."""
        await self._say([steering.named("cancel", request)])

    async def __aiter__(self) -> AsyncIterator[Frame]:
        """Frames as they come, until every request has ended.

        Raises
        ------
        StreamRefused
            The server did not do what it was asked for. The others go on: iterate again.
        StreamEnded
            The connection ended before.
        StreamError
            The server sent what makes no sense.
        """
        while not self._assembly.is_idle:
            try:
                message = await self._open_connection().recv()
            except ConnectionClosed as error:
                raise StreamEnded(f"the stream ended early: {error}") from error
            if isinstance(message, str):
                self._assembly.hear(message)
                continue
            try:
                header = decode_header(message)
            except WireError as error:
                raise StreamError(str(error)) from error
            frame = self._assembly.piece(header, memoryview(message)[HEADER_BYTES:])
            await self._say(self._window.took(header.payload_bytes))
            if frame is not None:
                yield frame

    async def _say(self, listed: Sequence[Words]) -> None:
        try:
            for words in listed:
                await self._open_connection().send(json.dumps(words))
        except ConnectionClosed as error:
            raise StreamEnded(f"the stream ended early: {error}") from error

    def _open_connection(self) -> ClientConnection:
        if self._connection is None:
            raise StreamError("the stream is not open: use it in an async with block")
        return self._connection
