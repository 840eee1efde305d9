"""Answers in plain ASGI: problem documents (RFC 9457), headers that every answer has, and which error is which status."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import Any, Final

from dicomrelay.errors import (
    ConfigurationError,
    FrameError,
    FrameOutOfRange,
    FramesNotAddressable,
    InstanceNotFound,
    RelayError,
    ServiceUnavailable,
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

# No answer may be taken for a page, be framed, be read by another origin's scripts, or be kept, unless a route says otherwise.
SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_WITHOUT_BODY: Final = frozenset({204, 304})
PROBLEM_JSON: Final = b"application/problem+json"
# From the most particular to the least.
_STATUS: Final = (
    (InstanceNotFound, 404),
    (FrameOutOfRange, 404),
    (FramesNotAddressable, 404),
    (ConfigurationError, 400),
    (ServiceUnavailable, 503),
    (FrameError, 500),
    (RelayError, 500),
)


class HttpError(RelayError):
    """An answer that is no success, with its status."""

    def __init__(self, status: int, message: str, *, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.headers = tuple(headers)


def status_of(error: RelayError) -> int:
    """The HTTP status for an error."""
    if isinstance(error, HttpError):
        return error.status
    return next(status for kind, status in _STATUS if isinstance(error, kind))


def error_body(error: RelayError) -> bytes:
    """An error as a problem document. What went wrong inside is for the log; an `HttpError` is written for the client."""
    status = status_of(error)
    words = (
        str(error)
        if status < 500 or isinstance(error, HttpError)
        else "the archive could not answer; the server's log says why"
    )
    return problem(status, words)


def problem(status: int, detail: str) -> bytes:
    """A problem document. Its type is about:blank, so its title is the phrase of the status (RFC 9457 Section 4.2.1)."""
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    return json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail}).encode()


async def send_whole(
    send: Send, status: int, content_type: bytes, body: bytes, *, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Send an answer that fits in memory."""
    fields = [(b"content-type", content_type)] if content_type else []
    if status not in _WITHOUT_BODY:
        fields.append((b"content-length", str(len(body)).encode()))
    start = {"type": "http.response.start", "status": status, "headers": [*fields, *headers]}
    await send(start)
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: RelayError) -> None:
    """Send an error as a problem document."""
    headers = error.headers if isinstance(error, HttpError) else ()
    await send_whole(send, status_of(error), PROBLEM_JSON, error_body(error), headers=headers)


def with_security(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer and those that every answer has; its own Cache-Control and policy stay, if it has them."""
    found = [*headers]
    names = {name for name, _ in found}
    found += [field for field in SECURITY_HEADERS if field[0] not in names]
    return found


def secured(app: AsgiApp) -> AsgiApp:
    """The app with the headers that every answer has; without a body where HEAD was asked."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        is_head = scope["type"] == "http" and scope["method"] == "HEAD"

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = with_security(message.get("headers", ()))
            elif is_head and message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        await app(scope, receive, send_secured)

    return wrapped


def header_values(scope: Scope, name: bytes) -> list[str]:
    """The values of a request header."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]
