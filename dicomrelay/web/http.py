"""HTTP requests to one service: bounded in time and in what is kept of an answer. No redirects, no proxies, no cookies."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlsplit

import httpcore

from dicomrelay.errors import AssociationAborted, PeerBrokeProtocol
from dicomrelay.settings.dicomweb import port_of
from dicomrelay.web.stream import Backend, Waits

# Nobody is asked to be left alone for longer.
_LONGEST_RETRY_AFTER_S: Final = 3600.0
# An idle connection is not used any more when a server may be about to close it.
_KEPT_S: Final = 4.0


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a service answered.

    Attributes
    ----------
    status : int
        RFC 9110 Section 15.
    body : bytes
        As far as it was within the limit.
    is_whole : bool
        Whether that is all of it.
    media_type : str
        In small letters, without parameters.
    location : str
        Where it says that it is; "" when it does not.
    retry_after_s : float
        How long it wants to be left alone, 0 to 3600.
    tls : mapping
        `version`, and `notAfter` of its certificate; empty without TLS.
    """

    status: int
    body: bytes = b""
    is_whole: bool = True
    media_type: str = ""
    location: str = ""
    retry_after_s: float = 0.0
    tls: Mapping[str, str] | None = None


class HttpClient:
    """Requests from any number of threads, each on a connection of its own while it lasts.

    Parameters
    ----------
    url : str
        Of the service: words of errors say its scheme, host and port.
    tls : ssl.SSLContext, optional
        For https.
    connections : int
        At once.
    """

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | None,
        connect_s: float,
        response_s: float,
        connections: int = 1,
    ) -> None:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        self._waits = Waits(f"{parts.scheme}://{host}:{port_of(parts)}", connect_s, response_s)
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=_KEPT_S,
            network_backend=Backend(self._waits),
        )

    @property
    def where(self) -> str:
        """Scheme, host and port, for words."""
        return self._waits.where

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | Iterator[bytes] | None = None,
        *,
        limit: int,
    ) -> HttpAnswer:
        """Ask, and read the answer.

        Parameters
        ----------
        headers : mapping
            With Content-Length where `content` is an iterator.
        limit : int
            Bytes that are kept of an answer.

        Raises
        ------
        PeerUnreachable, TlsFailed, AssociationTimeout, AssociationAborted
            None came.
        PeerBrokeProtocol
            What came is no HTTP.
        Exception
            Whatever `content` raises.
        """
        self._waits.begin()
        sent = [("Host", urlsplit(url).netloc), ("Accept-Encoding", "identity"), *headers.items()]
        try:
            with self._pool.stream(method, url, headers=sent, content=content) as response:
                body, is_whole = _body(response, limit)
                return _answer(response, body, is_whole=is_whole)
        except httpcore.RemoteProtocolError as error:
            if self._waits.has_ended:
                raise AssociationAborted(f"{self.where} closed the connection without an answer") from error
            raise PeerBrokeProtocol(f"{self.where} speaks no HTTP/1.1", section="RFC 9112") from error

    def close(self) -> None:
        """End all connections."""
        self._pool.close()

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


def _body(response: httpcore.Response, limit: int) -> tuple[bytes, bool]:
    """What came, and whether it is all; the rest is not read."""
    found = bytearray()
    for piece in response.iter_stream():
        found += piece[: limit - len(found) + 1]
        if len(found) > limit:
            return bytes(found[:limit]), False
    return bytes(found), True


def _answer(response: httpcore.Response, body: bytes, *, is_whole: bool) -> HttpAnswer:
    headers = {name.lower(): value.decode("latin-1") for name, value in response.headers}
    return HttpAnswer(
        response.status,
        body,
        is_whole=is_whole,
        media_type=headers.get(b"content-type", "").partition(";")[0].strip().lower(),
        location=headers.get(b"location", ""),
        retry_after_s=retry_after_s(headers.get(b"retry-after", "")),
        tls=_tls(response.extensions.get("network_stream")),
    )


def _tls(stream: Any) -> Mapping[str, str] | None:
    secured = stream.get_extra_info("ssl_object") if stream is not None else None
    if secured is None:
        return None
    certificate = secured.getpeercert() or {}
    return {"version": secured.version() or "", "notAfter": str(certificate.get("notAfter", ""))}


def retry_after_s(text: str, *, now: datetime | None = None) -> float:
    """Retry-After (RFC 9110 Section 10.2.3) in seconds, 0 to 3600; 0 for what is none."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _LONGEST_RETRY_AFTER_S)
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return 0.0
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    seconds = (then - (now or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER_S)
