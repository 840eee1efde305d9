"""Requests are counted by route; no path, and so no UID, becomes a label."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomrelay import metrics
from dicomrelay.metrics import catalogue, recorder
from dicomrelay.metrics.gathering import Gathered, gather
from streamer.answers import Message, Receive, Scope, Send
from streamer.metered import metered, route_of
from streamer.zero_copy import EXTENSION

OF = "/studies/1.2/series/1.2.3/instances/1.2.3.4"


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", f"{OF}/frames/1,2", "frames"),
        ("GET", OF, "instances"),
        ("GET", f"{OF}/bulkdata/7FE00010", "instances"),
        ("GET", "/studies/1.2", "instances"),
        ("GET", f"{OF}/metadata", "metadata"),
        ("GET", f"{OF}/rendered", "rendered"),
        ("GET", f"{OF}/frames/3/rendered", "rendered"),
        ("GET", "/studies/1.2/thumbnail", "rendered"),
        ("GET", "/studies", "search"),
        ("GET", "/studies/1.2/series", "search"),
        ("GET", "/series", "search"),
        ("GET", "/instances", "search"),
        ("POST", "/studies", "store"),
        ("POST", "/studies/1.2", "store"),
        ("GET", "/streams", "streams"),
        ("GET", "/streams/0-aa", "streams"),
        ("GET", "/worklist/00ff", "worklist"),
        ("GET", "/", "viewer"),
        ("GET", "/ohif/app.js", "viewer"),
        ("GET", "/wado", "instances"),
        ("GET", "/health", "health"),
        ("GET", "/series/../../etc/passwd", "other"),
        ("GET", "/wp-login.php", "other"),
        ("GET", "", "viewer"),
    ],
)
def test_a_path_has_a_route(method: str, path: str, route: str) -> None:
    """Of a closed list."""
    assert route_of(method, path) == route
    assert route in catalogue.ROUTES


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    metrics.begin(tmp_path / "metrics", "streamer")
    yield tmp_path / "metrics"
    recorder.end()


def ask(messages: list[Message], path: str = OF, kind: str = "http", fails: bool = False) -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        if fails:
            raise ConnectionError("gone")

    async def nothing(_: Message | None = None) -> Message:
        return {}

    scope = {"type": kind, "method": "GET", "path": path}
    asyncio.run(metered(app)(scope, nothing, nothing))  # type: ignore[arg-type]


def counted(folder: Path) -> Gathered:
    return gather(folder)


def test_bytes_are_counted_however_they_are_sent(folder: Path) -> None:
    """From memory, and from a file by the kernel."""
    start: Message = {"type": "http.response.start", "status": 206}
    ask([start, {"type": EXTENSION, "count": 1000}, {"type": "http.response.body", "body": b"12345"}])

    found = counted(folder)

    assert found.of(catalogue.HTTP_REQUESTS) == {("instances", "2xx"): [1]}
    assert found.of(catalogue.HTTP_BYTES)[("instances",)] == [1005]
    assert sum(found.of(catalogue.HTTP_SECONDS)[("instances",)][:-1]) == 1
    assert found.of(catalogue.HTTP_OPEN) == {(): [0]}


def test_a_request_that_ends_by_an_error_is_counted_too(folder: Path) -> None:
    """And is open no more."""
    with pytest.raises(ConnectionError):
        ask([], path="/studies", fails=True)

    assert counted(folder).of(catalogue.HTTP_REQUESTS) == {("search", "none"): [1]}
    assert counted(folder).of(catalogue.HTTP_OPEN) == {(): [0]}


def test_a_websocket_has_no_seconds(folder: Path) -> None:
    """It lasts as long as somebody looks."""
    ask([{"type": "websocket.accept"}], path="/streams", kind="websocket")

    assert counted(folder).of(catalogue.HTTP_REQUESTS) == {("streams", "1xx"): [1]}
    assert counted(folder).of(catalogue.HTTP_SECONDS) == {}
