"""`/metrics`, `/healthz` and `/readyz` over HTTP: a few threads, small requests, nothing else.

It is of the standard library: a gateway would not load a web server for three small pages. Everything is bounded: the time
and the size of a request, and how many are answered at once.
"""

from __future__ import annotations

import hmac
import socket
import ssl
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from dicomrelay.errors import ConfigurationError
from dicomrelay.log import get_logger
from dicomrelay.metrics import exposition
from dicomrelay.metrics.gathering import gather
from dicomrelay.net.acceptor import listen
from dicomrelay.net.tls import http_door
from dicomrelay.runtime.health import Health
from dicomrelay.settings import Settings
from dicomrelay.settings.streamer import TOKEN

_log = get_logger("dicomrelay.metrics")
_TIMEOUT_S: Final = 5.0
# For the whole of a request: one that comes a byte at a time has no place for ever.
_LONGEST_S: Final = 10.0
_OPEN_AT_ONCE: Final = 64
# Of answers that cost something; that we live costs nothing.
_AT_ONCE: Final = 8
_MOST_HEADERS_BYTES: Final = 8192
_TEXT: Final = "text/plain; charset=utf-8"


def token_of(settings: Settings) -> str:
    """What `/metrics` asks for; "" for nothing.

    Raises
    ------
    ConfigurationError
        metrics.token_file cannot be read, or holds none.
    """
    metrics = settings.metrics
    if metrics.token is not None:
        return metrics.token.get_secret_value()
    if metrics.token_file is None:
        return ""
    try:
        lines = metrics.token_file.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise ConfigurationError(
            f"metrics.token_file: {metrics.token_file}: cannot be read: {why}"
        ) from error
    if not lines or not TOKEN.fullmatch(lines[0].strip()):
        raise ConfigurationError(
            f"metrics.token_file: {metrics.token_file}: its first line is no token: 16 to 1024 of the characters "
            "A-Z a-z 0-9 . _ ~ + - (`openssl rand -hex 32` makes one)"
        )
    return lines[0].strip()


def shows_token(field: str | None, token: str) -> bool:
    """Whether an Authorization field has the token; True where none is asked for."""
    if not token:
        return True
    scheme, _, given = (field or "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


@contextmanager
def serving(settings: Settings, health: Health) -> Iterator[int | None]:
    """Answer while the block runs; yields the port, or None where metrics.port is 0.

    Raises
    ------
    PortInUse, ConfigurationError
        The address cannot be listened on, or the token cannot be read.
    """
    if not settings.metrics.port:
        yield None
        return
    token = token_of(settings)
    folder = settings.path("run", "metrics")
    tls = None if settings.metrics.tls is None else http_door(settings.metrics.tls, "metrics.tls")
    listener = listen(settings.metrics.host, settings.metrics.port)
    server = _Server(listener, health, lambda: exposition.render(gather(folder)), token, tls)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    port: int = listener.getsockname()[1]
    _log.info("metrics", action="metrics.listening", host=settings.metrics.host, port=port)
    try:
        yield port
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        listener: socket.socket,
        health: Health,
        figures: Callable[[], str],
        token: str,
        tls: Callable[[], ssl.SSLContext] | None,
    ) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.health = health
        self.figures = figures
        self.token = token
        self.tls = tls
        self.answers = threading.BoundedSemaphore(_AT_ONCE)
        self._lock = threading.Lock()
        self._open: OrderedDict[int, socket.socket] = OrderedDict()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own: TLS, and the request, within their time. Where all places are taken the oldest is cut."""
        late: threading.Timer | None = None
        try:
            if self.tls is not None:
                request.settimeout(_TIMEOUT_S)
                request = self.tls().wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            late = threading.Timer(_LONGEST_S, _cut, (request,))
            late.daemon = True
            late.start()
            self._place(request)
            if isinstance(request, ssl.SSLSocket):
                request.do_handshake()
            super().finish_request(request, client_address)
        finally:
            if late is not None:
                late.cancel()
            with self._lock:
                self._open.pop(id(request), None)
            if isinstance(request, ssl.SSLSocket):
                request.close()  # what the caller closes is empty

    def _place(self, request: socket.socket) -> None:
        with self._lock:
            self._open[id(request)] = request
            oldest = self._open.popitem(last=False)[1] if len(self._open) > _OPEN_AT_ONCE else None
        if oldest is not None:  # who drips shuts nobody out
            _cut(oldest)

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever asked is gone, or said something that is no HTTP: nothing of ours."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _TIMEOUT_S
    server_version, sys_version = "dicomrelay", ""
    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        """One request."""
        self.close_connection = True
        self.handle_one_request()

    def do_GET(self) -> None:
        """The three paths."""
        if sum(len(name) + len(value) for name, value in self.headers.items()) > _MOST_HEADERS_BYTES:
            self._answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "")
            return
        path = self.path.partition("?")[0]
        if path == "/healthz":
            self._answer(HTTPStatus.OK, "ok\n")
        elif path not in {"/metrics", "/readyz"}:
            self._answer(HTTPStatus.NOT_FOUND, "there are /metrics, /healthz and /readyz\n")
        elif not self.server.answers.acquire(blocking=False):
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{_AT_ONCE} ask already: ask again\n")
        else:
            try:
                self._costly(path)
            finally:
                self.server.answers.release()

    def _costly(self, path: str) -> None:
        if path == "/readyz":
            report = self.server.health.report()
            status = HTTPStatus.OK if report.is_ready else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, report.text())
        elif shows_token(self.headers.get("Authorization"), self.server.token):
            self._answer(HTTPStatus.OK, self.server.figures(), exposition.CONTENT_TYPE)
        else:
            self._answer(HTTPStatus.UNAUTHORIZED, "show the token of metrics.token\n")

    do_HEAD = do_GET  # noqa: N815 - the names that the base class looks for

    def _answer(self, status: HTTPStatus, text: str, kind: str = _TEXT) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Connection", "close")
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Not a line for each scrape."""


def _cut(sock: socket.socket) -> None:
    """Whoever reads from it is woken."""
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # of TLS too, which is not asked to say goodbye
