"""Puts Flower together with our pages and the guard, without reading a command line, a file or the environment."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets
from tornado.routing import URLSpec
from tornado.web import StaticFileHandler

from dicomrelay.settings import Settings
from monitor import metrics_pages
from monitor.guard import guarded
from monitor.house import House
from monitor.loader import Loader

if TYPE_CHECKING:
    from celery import Celery
    from flower.app import Flower

_STATIC: Final = Path(__file__).parent / "static"
# A task is an event or two; the newest few thousand are what a person looks at (mher/flower issue 1305).
_MAX_TASKS: Final = 5000
_PURGE_S: Final = 60
_MOST_BODY: Final = 1 << 20
_IDLE_S: Final = 120
# Below what a process may have open: where that is reached tornado asks again at once, with a line in the log each time.
_MOST_OPEN: Final = 512


def built(settings: Settings, app: Celery) -> Flower:
    """Flower as an application that serves nothing yet.

    Raises
    ------
    ConfigurationError
        metrics.token_file cannot be read.
    ValueError
        This Flower is built in another way than the one that we know.
    """
    # Late: they look at the command line, and take half a second.
    from flower import app as flower_app  # noqa: PLC0415
    from flower import urls  # noqa: PLC0415
    from flower.options import options  # noqa: PLC0415

    from monitor.pages.attention import AttentionPage  # noqa: PLC0415
    from monitor.pages.doing import DoPage  # noqa: PLC0415
    from monitor.pages.studies import StudiesPage, SubjectPage  # noqa: PLC0415
    from monitor.pages.transfers import DestinationPage, TransfersPage  # noqa: PLC0415

    metrics_pages.install(settings)
    ours: list[URLSpec] = [
        URLSpec(r"/transfers", TransfersPage),
        URLSpec(r"/transfers/([^/]+)", DestinationPage),
        URLSpec(r"/studies", StudiesPage),
        URLSpec(r"/studies/([0-9A-Za-z.-]{1,64})", SubjectPage),
        URLSpec(r"/attention", AttentionPage),
        URLSpec(r"/do", DoPage),
        URLSpec(r"/relay-static/(.*)", StaticFileHandler, {"path": str(_STATIC)}),
    ]
    names = {each.regex.pattern for each in ours}
    # Flower's own door is not ours: `/login` makes a handler that no guard is before.
    names.add("/login/?$")
    theirs = [each for each in guarded(urls.handlers) if each.regex.pattern not in names]
    flower_app.default_handlers[:] = [*guarded(ours), *theirs]
    # The guard says who may, for each request: there may be users in a moment.
    options.read_only = False
    options.max_tasks = _MAX_TASKS
    options.purge_offline_workers = _PURGE_S
    facts: dict[str, Any] = {
        **urls.settings,
        "template_loader": Loader(Path(urls.settings["template_path"])),
        "xsrf_cookie_kwargs": {"samesite": "Strict", "secure": settings.monitor.tls is not None},
        "house": House.of(settings),
        "debug": False,
    }
    return flower_app.Flower(capp=app, options=options, **facts)


def listen(
    application: Flower, host: str, port: int, *, tls: Callable[[], ssl.SSLContext] | None = None
) -> HTTPServer:
    """Let it be asked.

    Parameters
    ----------
    tls : callable, optional
        The context of the next connection; None: without TLS.

    Raises
    ------
    OSError
        The address is taken, or is none of this machine.
    """
    bounds: dict[str, Any] = {
        "max_body_size": _MOST_BODY,
        "max_buffer_size": 2 * _MOST_BODY,
        "idle_connection_timeout": _IDLE_S,
    }
    # tornado's classes are made by a method of their base: what stands beside their arguments is set behind it.
    server = _Server(application, **bounds) if tls is None else _TlsServer(application, **bounds)
    if isinstance(server, _TlsServer):
        server.source = tls
    server.add_sockets(bind_sockets(port, address=host))
    return server


class _Server(HTTPServer):
    """With so many connections at once, those that shake hands among them; one more is closed."""

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """What tornado calls with each connection, before its handshake."""
        if len(self._connections) >= _MOST_OPEN:
            stream.close()
            return
        super().handle_stream(stream, address)


class _TlsServer(_Server):
    """With the certificate as it is when a connection comes. A handshake has the time that header fields have."""

    source: Callable[[], ssl.SSLContext] | None = None

    @property
    def ssl_options(self) -> ssl.SSLContext | None:
        """What tornado looks at for each connection."""
        return None if self.source is None else self.source()

    @ssl_options.setter
    def ssl_options(self, _value: object) -> None:
        """Tornado's own is not taken."""
