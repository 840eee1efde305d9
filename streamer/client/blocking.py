"""The client that blocks, over WebSocket or HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final, Literal, Self

from streamer.client import steering
from streamer.client.assembly import LARGEST_FRAME_BYTES, Assembly, Frame, Request, StreamError, Words
from streamer.client.transports import HttpTransport, Transport, WebSocketTransport

_TIMEOUT_S: Final = 60.0


class StreamClient:
    """A stream: open it with `with`, `open` requests, and take frames with `for`. For one thread.

    Parameters
    ----------
    url : str
        The streamer, such as `http://127.0.0.1:8080`.
    token, user :
        A bearer token, or name and password, where the streamer asks for one.
    transport : str
        "websocket", or "http" where a proxy lets no WebSocket through.
    window : int, optional
        Bytes that may be under way at most. Without, TCP alone holds the server back.
    largest_frame : int
        A frame of more bytes is an error.
    timeout_s : float
        How long the server may say nothing while frames are awaited.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        user: tuple[str, str] | None = None,
        transport: Literal["websocket", "http"] = "websocket",
        window: int | None = None,
        largest_frame: int = LARGEST_FRAME_BYTES,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self._server = steering.server(url, token=token, user=user)
        self._kind = transport
        self._window = steering.Window(window)
        self._assembly = Assembly(largest_frame=largest_frame)
        self._timeout_s = timeout_s
        self._transport: Transport | None = None

    def __enter__(self) -> Self:
        """Connect; over HTTP when the first frame is asked for.

        Raises
        ------
        StreamRefused
            The server lets nobody in, or has as many streams as it may.
        StreamError
            Who answers there is no streamer.
        StreamEnded
            It was closed at once.
        OSError
            It cannot be reached.
        """
        kind = WebSocketTransport if self._kind == "websocket" else HttpTransport
        self._transport = kind(self._server, self._timeout_s)
        try:
            self._say(self._window.first())
        except BaseException:
            self._transport.close()  # __exit__ is not called
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the stream."""
        self._open_transport().close()

    def open(
        self,
        study: str,
        *,
        series: str | None = None,
        instances: Sequence[str] | None = None,
        frames: tuple[int, int] | None = None,
        primary: int | tuple[str, int] = 0,
        order: str = "outward",
        weight: int = 1,
        paused: bool = False,
    ) -> Request:
        """Ask for the frames of a study, a series or some instances.

        Parameters
        ----------
        frames : (int, int), optional
            The first and the last frame of each instance, from 1; all by default.
        primary : int or (str, int)
            What is wanted first: a position from 0, or a SOP Instance UID and a frame number.
        order : str
            "outward" from the primary index, "forward" or "backward".
        weight : int
            1 to 100: the share beside other requests.
        """
        request, words = self._assembly.open(
            study, series=series, instances=instances, frames=frames,
            primary=primary, order=order, weight=weight, paused=paused,
        )  # fmt: skip
        self._say([words])
        return request

    def move(self, request: Request, primary: int | tuple[str, int]) -> None:
        """Have frames go on from another primary index."""
        self._say([steering.move(request, primary)])

    def weigh(self, request: Request, weight: int) -> None:
        """Give a request another share."""
        self._say([steering.weigh(request, weight)])

    def pause(self, request: Request) -> None:
        """Have no more frames of a request, until `resume`."""
        self._say([steering.named("pause", request)])

    def resume(self, request: Request) -> None:
        """Have its frames again."""
        self._say([steering.named("resume", request)])

    def cancel(self, request: Request) -> None:
        """End a request, in the middle of a frame too."""
        self._say([steering.named("cancel", request)])

    def __iter__(self) -> Iterator[Frame]:
        """Frames as they come, until every request has ended.

        Raises
        ------
        StreamRefused
            The server did not do what it was asked for. The others go on: iterate again.
        StreamEnded
            The connection ended before.
        StreamError
            The server sent what makes no sense.
        TimeoutError
            It said nothing for so long.
        """
        while not self._assembly.is_idle:
            record = self._open_transport().receive()
            if isinstance(record, str):
                self._assembly.hear(record)
                self._say([])
                continue
            header, payload = record
            frame = self._assembly.piece(header, payload)
            self._say(self._window.took(header.payload_bytes))
            if frame is not None:
                yield frame

    def _say(self, listed: Sequence[Words]) -> None:
        transport = self._open_transport()
        if isinstance(transport, HttpTransport):
            transport.say_what_waits(self._assembly.name)
        if listed:
            transport.say(listed, self._assembly.name)

    def _open_transport(self) -> Transport:
        if self._transport is None:
            raise StreamError("the stream is not open: use it in a with block")
        return self._transport
