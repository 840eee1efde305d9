"""What the streamer's requests come to, for Prometheus: by route, never by path (docs/design/metrics.md)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

from dicomrelay import metrics
from dicomrelay.metrics.catalogue import HTTP_BYTES, HTTP_OPEN, HTTP_REQUESTS, HTTP_SECONDS
from streamer.answers import AsgiApp, Message, Receive, Scope, Send
from streamer.zero_copy import EXTENSION

# What stands last in a path of DICOMweb, and by that which route it is (PS3.18 Section 10.1.1).
_BY_END: Final = {
    "metadata": "metadata",
    "rendered": "rendered",
    "thumbnail": "rendered",
    "studies": "search",
    "series": "search",
    "instances": "search",
}
_BY_BEGINNING: Final = {
    "streams": "streams",
    "worklist": "worklist",
    "viewer": "viewer",
    "ohif": "viewer",
    "plain": "viewer",
    "": "viewer",
    "health": "health",
    "wado": "instances",
}
_OF_AN_INSTANCE: Final = re.compile(r"/(?:frames|bulk|bulkdata)/")


def route_of(method: str, path: str) -> str:
    """One of `catalogue.ROUTES`."""
    parts = path[1:].split("/", 1)
    first = parts[0]
    if first != "studies":
        found = _BY_BEGINNING.get(first)
        return found or ("search" if first in {"series", "instances"} and len(parts) == 1 else "other")
    if method == "POST":
        return "store"
    last = path.rpartition("/")[2]
    found = _BY_END.get(last)
    if found is not None:
        return found
    kind = _OF_AN_INSTANCE.search(path)
    return "frames" if kind is not None and kind[0] == "/frames/" else "instances"


def metered(app: AsgiApp, *, clock: Callable[[], float] = time.monotonic) -> AsgiApp:
    """The app, counted: outside of everything, so that what the door refuses is counted too."""

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await app(scope, receive, send)
            return
        route = route_of(scope.get("method", "GET"), scope["path"])
        began = clock()
        status, size = "none", 0

        async def noted(message: Message) -> None:
            nonlocal status, size
            kind = message["type"]
            if kind == "http.response.body":
                size += len(message.get("body", b""))
            elif kind == EXTENSION:
                size += message.get("count", 0)
            elif kind == "http.response.start":
                status = f"{message['status'] // 100}xx"
            elif kind == "websocket.accept":
                status = "1xx"
            await send(message)

        metrics.add(HTTP_OPEN)
        try:
            await app(scope, receive, noted)
        finally:
            metrics.add(HTTP_OPEN, by=-1)
            metrics.add(HTTP_REQUESTS, route, status)
            if size:
                metrics.add(HTTP_BYTES, route, by=size)
            if scope["type"] == "http":
                metrics.observe(HTTP_SECONDS, clock() - began, route)

    return counted
