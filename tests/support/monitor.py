"""Flower with our pages, in a thread of this process: no broker, a ledger as a test has filled it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery

from dicomrelay.net.tls import http_door
from dicomrelay.settings import Settings
from tests.support.streamer import free_port


@contextmanager
def running_monitor(settings: Settings) -> Iterator[str]:
    """Its address, while the block runs."""
    port, ready, tls = free_port(), threading.Event(), settings.monitor.tls
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        from monitor.serving import built, listen  # noqa: PLC0415 - half a second, for those who need it

        # As `flower.run` does.
        logging.getLogger("tornado.access").disabled = True
        app = Celery("dicomrelay", broker="memory://", set_as_current=False)
        application = built(settings, app)
        server = listen(application, "127.0.0.1", port, tls=tls and http_door(tls, "monitor.tls"))
        ready.set()
        try:
            await stopped.wait()
        finally:
            server.stop()
            await server.close_all_connections()
            application.settings["house"].looks.close()
            application.executor.shutdown(wait=True)

    stopped = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    try:
        assert ready.wait(60)
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(20)
        assert not thread.is_alive()
        loop.close()
