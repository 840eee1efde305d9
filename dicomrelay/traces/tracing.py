"""Takes the steps of this process and sends them to the collector from a thread of its own. Nothing waits for it."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from dicomrelay import __version__, metrics
from dicomrelay.log import get_logger
from dicomrelay.metrics.catalogue import SPANS
from dicomrelay.settings.traces import TraceSettings
from dicomrelay.traces.spans import Span, is_in, otlp, trace_id

_log = get_logger("dicomrelay.traces")
_MOST_WAITING: Final = 2048
_MOST_AT_ONCE: Final = 512
_EVERY_S: Final = 5.0
_LAST_S: Final = 1.0
_MOST_ANSWER_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class _To:
    settings: TraceSettings
    service: str


class Tracer:
    """Of one process; its thread begins with the first span."""

    def __init__(self, settings: TraceSettings, service: str) -> None:
        self._to = _To(settings, service)
        self._waiting: deque[Span] = deque()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._is_away = False

    @property
    def ratio(self) -> float:
        """Which part is traced."""
        return self._to.settings.ratio

    def take(self, span: Span) -> None:
        """One more; dropped when too many wait."""
        with self._lock:
            if len(self._waiting) >= _MOST_WAITING:
                metrics.add(SPANS, "dropped")
                return
            self._waiting.append(span)
            if self._thread is None:
                self._thread = threading.Thread(target=self._send_all, name="traces", daemon=True)
                self._thread.start()
            if len(self._waiting) >= _MOST_AT_ONCE:
                self._wake.set()

    def stop(self) -> None:
        """Send what is there, for a second at most."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_LAST_S)

    def _send_all(self) -> None:
        while True:
            self._wake.wait(_EVERY_S)
            self._wake.clear()
            is_last = self._stopping
            while batch := self._batch():
                self._send(batch)
            if is_last:
                return

    def _batch(self) -> list[Span]:
        with self._lock:
            return [self._waiting.popleft() for _ in range(min(_MOST_AT_ONCE, len(self._waiting)))]

    def _send(self, batch: list[Span]) -> None:
        body = otlp(batch, service=self._to.service, host=socket.gethostname(), version=__version__)
        try:
            post(self._to.settings, body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            metrics.add(SPANS, "dropped", by=len(batch))
            if not self._is_away:  # once, not every five seconds
                _log.warning("the collector of traces does not take them", reason=type(error).__name__)
            self._is_away = True
            return
        self._is_away = False
        metrics.add(SPANS, "sent", by=len(batch))


def post(settings: TraceSettings, body: bytes) -> None:
    """One request of OTLP over HTTP.

    Raises
    ------
    OSError, http.client.HTTPException, ValueError
        It was not taken, or cannot be sent with these settings.
    """
    url = urlsplit(settings.endpoint or "")
    host = url.hostname or ""
    headers = {"Content-Type": "application/json", "User-Agent": f"dicomrelay/{__version__}"}
    token = _token(settings)
    if token:
        headers["Authorization"] = f"Bearer {token}"
    path = (url.path or "/v1/traces") + (f"?{url.query}" if url.query else "")
    connection = (
        http.client.HTTPSConnection(
            host,
            url.port,
            timeout=settings.timeout_s,
            context=ssl.create_default_context(cafile=None if settings.ca is None else str(settings.ca)),
        )
        if url.scheme == "https"
        else http.client.HTTPConnection(host, url.port, timeout=settings.timeout_s)
    )
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read(_MOST_ANSWER_BYTES)
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        raise http.client.HTTPException(f"answered {answer.status}")


def _token(settings: TraceSettings) -> str:
    """Read for each batch: a token that is renewed is taken without a start."""
    if settings.token is not None:
        return settings.token.get_secret_value()
    if settings.token_file is None:
        return ""
    lines = settings.token_file.expanduser().read_text("ascii").splitlines()
    return lines[0].strip() if lines else ""


_OWN: list[Tracer] = []


def begin(settings: TraceSettings, service: str) -> None:
    """Trace from now on, in this process and its forks, where an endpoint is set; at the composition root of a service."""
    end()
    if settings.endpoint is not None and settings.ratio > 0:
        _OWN.append(Tracer(settings, service))


def end() -> None:
    """Trace no more."""
    while _OWN:
        _OWN.pop().stop()


def is_traced(item: str) -> bool:
    """Whether the way of that spool item is traced: for those who would compute something only for its span."""
    return bool(_OWN) and is_in(trace_id(item), _OWN[0].ratio)


def span(
    item: str,
    step: str,
    seconds: float,
    attributes: Mapping[str, str | int],
    *,
    about: str = "",
    attempt: int = 0,
    failed: bool = False,
) -> None:
    """A step of a spool item's way ended just now.

    Parameters
    ----------
    seconds : float
        How long it took.
    about, attempt : str, int
        What tells steps of one name apart.
    """
    if is_traced(item):
        now = time.time()
        _OWN[0].take(Span(item, step, now - seconds, now, attributes, about, attempt, failed))


def _after_fork() -> None:
    """A thread does not live on in a child, and what waited is the parent's to send."""
    for number, tracer in enumerate(_OWN):
        _OWN[number] = Tracer(tracer._to.settings, tracer._to.service)  # noqa: SLF001 - of this module


os.register_at_fork(after_in_child=_after_fork)
