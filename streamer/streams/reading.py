"""The bytes of one frame as pieces, each behind room for its header; and what is read ahead.

What the page cache has is read at once, everything else in a thread, with the frames that the schedule wants next asked
for on the way.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from archive.frame_reader import frame_chunks, is_plain, read_exactly
from dicomrelay.errors import FrameError, RelayError
from streamer.open_frames import FrameCache, Key, OpenFrames
from streamer.pieces import read_cached
from streamer.streams.wire import HEADER_BYTES, PIECE_BYTES

# The kernel reads no more than this for one WILLNEED on some devices; the rest follows with the reads.
_ADVISED_BYTES: Final = 4 * 1024 * 1024
Wanted = tuple[Key, int]


class FrameUnderWay:
    """A frame that is being sent.

    Parameters
    ----------
    frames : OpenFrames
        Its instance, borrowed until the frame has ended.
    number : int
        The frame, from 1.
    cold : callable
        Called, in a thread, when bytes have to come from a disk.

    Raises
    ------
    FrameOutOfRange, FramesNotAddressable, FrameError
        There is no such frame, or its row of the index is damaged.
    """

    def __init__(self, frames: OpenFrames, number: int, cold: Callable[[], None]) -> None:
        self.frames = frames
        self.number = number
        self.sent = 0
        self._cold = cold
        location = frames.index.locate(number)
        self.length = location.length_bytes
        self._parts: Iterator[tuple[int, int]] = iter(())
        self._part = (0, 0)
        self._chunks: Iterator[bytes] | None = None
        self._chunk = memoryview(b"")
        if is_plain(frames.index, location):
            self._parts = frames.index.pieces(location)
        else:
            self._chunks = frame_chunks(frames.index, location, frames.descriptor)

    async def piece(self, most: int) -> bytearray:
        """The next piece, at most so many bytes, with 40 bytes in front that are not filled in yet.

        Raises
        ------
        FrameError, OSError
            The data file ends inside the frame, or cannot be read.
        """
        size = min(most, PIECE_BYTES, self.length - self.sent)
        buffer = bytearray(HEADER_BYTES + size)
        view = memoryview(buffer)[HEADER_BYTES:]
        if self._chunks is not None:
            await asyncio.to_thread(self._fill_changed, view, self._chunks)
        else:
            for at, offset, length in self._plan(size):
                target = view[at : at + length]
                if not read_cached(self.frames.descriptor, target, offset):
                    await asyncio.to_thread(self._fill, target, offset)
        self.sent += size
        return buffer

    def _plan(self, size: int) -> list[tuple[int, int, int]]:
        """Where the bytes of a piece come from: place in the piece, offset in the file, length."""
        plan: list[tuple[int, int, int]] = []
        filled = 0
        while filled < size:
            offset, left = self._part
            if not left:
                part = next(self._parts, None)
                if part is None:
                    raise FrameError(f"the fragments of frame {self.number} have fewer bytes than the frame")
                self._part = part
                continue
            length = min(left, size - filled)
            plan.append((filled, offset, length))
            self._part = (offset + length, left - length)
            filled += length
        return plan

    def _fill(self, target: memoryview, offset: int) -> None:
        self._cold()
        target[:] = read_exactly(self.frames.descriptor, len(target), offset)

    def _fill_changed(self, target: memoryview, chunks: Iterator[bytes]) -> None:
        filled = 0
        while filled < len(target):
            if not self._chunk:
                self._chunk = memoryview(next(chunks))
            length = min(len(self._chunk), len(target) - filled)
            target[filled : filled + length] = self._chunk[:length]
            self._chunk = self._chunk[length:]
            filled += length


def open_ahead(cache: FrameCache, wanted: Sequence[Wanted]) -> OpenFrames:
    """Open the instance of the first frame; then those of the others, and have the system read their frames.

    Raises
    ------
    RelayError
        As `FrameCache.open`, of the first only: what is wrong with another one is seen when its turn comes.
    """
    (first, _), *others = wanted
    frames = cache.open(first)
    advise(cache, others)
    return frames


def advise(cache: FrameCache, wanted: Sequence[Wanted]) -> None:
    """Have the system read frames ahead (posix_fadvise). In a thread: it opens files."""
    for key, number in wanted:
        try:
            with cache.borrowed(key) as frames:
                location = frames.index.locate(number)
                if is_plain(frames.index, location):
                    for offset, length in frames.index.pieces(location):
                        _will_need(frames.descriptor, offset, length)
                else:
                    _will_need(frames.descriptor, location.offset, location.span_bytes)
        except (RelayError, OSError):
            continue


def _will_need(descriptor: int, offset: int, length: int) -> None:
    if hasattr(os, "posix_fadvise"):  # not on macOS
        os.posix_fadvise(descriptor, offset, min(length, _ADVISED_BYTES), os.POSIX_FADV_WILLNEED)
