"""The two ways of a blocking stream: a WebSocket, and the answer to a POST."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Final, Protocol

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from streamer.client.assembly import StreamEnded, StreamError, Words, refused
from streamer.client.steering import Server
from streamer.streams.wire import (
    HEADER_BYTES,
    LARGEST_WORDS_BYTES,
    SUBPROTOCOL,
    WORDS,
    RecordHeader,
    WireError,
    decode_header,
)

Record = str | tuple[RecordHeader, memoryview]
_FURTHER_S: Final = 30


class Transport(Protocol):
    """What a blocking client needs of either."""

    def say(self, listed: Sequence[Words], stream: str) -> None:
        """Say words in the stream of that name. Raises StreamEnded, StreamRefused, OSError."""

    def receive(self) -> Record:
        """The next words or piece. Raises StreamEnded, StreamError, StreamRefused, OSError."""

    def close(self) -> None:
        """Close."""


class WebSocketTransport:
    """A stream over WebSocket."""

    def __init__(self, server: Server, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._stack = contextlib.ExitStack()
        try:
            self._connection: ClientConnection = self._stack.enter_context(
                connect(
                    server.websocket_url,
                    subprotocols=[Subprotocol(SUBPROTOCOL)],
                    additional_headers=server.headers,
                    compression=None,
                    max_size=LARGEST_WORDS_BYTES,
                    open_timeout=timeout_s,
                    proxy=None,
                )
            )
        except InvalidStatus as error:
            raise refused(error.response.status_code, error.response.body or b"") from error
        except InvalidHandshake as error:
            raise StreamError(f"{server.websocket_url} speaks no WebSocket: {error}") from error

    def say(self, listed: Sequence[Words], stream: str) -> None:  # noqa: ARG002 - there is one stream here
        """One message for each."""
        try:
            for words in listed:
                self._connection.send(json.dumps(words))
        except ConnectionClosed as error:
            raise StreamEnded(f"the stream ended early: {error}") from error

    def receive(self) -> Record:
        """The next message."""
        try:
            message = self._connection.recv(self._timeout_s)
        except ConnectionClosed as error:
            raise StreamEnded(f"the stream ended early: {error}") from error
        if isinstance(message, str):
            return message
        return _decoded(message), memoryview(message)[HEADER_BYTES:]

    def close(self) -> None:
        """Close the connection."""
        self._stack.close()


class HttpTransport:
    """A stream as the answer to a POST; what is said before the first record is asked for is its body."""

    def __init__(self, server: Server, timeout_s: float) -> None:
        self._server = server
        self._timeout_s = timeout_s
        self._unsaid: list[Words] = []
        self._connection: HTTPConnection | None = None
        self._answer: HTTPResponse | None = None

    def say(self, listed: Sequence[Words], stream: str) -> None:
        """Words for the body, or a POST of their own; over when the stream is."""
        if self._answer is None or not stream:
            self._unsaid += listed
            return
        connection = self._connect(_FURTHER_S)
        with contextlib.closing(connection):
            answer = self._post(connection, f"/streams/{stream}", listed)
            body = answer.read()
            if answer.status == 404:
                # It may have ended while the words were under way; if it ended early, the answer shows that.
                if any(words["op"] == "open" for words in listed):
                    raise StreamEnded("the stream has ended: over HTTP all requests are opened before that")
            elif answer.status != 202:
                raise refused(answer.status, body)

    def receive(self) -> Record:
        """The next record of the answer."""
        if self._answer is None:
            self._connection = self._connect(self._timeout_s)
            listed, self._unsaid = self._unsaid, []
            self._answer = self._post(self._connection, "/streams", listed)
            if self._answer.status != 200:
                raise refused(self._answer.status, self._answer.read(LARGEST_WORDS_BYTES))
        header = _decoded(self._read(HEADER_BYTES))
        payload = self._read(header.payload_bytes)
        return bytes(payload).decode() if header.kind == WORDS else (header, memoryview(payload))

    def say_what_waits(self, stream: str) -> None:
        """Say what was said before the stream had a name."""
        if self._unsaid and stream:
            listed, self._unsaid = self._unsaid, []
            self.say(listed, stream)

    def close(self) -> None:
        """Close the connection, which ends the stream."""
        if self._answer is not None:
            self._answer.close()
        if self._connection is not None:
            self._connection.close()

    def _connect(self, timeout_s: float) -> HTTPConnection:
        kind = HTTPSConnection if self._server.scheme == "https" else HTTPConnection
        return kind(self._server.host, self._server.port, timeout=timeout_s)

    def _post(self, connection: HTTPConnection, path: str, listed: Sequence[Words]) -> HTTPResponse:
        headers = {**self._server.headers, "Content-Type": "application/json"}
        try:
            connection.request("POST", self._server.path + path, json.dumps(listed), headers)
            return connection.getresponse()
        except HTTPException as error:
            raise StreamEnded(f"the stream ended early: {error!r}") from error

    def _read(self, size: int) -> bytes:
        if self._answer is None:
            raise StreamError("the stream is not open")
        data = bytearray()
        while len(data) < size:
            try:
                more = self._answer.read(size - len(data))
            except (HTTPException, ConnectionError) as error:
                raise StreamEnded(f"the stream ended early: {error!r}") from error
            if not more:
                raise StreamEnded("the stream ended early")
            data += more
        return bytes(data)


def _decoded(data: bytes) -> RecordHeader:
    try:
        return decode_header(data)
    except WireError as error:
        raise StreamError(str(error)) from error
