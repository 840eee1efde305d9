"""sendfile under uvicorn: ASGI's `http.response.zerocopysend`, past the event loop's buffers (docs/design/hot-path.md).

uvloop has no sendfile, and a transport's socket cannot be written to beside it while its buffer holds something. So an answer
that says so in its start message goes out by a second descriptor of the same socket, from its first byte to its last.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from streamer.answers import AsgiApp, Message, Receive, Scope, Send

EXTENSION: Final = "http.response.zerocopysend"
# In a start message: the pieces of the body will come as files, with little between them.
FILE_FOLLOWS: Final = "dicomrelay.file"
# What one client may have put into the kernel before another has its turn.
TURN_BYTES: Final = 1024 * 1024
_MORE: Final = getattr(socket, "MSG_MORE", 0)


class SecondRoad:
    """Another descriptor of a connection's socket, for bytes that the transport shall not hold.

    Parameters
    ----------
    waiting, waited : callable
        Called when the socket takes no more, and when it does again.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        *,
        waiting: Callable[[], None],
        waited: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting, self._waited = waiting, waited
        self._socket: socket.socket | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._is_closed = False

    def close(self) -> None:
        """Give the descriptor back and wake whoever waits: the connection is lost."""
        self._is_closed = True
        if self._socket is not None:
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()
            self._socket = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def send(self, data: bytes, *, has_more: bool) -> None:
        """Send bytes. Raises OSError when the connection is gone."""
        view = memoryview(data)
        while view:
            try:
                sent = self._open().send(view, _MORE if has_more else 0)
            except BlockingIOError:
                await self._until_writable()
            else:
                view = view[sent:]

    async def send_file(self, descriptor: int, offset: int, count: int) -> None:
        """Send bytes of a file.

        Raises
        ------
        EOFError
            It ends before.
        OSError
            It cannot be read, or the connection is gone.
        """
        end = offset + count
        while offset < end:
            try:
                sent = os.sendfile(self._open().fileno(), descriptor, offset, min(TURN_BYTES, end - offset))
            except BlockingIOError:
                await self._until_writable()
                continue
            if not sent:
                raise EOFError(f"the file ends at byte {offset}, {end - offset} bytes before its frame")
            offset += sent
            if offset < end:
                await asyncio.sleep(0)

    def _open(self) -> socket.socket:
        if self._is_closed or self._transport.is_closing():
            raise ConnectionAbortedError("the connection is closed")
        if self._socket is None:
            theirs = self._transport.get_extra_info("socket")
            self._socket = socket.socket(fileno=os.dup(theirs.fileno()))
        return self._socket

    async def _until_writable(self) -> None:
        number = self._open().fileno()
        waiter = self._waiter = self._loop.create_future()
        self._loop.add_writer(number, _wake, waiter)
        self._waiting()
        try:
            await waiter
        finally:
            self._waiter = None
            if not self._is_closed:
                self._loop.remove_writer(number)
                self._waited()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def is_possible(transport: asyncio.Transport) -> bool:
    """Whether a connection has a second road: Linux, and nobody encrypts what is sent."""
    return (
        sys.platform == "linux"
        and transport.get_extra_info("sslcontext") is None
        and transport.get_extra_info("socket") is not None
    )


def with_files(app: AsgiApp, cycle: RequestResponseCycle, road: SecondRoad) -> AsgiApp:
    """The app, told of the extension and with a `send` that knows it, for one request."""

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("extensions", {})[EXTENSION] = {}
        await app(scope, receive, _Sender(cycle, road, send).send)

    return told


class _Sender:
    """The `send` of one answer."""

    def __init__(self, cycle: RequestResponseCycle, road: SecondRoad, send: Send) -> None:
        self._cycle = cycle
        self._road = road
        self._send = send
        self._by_road = False
        self._held = b""

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if (
            kind == "http.response.start"
            and message.get(FILE_FOLLOWS)
            and self._cycle.scope["method"] != "HEAD"
        ):
            await self._begin(message)
        elif not self._by_road:
            await self._send(message)
        elif not self._cycle.disconnected:
            await self._go_on(message)

    async def _begin(self, message: Message) -> None:
        cycle, kept = self._cycle, _Kept()
        transport = cycle.transport
        # uvicorn makes the status line and the header fields; what it would write is kept until the first bytes behind it.
        cycle.transport = kept  # type: ignore[assignment]
        try:
            await self._send(message)
        finally:
            cycle.transport = transport
        self._held = bytes(kept.written)
        self._by_road = True
        if transport.get_write_buffer_size() and not cycle.disconnected:
            transport.set_write_buffer_limits(high=0)
            await cycle.flow.drain()
            transport.set_write_buffer_limits()

    async def _go_on(self, message: Message) -> None:
        cycle = self._cycle
        has_more = bool(message.get("more_body"))
        is_file = message["type"] == EXTENSION
        count = message["count"] if is_file else len(message.get("body", b""))
        if cycle.chunked_encoding or count > cycle.expected_content_length:
            raise RuntimeError("Response content longer than Content-Length")
        cycle.expected_content_length -= count
        try:
            if is_file:
                file = message["file"]
                descriptor = file if isinstance(file, int) else file.fileno()
                await self._flush(has_more=True)
                await self._road.send_file(descriptor, message.get("offset", 0), count)
            else:
                self._held += message.get("body", b"")
                if not has_more or len(self._held) >= TURN_BYTES:
                    await self._flush(has_more=has_more)
        except ConnectionError:
            # As uvicorn has it: an application that goes on sending to nobody is not told.
            cycle.disconnected = True
            cycle.transport.abort()
            return
        if not has_more:
            await self._send({"type": "http.response.body", "body": b""})

    async def _flush(self, *, has_more: bool) -> None:
        held, self._held = self._held, b""
        await self._road.send(held, has_more=has_more)


class _Kept:
    """What stands in for the transport while header fields are made."""

    def __init__(self) -> None:
        self.written = bytearray()

    def write(self, data: bytes) -> None:
        self.written += data

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"a start message needs only write of its transport, not {name}")
