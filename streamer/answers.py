"""Answers in plain ASGI: JSON words for errors, headers that every answer has, and which error is which status."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
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

# No answer may be taken for a page, be framed, or be read by another origin's scripts.
SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
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
    """An error in words. What went wrong inside the house is for the log; an `HttpError` is written for the client."""
    status = status_of(error)
    words = (
        str(error)
        if status < 500 or isinstance(error, HttpError)
        else "the archive could not answer; the server's log says why"
    )
    return json.dumps({"status": status, "error": words}).encode()


async def send_whole(
    send: Send, status: int, content_type: bytes, body: bytes, *, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Send an answer that fits in memory."""
    length = (b"content-length", str(len(body)).encode())
    start = {
        "type": "http.response.start",
        "status": status,
        "headers": [(b"content-type", content_type), length, *headers],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: RelayError) -> None:
    """Send an error as JSON."""
    headers = error.headers if isinstance(error, HttpError) else ()
    await send_whole(send, status_of(error), b"application/json", error_body(error), headers=headers)


def secured(app: AsgiApp) -> AsgiApp:
    """The app with the headers that every answer has; without a body where HEAD was asked."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        is_head = scope["type"] == "http" and scope["method"] == "HEAD"

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *SECURITY_HEADERS]
            elif is_head and message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        await app(scope, receive, send_secured)

    return wrapped


def header_values(scope: Scope, name: bytes) -> list[str]:
    """The values of a request header."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]
