"""Clients of scheduled streams: `StreamClient` blocks, `AsyncStreamClient` is for asyncio (docs/howto/stream-frames.md)."""

from streamer.client.assembly import (
    Frame,
    InstanceFacts,
    Missing,
    Request,
    StreamEnded,
    StreamError,
    StreamRefused,
)
from streamer.client.asynchronous import AsyncStreamClient
from streamer.client.blocking import StreamClient

__all__ = [
    "AsyncStreamClient",
    "Frame",
    "InstanceFacts",
    "Missing",
    "Request",
    "StreamClient",
    "StreamEnded",
    "StreamError",
    "StreamRefused",
]
