"""Renditions on disk, up to so many bytes: the least recently used go first (docs/design/renditions.md#the-cache).

Any number of processes may share a folder. Nothing in it is worth a flush: what a crash leaves half is known by its trailer.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final
from zlib import crc32

from dicomrelay.log import get_logger

_MAGIC: Final = b"DCMRENDN"
_TRAILER: Final = struct.Struct("<8sQII")
_SUFFIX: Final = ".r1"
_LOCKS: Final = 64
_CHUNK_BYTES: Final = 1 << 20
_TOUCHED_EVERY_S: Final = 60
# A look at the folder for so large a part of the limit; what is left when it was too much.
_LOOK_PART: Final = 16
_LEFT: Final = 0.9
_log = get_logger("dicomrelay.renditions")


class RenditionCache:
    """What is kept. Threads may share it.

    Parameters
    ----------
    root : Path
        The folder; made when something is kept.
    max_bytes : int
        What it may hold; 0 for nothing.
    min_free_bytes : int
        Room that is left on its disk in any case.
    """

    def __init__(self, root: Path, *, max_bytes: int, min_free_bytes: int = 0) -> None:
        self.root = root
        self.max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        # None until the folder was looked at; then what was added since.
        self._added: int | None = None
        self._lock = threading.Lock()

    @property
    def making(self) -> Path:
        """Where what is to be kept is made: on the same file system."""
        return self.root / "making"

    def read(self, key: str) -> bytes | None:
        """The bytes of a rendition that is kept whole, all checked; None when there is none.

        Parameters
        ----------
        key : str
            64 hexadecimal digits.
        """
        found = self._open(key)
        if found is None:
            return None
        with found as file:
            length, checksum = _trailer(file) or (-1, 0)
            data = file.read(length) if length >= 0 else b""
        if len(data) != length or crc32(data) != checksum:
            self._discard(key)
            return None
        return data

    def open(self, key: str) -> tuple[int, int] | None:
        """A descriptor of a rendition, and how many of its bytes are the rendition; close it. None when there is none."""
        found = self._open(key)
        if found is None:
            return None
        with found as file:
            trailer = _trailer(file)
            if trailer is None:
                self._discard(key)
                return None
            return os.dup(file.fileno()), trailer[0]

    def keep(self, key: str, made: Path) -> bool:
        """Take a finished file over, from `making`; whether it is kept, and gone from there.

        Never an error: what cannot be kept is made again.
        """
        try:
            size = made.stat().st_size
            if size > self.max_bytes // 8:
                return False
            if self._is_short():
                self.trim()
                return False
            with made.open("r+b") as file:
                checksum = 0
                while chunk := file.read(_CHUNK_BYTES):
                    checksum = crc32(chunk, checksum)
                trailer = struct.pack("<8sQI", _MAGIC, size, checksum)
                file.write(trailer + struct.pack("<I", crc32(trailer)))
            target = self._path(key)
            self._folder("kept", key[:2])
            made.replace(target)
        except OSError as error:
            _log.warning("a rendition is not kept", reason=error.strerror or type(error).__name__)
            return False
        self._add(size)
        return True

    @contextmanager
    def one_maker(self, key: str) -> Iterator[None]:
        """Nobody else makes this one meanwhile, in any process. Look for it again inside.

        Raises
        ------
        OSError
            The folder cannot be written.
        """
        folder = self._folder("locks")
        lock = os.open(
            folder / f"{int(key[:2], 16) % _LOCKS:02x}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def trim(self) -> int:
        """Remove the least recently used until the limit is kept; how many bytes there are then."""
        found: list[tuple[float, int, str]] = []
        kept = self.root / "kept"
        for folder, _, names in os.walk(kept):
            for name in names:
                path = os.path.join(folder, name)
                with suppress(OSError):
                    facts = os.stat(path)  # noqa: PTH116 - of many
                    found.append((facts.st_mtime, facts.st_size, path))
        total = sum(size for _, size, _ in found)
        if self._is_short():
            most = 0
        elif total <= self.max_bytes:
            return total
        else:
            most = int(self.max_bytes * _LEFT)
        for _, size, path in sorted(found):
            if total <= most:
                break
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108 - of many
                total -= size
        return total

    def _open(self, key: str) -> BinaryIO | None:
        try:
            file = self._path(key).open("rb")
        except OSError:
            return None
        with suppress(OSError):
            if time.time() - os.fstat(file.fileno()).st_mtime > _TOUCHED_EVERY_S:
                os.utime(file.fileno())
        return file

    def _discard(self, key: str) -> None:
        with suppress(OSError):
            self._path(key).unlink()

    def _folder(self, *parts: str) -> Path:
        """A folder of ours, made when it is not there, each for our user only. Raises OSError."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = self.root
        for part in parts:
            folder /= part
            folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def _path(self, key: str) -> Path:
        return self.root / "kept" / key[:2] / f"{key}{_SUFFIX}"

    def _is_short(self) -> bool:
        return shutil.disk_usage(self.root).free < self._min_free_bytes

    def _add(self, size: int) -> None:
        with self._lock:
            added = self._added
            is_due = added is None or added + size > self.max_bytes // _LOOK_PART
            self._added = 0 if is_due or added is None else added + size
        if is_due:
            with suppress(OSError):
                self.trim()


def _trailer(file: BinaryIO) -> tuple[int, int] | None:
    """Length and checksum of what is in front of it; None when the file is not whole. The file is at its beginning then."""
    size = os.fstat(file.fileno()).st_size
    data = os.pread(file.fileno(), _TRAILER.size, max(0, size - _TRAILER.size))
    if len(data) < _TRAILER.size:
        return None
    magic, length, checksum, own = _TRAILER.unpack(data)
    if magic != _MAGIC or own != crc32(data[:-4]) or length != size - _TRAILER.size:
        return None
    return length, checksum
