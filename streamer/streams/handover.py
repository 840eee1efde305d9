"""Words for a stream of another process of this streamer: the processes share one listening socket, so anyone may get them.

Each process listens on a Unix socket in a folder that only our user may enter. One exchange a connection: a line with the
stream's name, its length and the words; one byte back, 1 when the stream is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from dicomrelay.log import get_logger
from streamer.streams.http import MOST_BODY_BYTES

_NAME: Final = re.compile(r"([0-9a-f]{8})-[0-9a-f]{32}", re.ASCII)
_EXCHANGE_S: Final = 10
_LINE_BYTES: Final = 256
_YOUNG_S: Final = 60
_log = get_logger("dicomrelay.streamer")
Say = Callable[[str, bytes], Awaitable[bool]]


class Post:
    """Takes words from other processes, and gives them words.

    Parameters
    ----------
    folder : Path
        Made when it is not there, for our user only.
    say : callable
        Gives words to a stream of this process; whether there is one.
    """

    def __init__(self, folder: Path, say: Say) -> None:
        self.name = secrets.token_hex(4)
        self._folder = folder
        self._say = say
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            await asyncio.to_thread(self._sweep)
            self._server = await asyncio.start_unix_server(
                self._serve, self._path(self.name), limit=_LINE_BYTES
            )
        except OSError as error:
            # A path of more than 107 bytes, a file system without sockets: streams over HTTP go on without moves by chance.
            _log.warning(
                "streams over HTTP take further words in one process only",
                action="streamer.stream", error=str(error),
            )  # fmt: skip

    async def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
            self._path(self.name).unlink(missing_ok=True)

    async def hand_over(self, name: str, body: bytes) -> bool:
        """Give words to the process that has a stream; whether it took them."""
        matched = _NAME.fullmatch(name)
        if matched is None or matched[1] == self.name:
            return False
        try:
            async with asyncio.timeout(_EXCHANGE_S):
                reader, writer = await asyncio.open_unix_connection(self._path(matched[1]))
                try:
                    writer.write(f"{name} {len(body)}\n".encode() + body)
                    await writer.drain()
                    return await reader.read(1) == b"1"
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_EXCHANGE_S):
                name, _, size = (await reader.readline()).decode("ascii").partition(" ")
                if int(size) <= MOST_BODY_BYTES:
                    is_there = await self._say(name, await reader.readexactly(int(size)))
                    writer.write(b"1" if is_there else b"0")
                    await writer.drain()
        writer.close()

    def _sweep(self) -> None:
        """Remove the sockets of processes that were killed."""
        for path in self._folder.glob("*.sock"):
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                # One that was just made may not listen yet.
                if time.time() - path.stat().st_mtime > _YOUNG_S:
                    try:
                        probe.connect(str(path))
                    except ConnectionRefusedError:
                        path.unlink()

    def _path(self, process: str) -> Path:
        return self._folder / f"{process}.sock"
