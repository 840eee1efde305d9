"""The bytes of a frame as pieces: of the file, for the kernel to send, or read (docs/design/hot-path.md)."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final

from archive.frame_index import FrameLocation
from archive.frame_reader import CHUNK_BYTES, frame_chunks, is_plain, read_exactly
from streamer.open_frames import OpenFrames
from streamer.zero_copy import TURN_BYTES

# Less than this is sent faster together with its header fields, in one write.
LEAST_FILE_BYTES: Final = 64 * 1024
# The page cache is filled in steps of this size (read_ahead_kb), and emptied from the oldest.
_SAMPLE_BYTES: Final = 128 * 1024
_NO_WAIT: Final = getattr(os, "RWF_NOWAIT", 0)
_TRY_THREAD: Final = frozenset({errno.EAGAIN, errno.EOPNOTSUPP, errno.ENOTSUP})


@dataclass(frozen=True, slots=True)
class FilePiece:
    """Bytes of an open file that the page cache has, to be sent as they stand."""

    descriptor: int
    offset: int
    length: int


def has_file_pieces(frames: OpenFrames, location: FrameLocation) -> bool:
    """Whether a frame can be sent from its file: as it stands, and large enough in each fragment on the average."""
    return is_plain(frames.index, location) and location.span_bytes >= LEAST_FILE_BYTES * location.fragments


async def frame_pieces(
    frames: OpenFrames, location: FrameLocation, *, by_file: bool
) -> AsyncIterator[bytes | FilePiece]:
    """The bytes of a frame in order.

    Parameters
    ----------
    by_file : bool
        Whether the server takes pieces of files.

    Raises
    ------
    FrameError
        The data file ends inside the frame, or the index is damaged.
    """
    if not is_plain(frames.index, location):
        chunks = frame_chunks(frames.index, location, frames.descriptor)
        while chunk := await asyncio.to_thread(_next, chunks):
            yield chunk
        return
    descriptor = frames.descriptor
    for offset, length in frames.index.pieces(location):
        start = 0
        while start < length:
            size = min(TURN_BYTES, length - start)
            if by_file and size >= LEAST_FILE_BYTES and is_cached(descriptor, size, offset + start):
                yield FilePiece(descriptor, offset + start, size)
            else:
                size = min(CHUNK_BYTES, size)
                buffer = bytearray(size)
                if read_cached(descriptor, buffer, offset + start):
                    yield bytes(buffer)
                else:
                    yield await asyncio.to_thread(read_exactly, descriptor, size, offset + start)
            start += size


def is_cached(descriptor: int, size: int, offset: int) -> bool:
    """Whether the page cache seems to have a piece of a file: one byte of each 128 KiB, and the last, come without waiting."""
    if not _NO_WAIT:
        return False
    byte = bytearray(1)
    last = offset + size - 1
    try:
        for at in (*range(offset, last, _SAMPLE_BYTES), last):
            if os.preadv(descriptor, (byte,), at, _NO_WAIT) != 1:
                return False
    except OSError as error:
        if error.errno in _TRY_THREAD:
            return False
        raise
    return True


def read_cached(descriptor: int, target: bytearray | memoryview, offset: int) -> bool:
    """Fill a buffer from a file, when the page cache has all of it."""
    if not _NO_WAIT:
        return False
    try:
        return os.preadv(descriptor, (target,), offset, _NO_WAIT) == len(target)
    except OSError as error:
        if error.errno in _TRY_THREAD:
            return False
        raise


def _next(chunks: Iterator[bytes]) -> bytes:
    return next(chunks, b"")
