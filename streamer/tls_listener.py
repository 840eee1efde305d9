"""TLS in front of HTTP: a connection is counted before it has shaken hands, and has a time for it (docs/design/streamer-door.md).

`create_server(ssl=…)` would take any number of connections that say nothing, each with buffers of its own, and tell the
protocol of none of them before its handshake is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Sized
from typing import Final

from dicomrelay.log import get_logger

_log = get_logger("dicomrelay.streamer")
_AT_A_TIME: Final = 64
_REST_S: Final = 0.5
_SHUTDOWN_S: Final = 5.0
_TELL_EVERY_S: Final = 10.0


class TlsListener:
    """Takes connections of a socket that listens, and hands on those that have shaken hands.

    Parameters
    ----------
    protocol : callable
        A protocol for one connection; it sees the connection once TLS stands.
    context : callable
        The context of the next connection.
    opened : Sized
        Those that have shaken hands and are open.
    most : int
        Open and shaking hands at once; one more is closed.
    handshake_s : float
        How long a handshake may take, in seconds.
    """

    def __init__(
        self,
        listener: socket.socket,
        *,
        protocol: Callable[[], asyncio.Protocol],
        context: Callable[[], ssl.SSLContext],
        opened: Sized,
        most: int,
        handshake_s: float,
    ) -> None:
        self._listener = listener
        self._protocol = protocol
        self._context = context
        self._opened = opened
        self._most = most
        self._handshake_s = handshake_s
        self._loop = asyncio.get_running_loop()
        self._shaking: set[asyncio.Task[None]] = set()
        self._rest: asyncio.TimerHandle | None = None
        self._failed, self._tell_at = 0, 0.0
        listener.setblocking(False)
        self._loop.add_reader(listener.fileno(), self._take)

    def close(self) -> None:
        """Take no more, and give up those that are shaking hands."""
        if self._rest is not None:
            self._rest.cancel()
        self._loop.remove_reader(self._listener.fileno())
        for task in self._shaking:
            task.cancel()

    async def wait_closed(self) -> None:
        """Until those are gone."""
        await asyncio.gather(*self._shaking, return_exceptions=True)

    def _take(self) -> None:
        for _ in range(_AT_A_TIME):
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptors left, or no memory: others may give some back
                self._tell(error.strerror or type(error).__name__)
                self._loop.remove_reader(self._listener.fileno())
                self._rest = self._loop.call_later(_REST_S, self._go_on)
                return
            if len(self._shaking) + len(self._opened) >= self._most:
                sock.close()
                self._tell(f"there are {self._most} connections already")
                continue
            task = self._loop.create_task(self._shake(sock))
            self._shaking.add(task)
            task.add_done_callback(self._shaking.discard)

    def _go_on(self) -> None:
        self._rest = None
        self._loop.add_reader(self._listener.fileno(), self._take)

    async def _shake(self, sock: socket.socket) -> None:
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(
                self._protocol,
                sock,
                ssl=self._context(),
                ssl_handshake_timeout=self._handshake_s,
                ssl_shutdown_timeout=_SHUTDOWN_S,
            )
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            with contextlib.suppress(OSError):
                sock.close()
            self._tell(getattr(error, "reason", None) or type(error).__name__)

    def _tell(self, why: str) -> None:
        # A line for each would let anybody fill the disk of the log.
        self._failed += 1
        now = self._loop.time()
        if now >= self._tell_at:
            failed, self._failed, self._tell_at = self._failed, 0, now + _TELL_EVERY_S
            _log.warning(
                "connections did not come to TLS", action="streamer.refuse", refused=failed, reason=why
            )
