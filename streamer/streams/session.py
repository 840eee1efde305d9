"""One stream: what its client said and what goes to it next. Knows nothing of WebSockets and HTTP."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dicomrelay.errors import FrameOutOfRange, FramesNotAddressable, RelayError
from dicomrelay.log import get_logger
from streamer.answers import HttpError, status_of
from streamer.audited import nobody_looks
from streamer.open_frames import FrameCache, OpenFrames
from streamer.streams.gate import Gate
from streamer.streams.listings import Listings
from streamer.streams.messages import (
    LARGEST_POSITION,
    Cancel,
    Credit,
    Message,
    Move,
    Open,
    Pause,
    Weigh,
    WordsError,
    parse,
)
from streamer.streams.positions import Place, Positions
from streamer.streams.reading import FrameUnderWay, Wanted, advise, open_ahead
from streamer.streams.schedule import Request, Schedule
from streamer.streams.telling import described, position_of, put_together, shown_id
from streamer.streams.wire import PIECE, PIECE_BYTES, RecordHeader

MOST_REQUESTS: Final = 64
MOST_WORDS: Final = 64
IDLE_S: Final = 300
_OPENED_AHEAD: Final = 4
_READ_AHEAD: Final = 8
_LOGGED_FAILURES: Final = 3
_log = get_logger("dicomrelay.streamer")


class StreamBrokenError(RelayError):
    """A frame that was begun cannot be finished: the stream must end, so that nobody takes half of it for a whole one."""


@dataclass(slots=True)
class _Opened:
    """What a session knows of an open request beside its schedule."""

    asked: Open
    positions: Positions
    request: Request
    described: set[int] = field(default_factory=set)
    sent: int = 0
    missing: int = 0
    is_urgent: bool = True
    under_way: FrameUnderWay | None = None
    place: Place | None = None
    ends_urgency: bool = False


class Session:
    """A stream without its transport.

    Parameters
    ----------
    name : str
        What the client calls the stream by.
    idle_s : float
        Seconds without anything sent or said after which `records` ends.
    """

    def __init__(
        self,
        name: str,
        cache: FrameCache,
        listings: Listings,
        gate: Gate,
        *,
        idle_s: float = IDLE_S,
        looked: Callable[[str], None] = nobody_looks,
    ) -> None:
        self.name = name
        self._cache = cache
        self._listings = listings
        self._gate = gate
        self._idle_s = idle_s
        self._looked = looked
        self._schedule = Schedule()
        self._opened: dict[int, _Opened] = {}
        self._words: deque[dict[str, Any]] = deque()
        self._credit: int | None = None
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._failures = 0
        self._is_over = False
        self._tell({"event": "begun", "stream": name, "version": 1})

    def end(self) -> None:
        """The client is gone: `records` ends as soon as it is asked for more."""
        self._is_over = True
        self._wake.set()
        self._room.set()

    def close(self) -> None:
        """Give back what is borrowed, when `records` has ended."""
        for request_id in [*self._opened]:
            self._forget(request_id)

    async def say(self, words: Mapping[str, Any]) -> None:
        """Take words of the client. What is wrong with them is told in the stream; waits while the client takes no words."""
        while len(self._words) >= MOST_WORDS and not self._is_over:
            self._room.clear()
            await self._room.wait()
        try:
            await self._do(parse(words))
        except WordsError as error:
            self._refuse(words, error.status, str(error))
        except RelayError as error:
            detail = "the archive could not answer; the server's log says why"
            _log.error("stream not served", action="streamer.stream", error=str(error))
            self._refuse(words, status_of(error), detail)
        self._wake.set()

    def wake(self) -> None:
        """Have `records` look again whether it is done."""
        self._wake.set()

    async def records(
        self, *, until: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[dict[str, Any] | bytearray]:
        """What goes to the client: words, and pieces with their header.

        Parameters
        ----------
        until : callable
            Whether it ends when no request is open.

        Raises
        ------
        StreamBrokenError
            A frame cannot be finished.
        """
        while not self._is_over:
            while self._words:
                yield self._words.popleft()
                self._room.set()
            self._say_what_ended()
            if self._words:
                continue
            if not self._opened and until():
                return
            if not self._may_send():
                if not await self._something_new():
                    return
                continue
            await self._gate.turn(
                is_urgent=any(each.is_urgent and each.request.is_ready for each in self._opened.values())
            )
            piece = await self._piece()
            # Words that the frame brought with it come before it.
            while self._words:
                yield self._words.popleft()
                self._room.set()
            if piece is not None:
                yield piece

    async def _something_new(self) -> bool:
        self._wake.clear()
        try:
            await asyncio.wait_for(self._wake.wait(), self._idle_s)
        except TimeoutError:
            return False
        return True

    def _may_send(self) -> bool:
        has_credit = self._credit is None or self._credit > 0
        return has_credit and any(each.request.is_ready for each in self._opened.values())

    async def _do(self, message: Message) -> None:
        match message:
            case Open():
                await self._open(message)
            case Move():
                self._move(message)
            case Weigh():
                self._schedule.set_weight(message.request_id, message.weight)
            case Pause():
                self._schedule.set_paused(message.request_id, is_paused=message.is_paused)
            case Cancel():
                if self._forget(message.request_id):
                    self._tell({"event": "cancelled", "id": message.request_id})
            case Credit():
                self._credit = (self._credit or 0) + message.payload_bytes

    async def _open(self, asked: Open) -> None:
        self._check_room(asked, 0)
        positions = await self._listings.positions(asked)
        self._looked(asked.study)
        # Time has passed, and over HTTP others may have spoken.
        self._check_room(asked, len(positions))
        request = Request(
            len(positions),
            primary=position_of(positions, asked.primary),
            order=asked.order,
            weight=asked.weight,
            is_paused=asked.is_paused,
        )
        self._schedule.open(asked.request_id, request)
        self._opened[asked.request_id] = _Opened(asked, positions, request)
        self._tell(
            {
                "event": "opened",
                "id": asked.request_id,
                "frames": len(positions),
                "series": positions.table(),
            }
        )

    def _check_room(self, asked: Open, more: int) -> None:
        if asked.request_id in self._schedule:
            raise WordsError(f"request {asked.request_id} is open already", status=409)
        if len(self._schedule) >= MOST_REQUESTS:
            raise WordsError(f"a stream has at most {MOST_REQUESTS} open requests", status=429)
        if self._schedule.positions + more > LARGEST_POSITION:
            raise WordsError(f"the requests of a stream have at most {LARGEST_POSITION} frames", status=413)

    def _move(self, message: Move) -> None:
        opened = self._opened.get(message.request_id)
        if opened is not None:
            opened.request.primary = position_of(opened.positions, message.primary)
            opened.is_urgent = True
            opened.ends_urgency = False

    def _forget(self, request_id: int) -> bool:
        opened = self._opened.pop(request_id, None)
        if opened is None:
            return False
        self._schedule.close(request_id)
        if opened.under_way is not None:
            self._cache.release(opened.under_way.frames)
            opened.under_way = None
        return True

    def _say_what_ended(self) -> None:
        while (request_id := self._schedule.ended()) is not None:
            opened = self._opened[request_id]
            self._forget(request_id)
            self._tell({"event": "done", "id": request_id, "sent": opened.sent, "missing": opened.missing})

    async def _piece(self) -> bytearray | None:
        """The piece whose turn it is; None when it came to nothing."""
        request_id = self._schedule.turn()
        if request_id is None or (self._credit is not None and self._credit <= 0):
            return None
        opened = self._opened[request_id]
        if opened.under_way is None and not await self._begin(request_id, opened):
            return None
        under_way, place = opened.under_way, opened.place
        if under_way is None or place is None:
            return None
        # While it is read in a thread, a cancellation must not close its file.
        opened.under_way = None
        try:
            offset = under_way.sent
            most = PIECE_BYTES if self._credit is None else self._credit
            buffer = await under_way.piece(most)
        except asyncio.CancelledError:
            self._cache.release(under_way.frames)
            raise
        except (RelayError, OSError) as error:
            self._cache.release(under_way.frames)
            if self._opened.get(request_id) is not opened:
                return None  # cancelled meanwhile
            if offset:
                raise StreamBrokenError(f"frame {under_way.number}: {error}") from error
            self._leave_out(request_id, opened, error)
            return None
        if self._opened.get(request_id) is not opened:
            self._cache.release(under_way.frames)
            return None
        self._account(opened, under_way, under_way.sent - offset)
        RecordHeader(
            kind=PIECE,
            payload_bytes=under_way.sent - offset,
            is_last=under_way.sent == under_way.length,
            request_id=request_id,
            position=opened.request.last_begun,
            row=place.row,
            frame_number=place.frame_number,
            offset=offset,
            frame_bytes=under_way.length,
        ).pack_into(buffer)
        return buffer

    def _account(self, opened: _Opened, under_way: FrameUnderWay, sent: int) -> None:
        if self._credit is not None:
            self._credit -= sent
        if under_way.sent < under_way.length:
            opened.under_way = under_way
            return
        opened.request.finish()
        opened.sent += 1
        if opened.ends_urgency:
            opened.is_urgent = False
        self._cache.release(under_way.frames)

    async def _begin(self, request_id: int, opened: _Opened) -> bool:
        """Take the next frame of a request under way; False when it cannot be sent, or the request is gone."""
        position = opened.request.begin()
        opened.place = place = opened.positions.place(position)
        opened.ends_urgency = True
        frames: OpenFrames | None = None
        try:
            key = (opened.asked.study, place.instance.series_instance_uid, place.instance.sop_instance_uid)
            frames = self._cache.peek(key)
            if frames is None:
                wanted = [(key, place.frame_number), *self._ahead(_OPENED_AHEAD, apart_from=key)]
                frames = await asyncio.to_thread(open_ahead, self._cache, wanted)
            under_way = FrameUnderWay(frames, place.frame_number, self._read_ahead())
        except (RelayError, OSError) as error:
            if frames is not None:
                self._cache.release(frames)
            if self._opened.get(request_id) is opened:
                self._leave_out(request_id, opened, error)
            return False
        if self._opened.get(request_id) is not opened:
            self._cache.release(frames)
            return False
        opened.under_way = under_way
        if place.row not in opened.described:
            opened.described.add(place.row)
            self._tell(described(request_id, place.row, frames))
        return True

    def _read_ahead(self) -> Callable[[], None]:
        """What asks for the next frames, to be called in a thread when a disk is waited for."""
        loop = asyncio.get_running_loop()

        def ask() -> None:
            # The schedule is the loop's: it is asked there.
            async def wanted() -> list[Wanted]:
                return self._ahead(_READ_AHEAD)

            advise(self._cache, asyncio.run_coroutine_threadsafe(wanted(), loop).result())

        return ask

    def _ahead(self, count: int, *, apart_from: object = None) -> list[Wanted]:
        """What the schedule wants next."""
        wanted: dict[Wanted, None] = {}
        for request_id, position in self._schedule.ahead(count):
            opened = self._opened[request_id]
            place = opened.positions.place(position)
            key = (opened.asked.study, place.instance.series_instance_uid, place.instance.sop_instance_uid)
            if key != apart_from:
                wanted[key, place.frame_number] = None
        return [*wanted]

    def _leave_out(self, request_id: int, opened: _Opened, error: Exception) -> None:
        """A frame cannot be sent, and what else cannot for the same reason: tell the client, and go on."""
        position, place = opened.request.last_begun, opened.place
        if place is None:
            return
        first_of_row = position - (place.frame_number - opened.positions.first_frame)
        start = first_of_row
        if isinstance(error, FrameOutOfRange):
            start = max(start, first_of_row + error.count + 1 - opened.positions.first_frame)
        end = opened.positions.end_of(place.row)
        opened.request.finish()
        ranges = put_together(position, opened.request.gaps.take_range(start, end))
        opened.missing += sum(count for _, count in ranges)
        status = status_of(error) if isinstance(error, RelayError) else 500
        if status >= 500 and self._failures < _LOGGED_FAILURES:
            self._failures += 1
            _log.error(
                "frames not streamed", action="streamer.stream",
                sop_instance_uid=place.instance.sop_instance_uid, error=str(error),
            )  # fmt: skip
        is_for_clients = isinstance(error, HttpError | FrameOutOfRange | FramesNotAddressable) or status < 500
        self._tell(
            {
                "event": "missing",
                "id": request_id,
                "row": place.row,
                "ranges": ranges,
                "status": status,
                "detail": str(error)
                if is_for_clients
                else "the archive could not answer; the server's log says why",
            }
        )

    def _refuse(self, words: Mapping[str, Any], status: int, detail: str) -> None:
        op = str(words.get("op"))[:40]
        self._tell({"event": "refused", "op": op, "id": shown_id(words), "status": status, "detail": detail})

    def _tell(self, words: dict[str, Any]) -> None:
        self._words.append(words)
        self._wake.set()
