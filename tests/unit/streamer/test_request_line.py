"""The line of a request: what it says, and what it never says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from streamer.answers import Message, Receive, Scope, Send
from streamer.audited import CALLER
from streamer.request_line import RequestLog, told

FRAME = "/studies/1.2.3/series/1.4/instances/1.5/frames/1"


def lines(
    path: str, *, which: RequestLog = "but_frames", method: str = "GET", status: int = 200, query: str = ""
) -> list[dict[str, Any]]:
    """What one request leaves in the log."""

    async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
        scope[CALLER] = "user anna"
        if status:
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b"12345"})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(_message: Message) -> None:
        return None

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "client": ("10.0.0.1", 1),
        "headers": [],
    }
    with capture_logs() as found:
        asyncio.run(told(answer, which)(scope, receive, send))
    return [dict(each) for each in found]


def test_a_request_is_one_line_with_all_that_is_known() -> None:
    """Who, what, which study, how it ended."""
    (line,) = lines("/studies/1.2.3/metadata")
    assert line.pop("seconds") >= 0
    assert line == {
        "event": "request",
        "log_level": "info",
        "action": "request.answered",
        "method": "GET",
        "route": "metadata",
        "status": 200,
        "bytes": 5,
        "peer_address": "10.0.0.1",
        "study_instance_uid": "1.2.3",
        "user": "user anna",
    }


@pytest.mark.parametrize(
    ("path", "method", "status", "which", "count"),
    [
        (FRAME, "GET", 200, "but_frames", 0),
        (FRAME, "GET", 404, "but_frames", 1),
        (FRAME, "GET", 200, "all", 1),
        (FRAME, "GET", 500, "none", 0),
        ("/health", "GET", 200, "but_frames", 0),
        ("/health", "GET", 503, "but_frames", 1),
        ("/studies", "GET", 200, "but_frames", 1),
        ("/studies", "POST", 200, "but_frames", 0),
        ("/studies", "POST", 401, "but_frames", 1),
        ("/worklist", "GET", 200, "all", 0),
        ("/studies", "GET", 0, "but_frames", 1),
    ],
)
def test_each_has_one_line_or_one_elsewhere(
    path: str, method: str, status: int, which: RequestLog, count: int
) -> None:
    """Frames only where they failed, unless all are asked for; what stores has its own."""
    assert len(lines(path, method=method, status=status, which=which)) == count


@pytest.mark.parametrize(
    ("path", "method", "query"),
    [
        ("/studies", "GET", "PatientName=CANARY*&PatientID=CANARY"),
        ("/studies/CANARY/metadata", "GET", ""),
        ("/CANARY", "GET", ""),
        ("/worklist/CANARY", "DELETE", ""),
        ("/studies/1.2.3/CANARY", "CANARY", ""),
        ("/studies/" + "1." * 500 + "1/CANARY", "GET", ""),
    ],
)
def test_what_may_be_a_patient_s_is_in_none(path: str, method: str, query: str) -> None:
    """Not from the path, not from the query, not from the method."""
    (line,) = lines(path, method=method, query=query, status=404)
    assert "CANARY" not in repr(line)
