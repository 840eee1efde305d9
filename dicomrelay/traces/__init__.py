"""The way of an instance, for an OpenTelemetry collector: nothing is carried, every step knows its place (docs/design/traces.md).

Of the lowest layer: the gateway's way to an answer goes through it.
"""

from dicomrelay.traces.tracing import begin, end, is_traced, span

__all__ = ["begin", "end", "is_traced", "span"]
