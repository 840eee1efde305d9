"""The stream clients before a server that is none."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from streamer.client import AsyncStreamClient, StreamClient, StreamError


@pytest.fixture(
    params=[b"220 mail.example ESMTP\r\n", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", b""],
    ids=["mail", "another protocol", "says nothing"],
)
def stranger(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of somebody who says the same to everybody, and hangs up."""

    def answer() -> None:
        while True:
            try:
                called, _ = listener.accept()
            except OSError:
                return
            with called:
                called.recv(65536)
                called.sendall(request.param)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def test_the_blocking_client_says_that_it_is_no_streamer(stranger: str) -> None:
    with pytest.raises(StreamError, match="speaks no WebSocket"), StreamClient(stranger):
        pass


def test_the_asyncio_client_says_that_it_is_no_streamer(stranger: str) -> None:
    async def ask() -> None:
        async with AsyncStreamClient(stranger):
            pass

    with pytest.raises(StreamError, match="speaks no WebSocket"):
        asyncio.run(ask())
