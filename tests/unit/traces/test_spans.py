"""Ids that every process comes to by itself, and spans as OTLP wants them."""

from __future__ import annotations

import json

import pytest

from dicomrelay.traces.spans import Span, is_in, otlp, span_id, trace_id

ITEM = "019abcdef01234567890abcdef01"


def test_an_item_has_one_trace_and_a_step_one_span() -> None:
    """Whoever asks, and however often; steps, destinations and attempts have others. As sha256sum says it."""
    assert trace_id(ITEM).hex() == "7e5c651bbbbca4bc86e4235fc9a30628"
    trace = trace_id(ITEM)
    spans = {
        span_id(trace, step, about, attempt)
        for step in ("receive", "deliver")
        for about in ("", "pacs", "pacs1")
        for attempt in (0, 1, 11)
    }
    assert len(spans) == 18
    assert {len(each) for each in spans} == {8}
    assert span_id(trace, "deliver", "pacs", 1) == span_id(trace_id(ITEM), "deliver", "pacs", 1)


@pytest.mark.parametrize("ratio", [0.0, 0.01, 0.5, 1.0])
def test_a_part_of_all_is_traced(ratio: float) -> None:
    """As large as it was asked for, of items whose names begin alike; and who is in at a ratio is in at a larger one."""
    items = [f"019abcdef0{number:018x}" for number in range(20_000)]
    kept = {item for item in items if is_in(trace_id(item), ratio)}

    assert len(kept) == pytest.approx(
        ratio * len(items), abs=4 * (len(items) * ratio * (1 - ratio)) ** 0.5 + 1e-9
    )
    assert kept <= {item for item in items if is_in(trace_id(item), min(1.0, ratio * 2))}


def test_spans_are_otlp_in_json() -> None:
    """Ids in hexadecimal, times in nanoseconds as text, the first step without a parent, a failure as an error."""
    first = Span(ITEM, "receive", 100.0, 100.5, {"dicom.calling_ae_title": "CT", "dicomrelay.bytes": 5})
    then = Span(ITEM, "deliver", 101.0, 100.0, {}, about="pacs", attempt=2, failed=True)

    said = json.loads(otlp([first, then], service="gateway", host="h", version="1"))

    (resource,) = said["resourceSpans"]
    assert {"key": "service.instance.id", "value": {"stringValue": "gateway"}} in resource["resource"][
        "attributes"
    ]
    root, child = resource["scopeSpans"][0]["spans"]
    assert root == {
        "traceId": trace_id(ITEM).hex(),
        "spanId": span_id(trace_id(ITEM), "receive").hex(),
        "name": "receive",
        "kind": 2,
        "startTimeUnixNano": "100000000000",
        "endTimeUnixNano": "100500000000",
        "attributes": [
            {"key": "dicom.calling_ae_title", "value": {"stringValue": "CT"}},
            {"key": "dicomrelay.bytes", "value": {"intValue": "5"}},
        ],
        "status": {},
    }
    assert child["parentSpanId"] == root["spanId"]
    assert (child["name"], child["kind"], child["status"]) == ("deliver pacs", 3, {"code": 2})
    assert child["endTimeUnixNano"] == child["startTimeUnixNano"]
