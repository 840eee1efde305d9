"""Frame indexes and data files that are kept open: bounded, and dropped when the files change."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from archive import Archive
from archive.frame_index import FrameIndex
from dicomrelay.errors import ArchiveError, FrameError, RelayError, ServiceUnavailable
from streamer.answers import HttpError

Key = tuple[str, str, str]
_Identity = tuple[int, int, int, int]
LARGEST: Final = 256
_RETRY_AFTER_S: Final = 10


class OpenFrames:
    """One instance ready to be streamed: its frame index and the descriptor of its data file."""

    def __init__(self, index: FrameIndex, index_path: Path, data_path: Path, identity: _Identity) -> None:
        self.index = index
        self.index_path = index_path
        self.identity = identity
        self.users = 0
        self.is_dropped = False
        try:
            self.descriptor = os.open(data_path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            index.close()
            raise
        actual = os.fstat(self.descriptor).st_size
        if actual != index.header.data_bytes:
            self.close()
            instance = PurePosixPath(index.header.data_path).stem
            expected = index.header.data_bytes
            raise FrameError(
                f"the file of {instance} has {actual} bytes where its frame index expects {expected}"
            )

    def close(self) -> None:
        """Close both files."""
        self.index.close()
        os.close(self.descriptor)


class FrameCache:
    """The open instances, least recently used out first. A file in use is closed when its last user is done."""

    def __init__(self, archive: Archive, *, largest: int = LARGEST) -> None:
        self._archive = archive
        self._largest = largest
        self._open: OrderedDict[Key, OpenFrames] = OrderedDict()
        self._lock = threading.Lock()
        self._preparing = threading.Lock()

    def peek(self, key: Key) -> OpenFrames | None:
        """The instance, when it is open and unchanged: two system calls, no waiting. Give it back with `release`."""
        with self._lock:
            found = self._open.get(key)
            if found is None:
                return None
            if _identity(found.index_path) != found.identity:
                self._drop(key)
                return None
            self._open.move_to_end(key)
            found.users += 1
            return found

    def open(self, key: Key) -> OpenFrames:
        """The instance, opened now, its frame index made when there is none. Give it back with `release`.

        Raises
        ------
        InstanceNotFound
            The archive has no such instance.
        FrameError, ArchiveError
            Its frames cannot be read.
        HttpError
            503: it has no frame index yet and the archive is read-only here.
        """
        found = self.peek(key)
        if found is not None:
            return found
        opened = self._open_files(key)
        with self._lock:
            if key in self._open:
                self._drop(key)
            opened.users = 1
            self._open[key] = opened
            while len(self._open) > self._largest:
                self._drop(next(iter(self._open)))
        return opened

    def release(self, frames: OpenFrames) -> None:
        """Say that a user is done."""
        with self._lock:
            frames.users -= 1
            if frames.is_dropped and not frames.users:
                frames.close()

    @contextmanager
    def borrowed(self, key: Key) -> Iterator[OpenFrames]:
        """`open` and `release` around a block."""
        frames = self.open(key)
        try:
            yield frames
        finally:
            self.release(frames)

    def close(self) -> None:
        """Close every file that nobody uses, and the others once they are released."""
        with self._lock:
            for key in [*self._open]:
                self._drop(key)

    def _drop(self, key: Key) -> None:
        dropped = self._open.pop(key)
        dropped.is_dropped = True
        if not dropped.users:
            dropped.close()

    def _open_files(self, key: Key) -> OpenFrames:
        layout = self._archive.layout
        path = layout.resolve(layout.frames(*key))
        try:
            try:
                return self._open_at(path)
            except (FileNotFoundError, FrameError):
                # Not prepared yet, or made for other bytes: one at a time, and the index on disk says which instance.
                self._prepare(key)
                return self._open_at(path)
        except OSError as error:
            # Not from it: its path holds the patient id, and a traceback would show that.
            raise ArchiveError(f"frames of {key[-1]}: {error.strerror or type(error).__name__}") from None

    def _prepare(self, key: Key) -> None:
        stored = self._archive.find(*key)
        try:
            with self._preparing:
                self._archive.prepare_frames_of(stored)
        except ServiceUnavailable as error:
            raise HttpError(
                503,
                f"the frames of {key[-1]} are not prepared yet, and this server cannot write to the archive: "
                "ask again once a worker has prepared them",
                headers=((b"retry-after", str(_RETRY_AFTER_S).encode()),),
            ) from error

    def _open_at(self, path: Path) -> OpenFrames:
        identity = _identity(path)
        index = FrameIndex.open(path)
        try:
            data_path = self._archive.frame_data(index.header)
        except (OSError, RelayError):
            index.close()
            raise
        return OpenFrames(index, path, data_path, identity or (0, 0, 0, 0))


def _identity(path: Path) -> _Identity | None:
    try:
        found = path.stat()
    except OSError:
        return None  # opening it says why
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
