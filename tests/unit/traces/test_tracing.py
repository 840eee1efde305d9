"""Spans on their way to a collector: nothing waits for it, and what it does not take is counted."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dicomrelay import metrics, traces
from dicomrelay.metrics import recorder
from dicomrelay.metrics.catalogue import SPANS
from dicomrelay.metrics.gathering import gather
from dicomrelay.settings.traces import TraceSettings

ITEM = "019abcdef01234567890abcdef01"


class Collector(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        spans = [span for each in body["resourceSpans"][0]["scopeSpans"] for span in each["spans"]]
        self.server.got.append((self.path, self.headers["Authorization"], spans))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def collector() -> Iterator[tuple[int, list[Any]]]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.got = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_address[1], server.got
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # A process that ends gives it a second, in which a busy machine may do nothing.
    monkeypatch.setattr("dicomrelay.traces.tracing._LAST_S", 60)
    metrics.begin(tmp_path, "gateway")
    yield tmp_path
    traces.end()
    recorder.end()


def settings(port: int, ratio: float = 1, **more: object) -> TraceSettings:
    endpoint = f"http://127.0.0.1:{port}/v1/traces"
    return TraceSettings.model_validate({"endpoint": endpoint, "ratio": ratio, **more})


def test_a_step_reaches_the_collector(collector: tuple[int, list[Any]], figures: Path) -> None:
    """What waits when the process ends too."""
    port, got = collector
    traces.begin(settings(port, token="abc"), "gateway")
    traces.span(ITEM, "receive", 0.25, {"dicom.calling_ae_title": "CT"})
    traces.end()

    ((path, shown, (span,)),) = got
    assert (path, shown, span["name"]) == ("/v1/traces", "Bearer abc", "receive")
    assert int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"]) == pytest.approx(0.25e9, abs=1e6)
    assert gather(figures).of(SPANS) == {("sent",): [1], ("dropped",): [0]}


def test_a_token_of_a_file_may_be_renewed_and_one_that_is_none_ends_nothing(
    collector: tuple[int, list[Any]], figures: Path
) -> None:
    """The thread goes on: what it cannot show costs the spans of that time."""
    port, got = collector
    file = figures / "token"
    to = TraceSettings(endpoint=f"http://127.0.0.1:{port}/v1?of=relay", ratio=1, token_file=file)
    for text in ("first\n", "pässwort\n", "second\n"):
        file.write_text(text, "utf-8")
        traces.begin(to, "gateway")
        traces.span(ITEM, "receive", 0.25, {})
        traces.end()

    assert [(path, shown) for path, shown, _ in got] == [
        ("/v1?of=relay", "Bearer first"),
        ("/v1?of=relay", "Bearer second"),
    ]
    assert gather(figures).of(SPANS) == {("sent",): [2], ("dropped",): [1]}


@pytest.mark.parametrize(
    "more", [{"token": "a", "token_file": "b"}, {"token": "a\nb"}, {"token": ""}, {"token": "ä"}]
)
def test_a_token_that_is_none_is_refused(more: dict[str, str]) -> None:
    """At the start, and not in a thread."""
    with pytest.raises(ValidationError):
        settings(1, **more)


def test_what_is_not_of_the_part_is_not_taken(collector: tuple[int, list[Any]]) -> None:
    """Nor anything without an endpoint."""
    for each in (settings(collector[0], ratio=0), TraceSettings(ratio=1)):
        traces.begin(each, "gateway")
        assert not traces.is_traced(ITEM)
        traces.span(ITEM, "receive", 0.25, {})
        traces.end()
    assert collector[1] == []


def test_a_collector_that_is_away_costs_its_spans_and_nothing_else(figures: Path) -> None:
    """And no more than 2,048 wait."""
    traces.begin(settings(9, timeout_s=0.5), "gateway")
    for number in range(3000):
        traces.span(ITEM, "deliver", 0.1, {}, attempt=number)
    traces.end()

    (lost,) = gather(figures).of(SPANS)[("dropped",)]
    assert lost == 3000


def test_a_child_of_a_fork_sends_its_own(collector: tuple[int, list[Any]]) -> None:
    """With a thread of its own; what waited in the parent is the parent's."""
    port, got = collector
    traces.begin(settings(port), "worker")
    traces.span(ITEM, "receive", 0.1, {})
    pid = os.fork()
    if pid == 0:
        traces.span(ITEM, "group", 0.1, {})
        traces.end()
        os._exit(0)
    os.waitpid(pid, 0)
    traces.end()

    assert sorted(span["name"] for _, _, spans in got for span in spans) == ["group", "receive"]


@pytest.mark.parametrize("endpoint", ["ftp://h/", "http://", "http://u:p@h/", "http://h:99999/"])
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    """With what it should look like."""
    with pytest.raises(ValidationError):
        TraceSettings(endpoint=endpoint)
