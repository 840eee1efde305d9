"""Flower's server and a crowd that says nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from ssl import SSLContext
from typing import Any

import pytest
from tornado.web import Application

from dicomrelay.net.tls import http_door
from dicomrelay.settings import HttpTlsSettings
from monitor import serving
from tests.support.certificates import Authority
from tests.support.streamer import free_port

MOST = 4


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_crowd_leaves_the_process_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_tls: bool
) -> None:
    """Who comes behind so many that are open is closed, and comes in when one of them has gone."""
    monkeypatch.setattr(serving, "_MOST_OPEN", MOST)
    tls: Callable[[], SSLContext] | None = None
    if is_tls:
        pair = Authority(tmp_path).issue("http")
        tls = http_door(HttpTlsSettings(certificate=pair.certificate, key=pair.key), "monitor.tls")
    port = free_port()

    async def closed(sock: socket.socket) -> bool:
        try:
            return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 1), 0.5) == b""
        except TimeoutError:
            return False

    async def crowd() -> None:
        bare: Any = Application([])
        server = serving.listen(bare, "127.0.0.1", port, tls=tls)
        with ExitStack() as opened:

            async def comes() -> socket.socket:
                sock = opened.enter_context(closing(socket.socket()))
                sock.setblocking(False)
                await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
                return sock

            there = [await comes() for _ in range(MOST)]
            assert not any([await closed(each) for each in there])
            assert await closed(await comes())
            there[0].close()
            await asyncio.sleep(0.2)
            assert not await closed(await comes())
        server.stop()
        await server.close_all_connections()

    asyncio.run(crowd())
