"""One line in the log for each request, at its end: by route and study, never by path or query (docs/design/logs.md)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final, Literal

from dicomrelay.log import get_logger
from streamer.answers import AsgiApp, Message, Receive, Scope, Send
from streamer.audited import CALLER, address_of
from streamer.metered import route_of
from streamer.zero_copy import EXTENSION

_log = get_logger("dicomrelay.streamer")

_STUDY: Final = re.compile(r"/studies/([0-9]+(?:\.[0-9]+){1,31})(?:/|$)")
# They have a line of their own.
_TOLD_ELSEWHERE: Final = frozenset({"store", "worklist"})
_MANY: Final = frozenset({"frames", "instances", "health"})
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
RequestLog = Literal["all", "but_frames", "none"]


def told(app: AsgiApp, which: RequestLog, *, clock: Callable[[], float] = time.monotonic) -> AsgiApp:
    """The app, with a line for each request that `which` wants; outside of the door, for what it refuses too."""
    if which == "none":
        return app

    async def seen(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        route = route_of(scope["method"], scope["path"])
        began, status, size = clock(), 0, 0

        async def noted(message: Message) -> None:
            nonlocal status, size
            kind = message["type"]
            if kind == "http.response.body":
                size += len(message.get("body", b""))
            elif kind == EXTENSION:
                size += message.get("count", 0)
            elif kind == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await app(scope, receive, noted)
        finally:
            is_well = 0 < status < 400
            if which == "all" or not (is_well and route in _MANY):
                _tell(scope, route, status, size, clock() - began)

    return seen


def _tell(scope: Scope, route: str, status: int, size: int, seconds: float) -> None:
    if route in _TOLD_ELSEWHERE and 0 < status < 400:
        return
    found = _STUDY.match(scope["path"])
    caller = scope.get(CALLER, "")
    _log.info(
        "request",
        action="request.answered" if status else "request.abandoned",
        method=scope["method"] if scope["method"] in _METHODS else "other",
        route=route,
        status=status or None,
        bytes=size,
        seconds=round(seconds, 3),
        peer_address=address_of(scope),
        **({"study_instance_uid": found[1]} if found and len(found[1]) <= 64 else {}),
        **({"user": caller} if caller else {}),
    )
