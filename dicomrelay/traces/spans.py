"""Traces as values: ids that are known without being carried, and spans as OTLP has them. No I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

ROOT: Final = "receive"
_SAMPLED_BITS: Final = 56
# https://opentelemetry.io/docs/specs/otel/trace/api/#spankind, of opentelemetry/proto/trace/v1/trace.proto
_INTERNAL, _SERVER, _CLIENT = 1, 2, 3
_KINDS: Final = {ROOT: _SERVER, "deliver": _CLIENT}
_ERROR: Final = 2


@lru_cache(maxsize=4096)
def trace_id(item: str) -> bytes:
    """The trace of a spool item: 16 bytes."""
    return hashlib.sha256(b"trace/" + item.encode()).digest()[:16]


def span_id(trace: bytes, step: str, about: str = "", attempt: int = 0) -> bytes:
    """The span of a step: 8 bytes, the same whoever does it, and however often."""
    said = f"{step}\0{about}\0{attempt}".encode()
    return hashlib.sha256(trace + said).digest()[:8]


def is_in(trace: bytes, ratio: float) -> bool:
    """Whether a trace is among the part that is kept, as TraceIdRatioBased decides it."""
    return int.from_bytes(trace[-7:], "big") < round(ratio * (1 << _SAMPLED_BITS))


@dataclass(frozen=True, slots=True)
class Span:
    """One step.

    Attributes
    ----------
    item : str
        The name of the instance's spool item.
    about : str
        What the step is about, such as a destination; with `attempt` it tells steps of one name apart.
    began_s, ended_s : float
        Seconds since 1970.
    """

    item: str
    step: str
    began_s: float
    ended_s: float
    attributes: Mapping[str, str | int]
    about: str = ""
    attempt: int = 0
    failed: bool = False


def otlp(spans: Sequence[Span], *, service: str, host: str, version: str) -> bytes:
    """The body of an ExportTraceServiceRequest, in JSON: ids in hexadecimal, 64-bit numbers as text.

    https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
    """
    resource = {"service.name": "dicomrelay", "service.instance.id": service, "host.name": host}
    scope = {"name": "dicomrelay", "version": version}
    return json.dumps(
        {
            "resourceSpans": [
                {
                    "resource": {"attributes": _attributes(resource)},
                    "scopeSpans": [{"scope": scope, "spans": [_otlp(span) for span in spans]}],
                }
            ]
        }
    ).encode()


def _otlp(span: Span) -> dict[str, Any]:
    trace = trace_id(span.item)
    made: dict[str, Any] = {
        "traceId": trace.hex(),
        "spanId": span_id(trace, span.step, span.about, span.attempt).hex(),
        "name": f"{span.step} {span.about}".strip(),
        "kind": _KINDS.get(span.step, _INTERNAL),
        "startTimeUnixNano": str(round(span.began_s * 1e9)),
        "endTimeUnixNano": str(round(max(span.began_s, span.ended_s) * 1e9)),
        "attributes": _attributes(span.attributes),
        "status": {"code": _ERROR} if span.failed else {},
    }
    if span.step != ROOT:
        made["parentSpanId"] = span_id(trace, ROOT).hex()
    return made


def _attributes(values: Mapping[str, str | int]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in values.items()
    ]
