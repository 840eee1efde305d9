"""What both clients have in common: requests as the client knows them, pieces put together to frames. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

from streamer.streams.wire import PIECE, RecordHeader

LARGEST_FRAME_BYTES: Final = 2**31
Words = dict[str, Any]


class StreamError(Exception):
    """A stream did not go as it should."""


class StreamEnded(StreamError):
    """The stream ended before all of its requests did: what came is whole, the rest is to be asked for again."""


class StreamRefused(StreamError):
    """The server did not do what it was asked for.

    Attributes
    ----------
    status : int
        As in HTTP: 404 when the archive has nothing of it, 413 and 429 when it is too much.
    """

    def __init__(self, status: int, words: str) -> None:
        super().__init__(f"{status}: {words}")
        self.status = status


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """What a receiver of bare frames has to know (PS3.3 Section C.7.6.3); 0 or "" for what the data set leaves out."""

    transfer_syntax: str = ""
    media_type: str = ""
    rows: int = 0
    columns: int = 0
    samples_per_pixel: int = 0
    bits_allocated: int = 0
    bits_stored: int = 0
    high_bit: int = 0
    pixel_representation: int = 0
    planar_configuration: int = 0
    photometric_interpretation: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole frame.

    Attributes
    ----------
    position : int
        Its index in the request, from 0.
    frame_number : int
        Its number in the instance, from 1.
    data : bytes
        As it is stored, in `facts.transfer_syntax`; native ones little endian.
    """

    request: Request
    position: int
    series_instance_uid: str
    sop_instance_uid: str
    frame_number: int
    facts: InstanceFacts
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Missing:
    """Frames that will not come, and why; `ranges` are first positions and how many from there."""

    ranges: tuple[tuple[int, int], ...]
    status: int
    detail: str


@dataclass(eq=False, slots=True)
class Request:
    """One request as the client knows it.

    Attributes
    ----------
    frames : int or None
        How many positions it has; None until the server said so.
    instances : list of (series UID, SOP Instance UID, frames)
        Its rows.
    missing : list of Missing
        What will not come.
    facts : dict of int to InstanceFacts
        Of the rows of which a frame has come.
    has_ended : bool
        Whether all that comes has come, or it was cancelled.
    """

    request_id: int
    frames: int | None = None
    instances: list[tuple[str, str, int]] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    has_ended: bool = False
    facts: dict[int, InstanceFacts] = field(default_factory=dict, repr=False)


class Assembly:
    """The requests of one stream, and what has come of their frames.

    Parameters
    ----------
    largest_frame : int
        A frame of more bytes ends the stream with an error; memory is taken as pieces come, never by what is announced.
    """

    def __init__(self, *, largest_frame: int = LARGEST_FRAME_BYTES) -> None:
        self.name = ""
        self._largest_frame = largest_frame
        self._requests: dict[int, Request] = {}
        self._under_way: dict[int, bytearray] = {}
        self._last_id = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing more is to come."""
        return not self._requests

    def open(
        self,
        study: str,
        *,
        series: str | None,
        instances: Sequence[str] | None,
        frames: tuple[int, int] | None,
        primary: int | tuple[str, int],
        order: str,
        weight: int,
        paused: bool,
    ) -> tuple[Request, Words]:
        """A new request, and the words that begin it."""
        self._last_id += 1
        request = self._requests[self._last_id] = Request(self._last_id)
        words: Words = {"op": "open", "id": request.request_id, "study": study, "primary": where(primary)}
        words |= {"order": order, "weight": weight, "paused": paused}
        given = {"series": series, "instances": instances, "frames": frames}
        words |= {
            key: list(value) if key != "series" else value
            for key, value in given.items()
            if value is not None
        }
        return request, words

    def piece(self, header: RecordHeader, payload: bytes | memoryview) -> Frame | None:
        """Take a piece; the frame that it completes.

        Raises
        ------
        StreamError
            It does not continue its frame, or the frame is too large.
        """
        request = self._requests.get(header.request_id)
        if request is None:
            return None  # cancelled meanwhile
        data = self._under_way.setdefault(header.request_id, bytearray())
        if header.kind != PIECE or header.offset != len(data) or len(payload) != header.payload_bytes:
            raise StreamError(f"a piece at {header.offset} came where one at {len(data)} was due")
        if header.frame_bytes > self._largest_frame:
            raise StreamError(
                f"a frame of {header.frame_bytes} bytes came; largest_frame is {self._largest_frame}"
            )
        data += payload
        if not header.is_last:
            return None
        del self._under_way[header.request_id]
        try:
            series_uid, instance_uid, _ = request.instances[header.row]
            facts = request.facts[header.row]
        except LookupError as error:
            raise StreamError(f"a frame of row {header.row} came before what it is of") from error
        return Frame(
            request, header.position, series_uid, instance_uid, header.frame_number, facts, bytes(data)
        )

    def hear(self, words: str | bytes) -> None:
        """Take words of the server.

        Raises
        ------
        StreamRefused
            The server did not do something.
        StreamError
            The words make no sense.
        """
        try:
            event = json.loads(words)
            kind, request = event["event"], self._requests.get(event.get("id"))
            if kind == "begun":
                self.name = event["stream"]
            elif kind == "refused":
                self._refused(event, request)
            elif request is not None:
                self._hear_of(request, kind, event)
        except (ValueError, LookupError, TypeError) as error:
            raise StreamError(f"words that make no sense came: {words[:200]!r}") from error

    def _refused(self, event: Mapping[str, Any], request: Request | None) -> None:
        if event["op"] == "open" and request is not None:
            self._end(request)
        raise StreamRefused(event["status"], event["detail"])

    def _hear_of(self, request: Request, kind: str, event: Mapping[str, Any]) -> None:
        match kind:
            case "opened":
                request.frames = event["frames"]
                request.instances = [
                    (series["uid"], uid, count)
                    for series in event["series"]
                    for uid, count in series["instances"]
                ]
            case "instance":
                names = (each.name for each in fields(InstanceFacts))
                request.facts[event["row"]] = InstanceFacts(**{name: event[name] for name in names})
            case "missing":
                ranges = tuple((first, count) for first, count in event["ranges"])
                request.missing.append(Missing(ranges, event["status"], event["detail"]))
            case "done" | "cancelled":
                self._end(request)
            case _:
                pass  # of a later version

    def _end(self, request: Request) -> None:
        request.has_ended = True
        self._under_way.pop(request.request_id, None)
        del self._requests[request.request_id]


def where(primary: int | tuple[str, int]) -> int | Words:
    """A primary index as words: a position, or a SOP Instance UID and a frame number."""
    return primary if isinstance(primary, int) else {"instance": primary[0], "frame": primary[1]}


def refused(status: int, body: bytes | bytearray) -> StreamRefused:
    """What an answer that is no stream says."""
    try:
        words = str(json.loads(body)["detail"])
    except (ValueError, LookupError, TypeError):
        words = "the server gave no stream"
    return StreamRefused(status, words)
