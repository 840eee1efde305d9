"""A real streamer on a free port of loopback, and a client for it."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from dicomrelay.runtime.ports import free_ports
from dicomrelay.settings import Settings, StreamerSettings
from scp_gateway.web_intake import WebIntake
from streamer import app
from streamer.bounds import BOUNDS, Bounds


def free_port() -> int:
    """A port that nobody listens on."""
    return free_ports(1)[0]


@contextmanager
def running_streamer(home: Path, *, bounds: Bounds = BOUNDS, **more: Any) -> Iterator[httpx.Client]:
    """The streamer of a home, in a thread, until the block ends; with more settings of the streamer."""
    settings = Settings(home=home, streamer=StreamerSettings(port=free_port(), **more))
    with serving(settings, bounds=bounds) as client:
        yield client


@contextmanager
def serving(
    settings: Settings,
    *,
    bounds: Bounds = BOUNDS,
    stores: bool = False,
    wake: Callable[[], None] = lambda: None,
    ended: Callable[[Sequence[str]], None] | None = None,
    verify: ssl.SSLContext | bool = True,
) -> Iterator[httpx.Client]:
    """The streamer by its settings, in a thread, until the block ends; with what stores instances, if it `stores`.

    `verify` is the client's, where the streamer speaks TLS.
    """
    intake = WebIntake(settings, wake=wake, ended=ended) if stores else None
    ready, stop = threading.Event(), threading.Event()
    thread = threading.Thread(
        target=app.run,
        args=(settings,),
        kwargs={"ready": ready.set, "stop": stop, "bounds": bounds, "intake": intake},
    )
    thread.start()
    try:
        assert ready.wait(20), "the streamer did not become ready"
        scheme = "http" if settings.streamer.tls is None else "https"
        base = f"{scheme}://127.0.0.1:{settings.streamer.port}"
        with httpx.Client(base_url=base, timeout=30, verify=verify) as client:
            yield client
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive()


def parts(response: httpx.Response) -> list[tuple[str, bytes]]:
    """Content type and body of every part of a multipart answer, by its boundary alone."""
    kind = response.headers["content-type"]
    assert kind.startswith("multipart/related"), kind
    boundary = kind.partition("boundary=")[2].strip('"').encode()
    pieces = response.content.split(b"--" + boundary)
    assert pieces[0] == b"", pieces[0][:40]
    assert pieces[-1] == b"--\r\n", pieces[-1][:40]
    found = []
    for piece in pieces[1:-1]:
        head, _, body = piece.partition(b"\r\n\r\n")
        assert body.endswith(b"\r\n")
        found.append((head.strip().decode().removeprefix("Content-Type: "), body[:-2]))
    return found
