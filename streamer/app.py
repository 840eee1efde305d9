"""The streamer's composition root: routes over an archive, and the server that runs them.

Frames go by a road of their own (`streamer.frames`), everything else by Starlette. The server takes a listening socket, so
that a port in use is said in words, and leaves signals to its caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import socket
import ssl
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Final

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from archive import Archive
from archive.renditions.cache import RenditionCache
from archive.storage.opening import open_storage
from dicomrelay.access import Doorkeeper
from dicomrelay.audit import Audit
from dicomrelay.errors import RelayError, ServiceUnavailable
from dicomrelay.log import get_logger
from dicomrelay.net.acceptor import listen
from dicomrelay.net.tls import http_door
from dicomrelay.runtime import home
from dicomrelay.runtime.children import run_processes
from dicomrelay.settings import Settings, StreamerSettings, is_loopback
from streamer import frames
from streamer.answers import (
    PROBLEM_JSON,
    AsgiApp,
    HttpError,
    Receive,
    Scope,
    Send,
    error_body,
    problem,
    secured,
    status_of,
)
from streamer.audited import Witness
from streamer.bounds import BOUNDS, Bounds, bounded
from streamer.compression import compressed
from streamer.conditions import Caching
from streamer.descriptors import instances_kept_open
from streamer.door import guarded
from streamer.front_page import FrontPage
from streamer.host_check import for_this_host
from streamer.metered import metered
from streamer.open_frames import LARGEST, FrameCache
from streamer.rendered import AT_ONCE, Rendered
from streamer.request_line import told
from streamer.retrieve_routes import Retrieval
from streamer.search import Search
from streamer.stow.port import Intake
from streamer.stow.road import PATH, Stow
from streamer.streams.http import MOST_BODY_BYTES
from streamer.streams.protocol import WRITE_S, BoundedWebSocket
from streamer.streams.routes import Streams
from streamer.tls_listener import TlsListener
from streamer.viewer.ohif import Ohif
from streamer.viewer.pages import Viewer
from streamer.worklist import Schedule

_STOP_POLL_S: Final = 0.1
_GRACE_S: Final = 10
_SWITCH_S: Final = 0.0005
_IDLE_S: Final = 30
_DEFAULTS: Final = StreamerSettings()
_log = get_logger("dicomrelay.streamer")


def create_app(  # noqa: PLR0913 - the composition root: one for each part
    archive: Archive,
    *,
    only_host: str | None = None,
    settings: StreamerSettings = _DEFAULTS,
    streams_folder: Path | None = None,
    copies: Path | None = None,
    viewers: Path | None = None,
    kept: RenditionCache | None = None,
    rendered_at_once: int = AT_ONCE,
    kept_open: int = LARGEST,
    stow: Stow | None = None,
    schedule: Schedule | None = None,
    keeper: Doorkeeper | None = None,
    witness: Witness | None = None,
) -> AsgiApp:
    """Everything the streamer serves of an archive, as an ASGI app.

    Writes nothing but frame indexes that are not there yet, renditions, and what `stow` and `schedule` take. Archive and
    these stay their owner's to close.

    Parameters
    ----------
    only_host : str, optional
        On loopback, the name it listens as: requests for names of other machines are refused.
    settings : StreamerSettings
        Who may use it, and what clients may keep.
    streams_folder : Path, optional
        Where the processes of one streamer hand over what is said to streams; None for one process.
    copies : Path, optional
        Where copies in other transfer syntaxes are made; a temporary folder when not given.
    viewers : Path, optional
        Where OHIF is installed, if it is.
    kept : RenditionCache, optional
        Where renditions are kept; a small temporary folder when not given.
    rendered_at_once : int
        How many pictures are made at once.
    kept_open : int
        How many instances have their files open, at most and beside those in use.
    stow : Stow, optional
        Takes instances; None takes none.
    schedule : Schedule, optional
        The worklist; None has none.
    keeper : Doorkeeper, optional
        Knows the users of the house.
    witness : Witness, optional
        Tells the audit.

    Raises
    ------
    ConfigurationError
        Tokens or users cannot be read from their file.
    """
    cache = FrameCache(archive, largest=kept_open)
    caching = Caching(settings.cache)
    rendered = Rendered(archive, caching=caching, kept=kept, at_once=rendered_at_once)
    retrieval = Retrieval(
        archive,
        cache,
        caching=caching,
        copies=copies,
        render=rendered.wado_uri,
        renditions=rendered.renditions,
    )
    frame_road = frames.Frames(cache, caching=caching, transcoding=retrieval.transcoding)
    starlette = _starlette(archive, retrieval, rendered, viewers)
    starlette.state.public_url = settings.public_url
    starlette.state.stores = stow is not None
    others = compressed(starlette)
    planned = compressed(schedule) if schedule is not None else None
    streams = Streams(archive, cache, most=settings.streams, folder=streams_folder)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and frames.PATH.fullmatch(scope["path"]):
            await frame_road(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send, streams, (cache, retrieval, rendered))
        elif streams.is_mine(scope):
            await streams(scope, receive, send)
        elif stow is not None and stow.is_mine(scope):
            await stow(scope, receive, send)
        elif planned is not None and Schedule.is_mine(scope):
            await planned(scope, receive, send)
        else:
            await others(scope, receive, send)

    door = guarded(app, settings, keeper=keeper, witness=witness)
    whole = secured(door if only_host is None else for_this_host(door, name=only_host))
    return metered(told(whole, settings.request_log))


async def _lifespan(
    receive: Receive, send: Send, streams: Streams, opened: Iterable[FrameCache | Retrieval | Rendered]
) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await streams.start()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await streams.stop()
            for each in opened:
                each.close()
            await send({"type": "lifespan.shutdown.complete"})
            return


def _starlette(archive: Archive, retrieval: Retrieval, rendered: Rendered, viewers: Path | None) -> Starlette:
    search, front = Search(archive), FrontPage(archive)
    viewer, ohif = Viewer(front), Ohif(viewers)
    study = "/studies/{study}"
    series = study + "/series/{series}"

    def health(_request: Request) -> Response:
        try:
            archive.check_index()
        except ServiceUnavailable as error:
            _log.error("the index does not answer", action="streamer.health", error=str(error))
            return JSONResponse({"status": "unavailable", "index": "does not answer"}, status_code=503)
        return JSONResponse({"status": "ok", "index": "ok"})

    routes = (
        ("/", viewer.page),
        ("/plain", front.show),
        ("/viewer/names.json", viewer.names),
        ("/viewer/{name}", viewer.file),
        ("/ohif", ohif.enter),
        ("/ohif/{path:path}", ohif.file),
        ("/health", health),
        ("/studies", search.studies),
        ("/series", search.series),
        ("/instances", search.instances),
        (study + "/series", search.series),
        (study + "/instances", search.instances),
        (series + "/instances", search.instances),
        *retrieval.routes,
        *rendered.routes,
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
    headers = dict(_text(error.headers)) if isinstance(error, HttpError) else None
    return Response(error_body(error), status, media_type=PROBLEM_JSON.decode(), headers=headers)


def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this kind only
    where, headers = request.url.path, dict(error.headers or {})
    words = {404: f"there is nothing at {where[:200]}; see /"}
    if error.status_code == 405:
        stores = request.app.state.stores and PATH.fullmatch(where)
        headers["Allow"] = "GET, HEAD, POST" if stores else "GET, HEAD"
        words[405] = f"{request.method[:20]} is not for {where[:200]}, which takes {headers['Allow']}"
    body = problem(error.status_code, words.get(error.status_code, error.detail))
    return Response(body, error.status_code, headers=headers, media_type=PROBLEM_JSON.decode())


def _text(fields: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[str, str]]:
    return ((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)


class _Server(uvicorn.Server):
    """uvicorn, with signals left to whoever started it, and with TLS that is bounded before its handshake."""

    def __init__(
        self, config: uvicorn.Config, *, tls: Callable[[], ssl.SSLContext] | None, bounds: Bounds
    ) -> None:
        super().__init__(config)
        self._tls = tls
        self._bounds = bounds

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, for sockets that listen."""
        if self._tls is None:
            await super().startup(sockets=sockets)
            return
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(3)  # as uvicorn has it
        self.servers = [
            TlsListener(  # type: ignore[misc]  # what uvicorn asks of a server is to be closed
                each,
                protocol=self._protocol,
                context=self._tls,
                opened=self.server_state.connections,
                most=self._bounds.connections,
                handshake_s=self._bounds.head_s,
            )
            for each in sockets or []
        ]
        self.started = True

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made


def run(
    settings: Settings,
    *,
    ready: Callable[[], None],
    stop: threading.Event,
    bounds: Bounds = BOUNDS,
    intake: Intake | None = None,
) -> None:
    """Serve until `stop` is set; requests under way have ten seconds to finish.

    Parameters
    ----------
    ready : callable
        Called once requests are answered.
    bounds : Bounds
        What a connection may cost.
    intake : Intake, optional
        Where instances go that are stored by STOW-RS; None takes none. Closed at the end.

    Raises
    ------
    PortInUse, ConfigurationError
        The address cannot be listened on.
    ServiceUnavailable, ArchiveError
        The archive cannot be opened.
    """
    listener = listen(settings.streamer.host, settings.streamer.port)
    if settings.streamer.processes == 1:
        _serve_archive(settings, listener, ready=ready, stop=stop, bounds=bounds, intake=intake)
        return
    with contextlib.closing(listener):
        _check(settings)
        run_processes(
            "streamer",
            settings.streamer.processes,
            lambda stopping: _serve_archive(
                settings, listener, ready=_nothing, stop=stopping, bounds=bounds, intake=intake
            ),
            ready=ready,
            stop=stop,
            grace_s=_GRACE_S + _STOP_POLL_S + 1,
        )


def _check(settings: Settings) -> None:
    """What is wrong with the archive or the settings is said here, and not by a child."""
    with contextlib.closing(_open(settings)) as archive:
        create_app(archive, settings=settings.streamer, keeper=Doorkeeper(settings))
    if settings.streamer.tls is not None:
        http_door(settings.streamer.tls, "streamer.tls")


def _open(settings: Settings) -> Archive:
    return Archive.open(
        settings.archive_path,
        database_url=home.archive_url(settings),
        storage=open_storage(settings.archive, settings.archive_path),
    )


def _kept(settings: Settings) -> RenditionCache | None:
    """Where renditions are kept; nowhere for long when that cannot be written, as where the home is read-only."""
    try:
        settings.renditions_path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.renditions_path):
            pass
    except OSError as error:
        _log.warning(
            "renditions are kept in a temporary folder: renditions.path cannot be written",
            action="streamer.start",
            reason=error.strerror,
        )
        return None
    return RenditionCache(
        settings.renditions_path,
        max_bytes=settings.renditions.max_bytes,
        min_free_bytes=settings.gateway.min_free_bytes,
    )


def _nothing() -> None:
    """A child is ready when its parent is: the socket listens already."""


def _serve_archive(
    settings: Settings,
    listener: socket.socket,
    *,
    ready: Callable[[], None],
    stop: threading.Event,
    bounds: Bounds,
    intake: Intake | None,
) -> None:
    with contextlib.closing(listener), contextlib.ExitStack() as opened:
        archive = _open(settings)
        keeper, witness = Doorkeeper(settings), Witness(Audit(settings))
        stow = None
        if intake is not None:
            opened.enter_context(contextlib.closing(intake))
            stow = opened.enter_context(contextlib.closing(Stow(settings, intake, stored=witness.stored)))
            bounds = dataclasses.replace(bounds, upload_bytes=stow.body_bytes)
        schedule = opened.enter_context(contextlib.closing(Schedule(settings)))
        bounds = dataclasses.replace(bounds, order_bytes=schedule.body_bytes)
        host, port = listener.getsockname()[:2]
        tls, proxies = settings.streamer.tls, settings.streamer.proxies
        door = None if tls is None else http_door(tls, "streamer.tls")
        config = uvicorn.Config(
            create_app(
                archive,
                only_host=settings.streamer.host if is_loopback(host) else None,
                settings=settings.streamer,
                copies=settings.path("streamer", "copies"),
                streams_folder=settings.path("run", "streams"),
                viewers=settings.path("viewers"),
                kept=_kept(settings),
                rendered_at_once=settings.renditions.at_once,
                kept_open=instances_kept_open(bounds.connections),
                stow=stow,
                schedule=schedule,
                keeper=keeper,
                witness=witness,
            ),
            http=bounded(bounds),
            ws=BoundedWebSocket,
            ws_max_size=MOST_BODY_BYTES,
            ws_per_message_deflate=False,
            # A client may be busy with a frame, and answers when it reads again.
            ws_ping_timeout=WRITE_S,
            lifespan="on",
            log_config=None,
            # Its warnings are one for each bad request, as many as anybody likes to send; ours are counted.
            log_level=logging.ERROR,
            access_log=False,
            server_header=False,
            # Said by us, and by no variable of the environment.
            proxy_headers=bool(proxies),
            forwarded_allow_ips=proxies,
            # Work that goes on for connections that were dropped counts too; those that are open have a limit of their own.
            limit_concurrency=2 * bounds.connections,
            timeout_keep_alive=_IDLE_S,
            timeout_graceful_shutdown=_GRACE_S,
        )
        # A thread that has looked something up waits this long for the interpreter, and whoever asked waits with it.
        sys.setswitchinterval(_SWITCH_S)
        with contextlib.closing(archive), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            _log.info("streamer listens", action="streamer.start", host=host, port=port)
            if not is_loopback(host) and settings.streamer.access is None and not keeper.is_on:
                _log.warning(
                    "everybody who reaches this address sees every image: `dicomrelay users add`, or set [streamer.access]",
                    action="streamer.start",
                )
            if not is_loopback(host) and tls is None:
                _log.warning(
                    "what is said to this address can be read on the way: set [streamer.tls], or have a proxy with TLS in front",
                    action="streamer.start",
                )
            runner.run(
                _serve(_Server(config, tls=door, bounds=bounds), listener=[listener], ready=ready, stop=stop)
            )


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
