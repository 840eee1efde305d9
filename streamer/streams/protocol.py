"""The WebSocket protocol of the server, with an end to everything: what waits to be sent, and how long it waits."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

WRITE_S: Final = 120
# A piece that was taken by the kernel cannot be called back when the client moves on.
_UNSENT_BYTES: Final = 128 * 1024


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """One connection whose client must take what is sent within 120 s."""

    _write_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the kernel to take little beyond what is on the wire."""
        super().connection_made(transport)
        hold_little(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_waiting()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not take it as fast as it is sent."""
        super().pause_writing()
        self._stop_waiting()
        self._write_deadline = self.loop.call_later(WRITE_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has taken it."""
        super().resume_writing()
        self._stop_waiting()

    def keepalive_timeout(self) -> None:
        """Nobody answers: what waits would not be taken either."""
        super().keepalive_timeout()
        self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None


def hold_little(transport: asyncio.BaseTransport) -> None:
    """Set TCP_NOTSENT_LOWAT, where there is such a thing."""
    sock = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if sock is not None and option is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, option, _UNSENT_BYTES)
