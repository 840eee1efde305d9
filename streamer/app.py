"""The streamer's composition root: routes over an archive, and the server that runs them.

Frames go by a road of their own (`streamer.frames`), everything else by Starlette. The server takes a listening socket, so
that a port in use is said in words, and leaves signals to its caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Generator
from typing import Final

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from archive import Archive
from archive.storage.opening import open_storage
from dicomrelay.errors import RelayError, ServiceUnavailable
from dicomrelay.log import get_logger
from dicomrelay.net.acceptor import listen
from dicomrelay.runtime import home
from dicomrelay.settings import Settings, is_loopback
from streamer import frames
from streamer.answers import AsgiApp, Receive, Scope, Send, error_body, secured, status_of
from streamer.bounds import BOUNDS, Bounds, bounded
from streamer.front_page import FrontPage
from streamer.host_check import for_this_host
from streamer.open_frames import FrameCache
from streamer.retrieve import Retrieve
from streamer.search import Search

_STOP_POLL_S: Final = 0.1
_GRACE_S: Final = 10
_IDLE_S: Final = 30
_log = get_logger("dicomrelay.streamer")


def create_app(archive: Archive, *, only_host: str | None = None) -> AsgiApp:
    """Everything the streamer serves of an archive, as an ASGI app.

    Writes nothing but frame indexes that are not there yet. The archive stays its owner's to close.

    Parameters
    ----------
    only_host : str, optional
        On loopback, the name it listens as: requests for names of other machines are refused.
    """
    cache = FrameCache(archive)
    frame_road = frames.Frames(cache)
    others = _starlette(archive)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and frames.PATH.fullmatch(scope["path"]):
            await frame_road(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send, cache)
        else:
            await others(scope, receive, send)

    return secured(app if only_host is None else for_this_host(app, name=only_host))


async def _lifespan(receive: Receive, send: Send, cache: FrameCache) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            cache.close()
            await send({"type": "lifespan.shutdown.complete"})
            return


def _starlette(archive: Archive) -> Starlette:
    search, retrieve, front = Search(archive), Retrieve(archive), FrontPage(archive)
    study = "/studies/{study}"
    series = study + "/series/{series}"
    instance = series + "/instances/{instance}"

    def health(_request: Request) -> Response:
        try:
            archive.check_index()
        except ServiceUnavailable as error:
            _log.error("the index does not answer", action="streamer.health", error=str(error))
            return JSONResponse({"status": "unavailable", "index": "does not answer"}, status_code=503)
        return JSONResponse({"status": "ok", "index": "ok"})

    routes = (
        ("/", front.show),
        ("/health", health),
        ("/studies", search.studies),
        ("/series", search.series),
        ("/instances", search.instances),
        (study, retrieve.several),
        (study + "/metadata", retrieve.metadata),
        (study + "/series", search.series),
        (study + "/instances", search.instances),
        (series, retrieve.several),
        (series + "/metadata", retrieve.metadata),
        (series + "/instances", search.instances),
        (instance, retrieve.instance),
        (instance + "/metadata", retrieve.metadata),
    )
    app = Starlette(
        routes=[Route(path, endpoint, methods=["GET"]) for path, endpoint in routes],
        exception_handlers={RelayError: _relay_error, HTTPException: _http_exception},
    )
    app.router.redirect_slashes = False
    return app


def _relay_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RelayError)  # noqa: S101 - registered for this kind only
    status = status_of(error)
    if status >= 500:
        _log.error("request failed", action="streamer.request", path=request.url.path, error=str(error))
    return Response(error_body(error), status, media_type="application/json")


def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this kind only
    words = {
        404: f"there is nothing at {request.url.path[:200]}; see /",
        405: "this server is read: GET or HEAD",
    }
    body = {"status": error.status_code, "error": words.get(error.status_code, error.detail)}
    return JSONResponse(body, error.status_code, headers=error.headers)


class _Server(uvicorn.Server):
    """uvicorn, with signals left to whoever started it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def run(
    settings: Settings, *, ready: Callable[[], None], stop: threading.Event, bounds: Bounds = BOUNDS
) -> None:
    """Serve until `stop` is set; requests under way have ten seconds to finish.

    Parameters
    ----------
    ready : callable
        Called once requests are answered.
    bounds : Bounds
        What a connection may cost.

    Raises
    ------
    PortInUse, ConfigurationError
        The address cannot be listened on.
    ServiceUnavailable, ArchiveError
        The archive cannot be opened.
    """
    listener = listen(settings.streamer.host, settings.streamer.port)
    with contextlib.closing(listener):
        archive = Archive.open(
            settings.archive_path,
            database_url=home.archive_url(settings),
            storage=open_storage(settings.archive, settings.archive_path),
        )
        host, port = listener.getsockname()[:2]
        config = uvicorn.Config(
            create_app(archive, only_host=settings.streamer.host if is_loopback(host) else None),
            http=bounded(bounds),
            ws="none",
            lifespan="on",
            log_config=None,
            # Its warnings are one for each bad request, as many as anybody likes to send; ours are counted.
            log_level=logging.ERROR,
            access_log=False,
            server_header=False,
            # Work that goes on for connections that were dropped counts too; those that are open have a limit of their own.
            limit_concurrency=2 * bounds.connections,
            timeout_keep_alive=_IDLE_S,
            timeout_graceful_shutdown=_GRACE_S,
        )
        with contextlib.closing(archive), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            _log.info("streamer listens", action="streamer.start", host=host, port=port)
            runner.run(_serve(_Server(config), listener=[listener], ready=ready, stop=stop))


async def _serve(
    server: uvicorn.Server, *, listener: list[socket.socket], ready: Callable[[], None], stop: threading.Event
) -> None:
    serving = asyncio.ensure_future(server.serve(sockets=listener))
    is_announced = False
    while not serving.done():
        if server.started and not is_announced:
            is_announced = True
            ready()
        if stop.is_set():
            server.should_exit = True
        await asyncio.wait((serving,), timeout=_STOP_POLL_S)
    await serving
