"""Many clients of scheduled streams in one process, each of one study; what comes is counted and thrown away.

Usage: python -m benchmarks.stream_clients PORT STUDY_INSTANCE_UID CLIENTS [--apart S]     (prints figures as JSON)

A client here reads headers only, so that it is not the clients that are measured. They come so many seconds after each other;
by default each comes when the one before has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import socket
import struct
from time import perf_counter
from typing import Final, cast

import uvloop

from streamer.streams.wire import HEADER_BYTES, SUBPROTOCOL, decode_header

_SCRATCH: Final = bytearray(1 << 20)
# One program stands for many clients: what waits for one of them is read in one bite, before the next one's.
_WINDOW_BYTES: Final = 1 << 18
_BINARY, _PING = 2, 9


class Client(asyncio.BufferedProtocol):
    """One stream: asks when the handshake is over, and counts until `done`."""

    def __init__(self, host: str, study: str, primary: int) -> None:
        self._host = host
        self._study = study
        self._primary = primary
        self._transport: asyncio.Transport
        self._head = bytearray()
        self._is_open = False
        self._skip = 0
        self._words = bytearray()
        self._words_left = self._words_opcode = 0
        self.asked = self.first = self.last = 0.0
        self.frames = self.payload_bytes = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Shake hands (RFC 6455 Section 4.1)."""
        # uvloop's is none by inheritance.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW_BYTES
        )
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /streams HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n".encode()
        )

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - as asyncio names it
        """All clients read into the same place."""
        return _SCRATCH

    def buffer_updated(self, nbytes: int) -> None:
        """Count what came."""
        at = 0
        view = memoryview(_SCRATCH)[:nbytes]
        while at < nbytes and not self.ended.done():
            if self._skip:
                step = min(self._skip, nbytes - at)
                self._skip -= step
                at += step
            elif self._words_left:
                step = min(self._words_left, nbytes - at)
                self._words += view[at : at + step]
                self._words_left -= step
                at += step
                if not self._words_left:
                    self._heard()
            else:
                self._head.append(view[at])
                at += 1
                self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Too early, unless it had ended."""
        if not self.ended.done():
            self.ended.set_exception(exc or ConnectionError("the stream ended early"))

    def eof_received(self) -> bool:
        """Nothing more to say."""
        return False

    def _look(self) -> None:
        """Whether the head of a message is whole, and what it says."""
        head = self._head
        if not self._is_open:
            if head.endswith(b"\r\n\r\n"):
                if b" 101 " not in head[:20]:
                    raise SystemExit(head.decode("latin-1"))
                self._is_open = True
                head.clear()
                self._say({"op": "open", "id": 1, "study": self._study, "primary": self._primary})
                self.asked = perf_counter()
            return
        if len(head) < 2:
            return
        size, short = 2, head[1] & 127
        size += {126: 2, 127: 8}.get(short, 0)
        is_piece = head[0] & 15 == _BINARY
        if len(head) < size + (HEADER_BYTES if is_piece else 0):
            return
        length = int.from_bytes(head[2:size], "big") if size > 2 else short
        if is_piece:
            record = decode_header(head[size:])
            self.frames += record.is_last
            self.payload_bytes += record.payload_bytes
            self._skip = record.payload_bytes
            self.last = perf_counter()
            if record.is_last and not self.first:
                self.first = self.last
        else:
            self._words_opcode, self._words_left = head[0] & 15, length
        head.clear()

    def _heard(self) -> None:
        if self._words_opcode == _PING:
            # Masked with zeros (RFC 6455 Section 5.3).
            self._transport.write(bytes((0x8A, 0x80 | len(self._words))) + bytes(4) + self._words)
        elif b'"event":"done"' in self._words:
            self.ended.set_result(None)
            self._transport.abort()
        elif b'"event":"refused"' in self._words:
            self.ended.set_exception(ValueError(self._words.decode()))
        self._words.clear()

    def _say(self, words: dict[str, object]) -> None:
        data = json.dumps(words).encode()
        # Of a length that takes two bytes.
        self._transport.write(struct.pack("!BBH", 0x81, 0x80 | 126, len(data)) + bytes(4) + data)


async def run(port: int, study: str, clients: int, apart_s: float | None) -> dict[str, object]:
    """All clients, to their end."""
    loop = asyncio.get_running_loop()
    host = f"127.0.0.1:{port}"

    async def one(number: int) -> Client:
        await asyncio.sleep(number * (apart_s or 0.0))
        _, client = await loop.create_connection(
            lambda: Client(host, study, number * 7 % 600), "127.0.0.1", port
        )
        await client.ended
        return client

    began = perf_counter()
    if apart_s is None:
        found = [await one(number) for number in range(clients)]
    else:
        found = [*await asyncio.gather(*(one(number) for number in range(clients)))]
    return {
        "seconds": perf_counter() - began,
        "bytes": sum(each.payload_bytes for each in found),
        "frames": [each.frames for each in found],
        "first_ms": [(each.first - each.asked) * 1000 for each in found],
        "rates": [each.payload_bytes / (each.last - each.asked) for each in found],
    }


def main() -> None:
    """Ask, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream_clients", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("study")
    parser.add_argument("clients", type=int)
    parser.add_argument("--apart", type=float, metavar="S")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(run(options.port, options.study, options.clients, options.apart))))


if __name__ == "__main__":
    main()
