"""What a connection may cost before it has asked for anything: bytes, seconds and descriptors, counted as they arrive.

uvicorn buffers header fields of any size, waits without end for the first request, and counts connections only once a
request is whole. Here each of them has an end.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import ClassVar, Final

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from dicomrelay.log import get_logger
from streamer import zero_copy
from streamer.answers import PROBLEM_JSON, SECURITY_HEADERS, AsgiApp, problem
from streamer.cut_short import without_tracebacks

_log = get_logger("dicomrelay.streamer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The limits of the connections of one server.

    Parameters
    ----------
    head_bytes : int
        The request line and the header fields of one request, at most.
    body_bytes : int
        What follows them, where nothing takes a body: it is read only to be passed over.
    upload_bytes : int
        The content of a body that stores instances (`is_upload`); 0 where nothing does. Chunk frames may double it.
    order_bytes : int
        That of one that brings items of the worklist; 0 where nothing does.
    head_s : float
        From the connection, or the first byte after an answer, until the header fields are whole; in seconds.
    write_s : float
        How long a client may take nothing of an answer that waits for it; in seconds.
    connections : int
        Open at once; one more is told 503 and closed.
    pipelined : int
        Requests on one connection that wait for the answer to the one in front.
    """

    head_bytes: int = 64 * 1024
    body_bytes: int = 64 * 1024
    upload_bytes: int = 0
    order_bytes: int = 0
    head_s: float = 10
    write_s: float = 120
    connections: int = 256
    pipelined: int = 32


BOUNDS: Final = Bounds()


class _RefusedError(Exception):
    """Stops the parser; the answer is in `_refusal`."""


# STOW-RS (docs/design/stow.md). A path with escapes is not one of these, and has the small bound.
_UPLOADS: Final = re.compile(rb"/studies(/[^/%]+)?")
_ORDERS: Final = b"/worklist"
_TELL_EVERY_S: Final = 10
_DAMAGED: Final = (400, "this is no HTTP request")


class BoundedHttp(HttpToolsProtocol):
    """One connection, within `bounds`."""

    bounds: ClassVar[Bounds] = BOUNDS
    # Of all connections of a server: refusals that the log has not told yet, and when it may be told again.
    untold: ClassVar[int] = 0
    tell_at: ClassVar[float] = 0

    _is_head: bool = True
    _most_body_bytes: int = 0
    _taken: int = 0
    _refusal: tuple[int, str] = _DAMAGED
    _head_deadline: asyncio.TimerHandle | None = None
    _write_deadline: asyncio.TimerHandle | None = None
    _road: zero_copy.SecondRoad | None = None
    _is_upgraded: bool = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Start the clock of the first request; refuse one connection too many."""
        super().connection_made(transport)
        if zero_copy.is_possible(transport):
            self._road = zero_copy.SecondRoad(
                transport, self.loop, waiting=self._await_client, waited=self._client_goes_on
            )
        if len(self.connections) > self.bounds.connections:
            self._refuse(503, f"there are {self.bounds.connections} connections already: ask again later")
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._stop_waiting_for_head()
        self._stop_waiting_for_client()
        self._close_road()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the protocol behind this one."""
        if self._is_answering():
            # A pipelined handshake: the answer in front would be written between the messages.
            self.transport.abort()
            return
        self._is_upgraded = True
        self._stop_waiting_for_head()
        self._close_road()
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        """Give the parser no more than the part of the request that it is in may have."""
        while data and not self.transport.is_closing():
            bounds = self.bounds
            room = (bounds.head_bytes if self._is_head else self._most_body_bytes) - self._taken
            if room <= 0:
                self._refuse(*(self._head_too_large() if self._is_head else self._body_too_large()))
                return
            piece, data = data[:room], data[room:]
            # The callbacks below begin a new count; what is behind such an end in this piece is not in it.
            self._taken += len(piece)
            super().data_received(piece)
            if self._is_upgraded:
                return
        if self._head_deadline is None and not self._is_answering() and not self.transport.is_closing():
            self._await_head()

    def on_headers_complete(self) -> None:
        """Begin the answer, unless the request is one that nobody answers."""
        self._is_head, self._taken = False, 0
        self._most_body_bytes = self._most_of_this_body()
        self._stop_waiting_for_head()
        for name, value in self.headers:
            # The parser has refused what is no number, and what is more than 64 bits.
            # That of an upload is looked at where it is known who brings it, and what it may have.
            is_small = self._most_body_bytes == self.bounds.body_bytes
            if name == b"content-length" and is_small and int(value) > self._most_body_bytes:
                self._refusal = self._body_too_large()
                raise _RefusedError
        if len(self.pipeline) >= self.bounds.pipelined:
            self._refusal = (429, f"more than {self.bounds.pipelined} requests wait on this connection")
            raise _RefusedError
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next byte belongs to another request."""
        self._is_head, self._taken = True, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """See that the end of the answer is taken, where the connection ends with it."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._await_client()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing came after an answer."""
        super().timeout_keep_alive_handler()
        self._await_client()

    def pause_writing(self) -> None:
        """The client does not take the answer as fast as it is made."""
        super().pause_writing()
        self._await_client()

    def resume_writing(self) -> None:
        """The client has taken it."""
        super().resume_writing()
        self._client_goes_on()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words; ours are JSON
        """Answer what the parser stopped at."""
        self._refuse(*self._refusal)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: AsgiApp) -> None:  # type: ignore[override]
        if self._road is not None:
            app = zero_copy.with_files(app, cycle, self._road)
        super()._start_asgi_task(cycle, app)  # type: ignore[arg-type]  # the same, in our words

    def _close_road(self) -> None:
        if self._road is not None:
            self._road.close()
            self._road = None

    def _client_goes_on(self) -> None:
        if not self.transport.is_closing():
            self._stop_waiting_for_client()

    def _refuse(self, status: int, words: str) -> None:
        self._tell(status, words)
        if self._is_answering():
            # In the middle of another answer there is no place for words.
            self.transport.abort()
            return
        body = problem(status, words)
        fields = (
            (b"content-type", PROBLEM_JSON),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            *SECURITY_HEADERS,
        )
        head = b"".join(b"%s: %s\r\n" % field for field in fields)
        self.transport.write(STATUS_LINE[status] + head + b"\r\n" + body)
        self._close()

    def _tell(self, status: int, words: str) -> None:
        # A line for each would let anybody fill the disk of the log.
        server, now = type(self), self.loop.time()
        server.untold += 1
        if now >= server.tell_at:
            refused, server.untold, server.tell_at = server.untold, 0, now + _TELL_EVERY_S
            _log.warning(
                "requests refused", action="streamer.refuse", refused=refused, status=status, reason=words
            )

    def _most_of_this_body(self) -> int:
        bounds = self.bounds
        if self.parser.get_method() != b"POST":
            return bounds.body_bytes
        path = httptools.parse_url(self.url).path or b""
        most = 0
        if _UPLOADS.fullmatch(path):
            most = bounds.upload_bytes
        elif path == _ORDERS:
            most = bounds.order_bytes
        # What is longer than its content may be is refused where that is counted, with words.
        return 2 * most + bounds.body_bytes

    def _head_too_large(self) -> tuple[int, str]:
        return 431, f"the request line and header fields have more than {self.bounds.head_bytes} bytes"

    def _body_too_large(self) -> tuple[int, str]:
        most = self._most_body_bytes
        return 413, f"the body has more than the {most} bytes that are taken here"

    def _is_answering(self) -> bool:
        # None before the first request, whatever uvicorn declares.
        return self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr]

    def _await_head(self) -> None:
        self._head_deadline = self.loop.call_later(self.bounds.head_s, self._head_is_late)

    def _stop_waiting_for_head(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _head_is_late(self) -> None:
        if self._is_head and self._taken:
            self._refuse(408, f"the header fields were not whole after {self.bounds.head_s} s")
        else:
            self._close()

    def _await_client(self) -> None:
        self._stop_waiting_for_client()
        self._write_deadline = self.loop.call_later(self.bounds.write_s, self.transport.abort)

    def _stop_waiting_for_client(self) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None

    def _close(self) -> None:
        # What is written is still sent, but not for ever to somebody who does not read.
        self.transport.close()
        self._await_client()


def bounded(bounds: Bounds) -> type[BoundedHttp]:
    """The protocol for uvicorn, with limits of its own."""
    without_tracebacks()

    class Bounded(BoundedHttp):
        pass

    Bounded.bounds = bounds
    return Bounded
