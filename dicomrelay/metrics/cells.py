"""A file with the figures of one process, mapped into its memory (docs/design/metrics.md has the bytes)."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import secrets
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

SUFFIX: Final = ".cells"
_MAGIC: Final = b"DRCELLS1"
_SIZE: Final = 1 << 20
# What is written lies on blocks that the file has: a page of a hole that a full disk cannot fill ends the process (SIGBUS).
_BLOCK: Final = 1 << 16
_HEAD: Final = struct.Struct("=8sQ")
_SERIES: Final = struct.Struct("=II")
_USED: Final = struct.Struct("=Q")
_USED_AT: Final = len(_MAGIC)
_UNIT: Final = 8
_MAKING_S: Final = 60.0
_MOST_KEY: Final = 4096

Key = tuple[str, ...]  # the family's name, then the values of its labels


class DamagedCells(Exception):
    """The file is none of ours, or was cut short."""


class CellFile:
    """The file of this process, for one thread at a time.

    Raises
    ------
    OSError
        It cannot be made: the disk is full, or read-only.
    """

    def __init__(self, folder: Path, service: str) -> None:
        self.path = folder / f"{service}.{os.getpid()}.{secrets.token_hex(4)}{SUFFIX}"
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Before it has a length: who gathers takes a file without a lock for one of the dead, and an empty one for none yet.
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            os.ftruncate(self._fd, _SIZE)
            os.posix_fallocate(self._fd, 0, _BLOCK)
            self._map = mmap.mmap(self._fd, _SIZE)
        except OSError:
            self.path.unlink(missing_ok=True)
            os.close(self._fd)
            raise
        _HEAD.pack_into(self._map, 0, _MAGIC, _HEAD.size)
        self._bytes = memoryview(self._map)
        self._figures = self._bytes.cast("d")
        self._used = _HEAD.size
        self._allocated = _BLOCK

    def place(self, key: Key, width: int) -> int | None:
        """Make a series of `width` figures, all 0; where its first one is, or None when file or disk is full."""
        text = json.dumps(key, separators=(",", ":")).encode()
        start = self._used + _SERIES.size
        first = -(-(start + len(text)) // _UNIT) * _UNIT
        end = first + width * _UNIT
        if end > _SIZE or len(text) > _MOST_KEY or not self._has(end):
            return None
        _SERIES.pack_into(self._map, self._used, len(text), width)
        self._map[start : start + len(text)] = text
        # Last: before, a reader does not look there.
        _USED.pack_into(self._map, _USED_AT, end)
        self._used = end
        return first // _UNIT

    def _has(self, end: int) -> bool:
        """Whether the file has blocks up to there; they are asked for as they are needed."""
        while self._allocated < end:
            try:
                os.posix_fallocate(self._fd, self._allocated, _BLOCK)
            except OSError:
                return False
            self._allocated += _BLOCK
        return True

    def add(self, place: int, by: float) -> None:
        """Add to a figure."""
        self._figures[place] += by

    def set(self, place: int, value: float) -> None:
        """Replace a figure."""
        self._figures[place] = value

    def close(self) -> None:
        """Let go of it, as the end of the process does; the file stays for who gathers."""
        self._figures.release()
        self._bytes.release()
        with suppress(BufferError):
            self._map.close()
        os.close(self._fd)


def read(path: Path) -> Iterator[tuple[Key, Sequence[float]]]:
    """The series of a file, while its process may write to it.

    Raises
    ------
    OSError, DamagedCells
        It cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        head = file.read(_HEAD.size)
        if not head.strip(b"\0"):  # begun a moment ago
            return
        if len(head) < _HEAD.size:
            raise DamagedCells(f"{path.name} is too short")
        magic, used = _HEAD.unpack(head)
        content = head + file.read(max(0, min(used, _SIZE) - _HEAD.size))
    if magic != _MAGIC or used > len(content):
        raise DamagedCells(f"{path.name} is none of ours, or was cut short")
    at = _HEAD.size
    while at < used:
        key, figures, at = _series(path, content, at)
        yield key, figures


def _series(path: Path, content: bytes, at: int) -> tuple[Key, Sequence[float], int]:
    try:
        length, width = _SERIES.unpack_from(content, at)
        start = at + _SERIES.size
        first = -(-(start + length) // _UNIT) * _UNIT
        key = json.loads(content[start : start + length])
        figures = struct.unpack_from(f"={width}d", content, first)
    except (struct.error, ValueError) as error:
        raise DamagedCells(f"{path.name} is damaged at byte {at}") from error
    if not (isinstance(key, list) and key and all(isinstance(part, str) for part in key)):
        raise DamagedCells(f"{path.name} has no key at byte {at}")
    return tuple(key), figures, first + width * _UNIT


def is_of_the_dead(path: Path) -> bool:
    """Whether the process of a file lives no more: nobody holds its lock. False for a file that is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        # Empty: its process is between two lines of CellFile; or there was a power cut, and it is between them no more.
        status = os.fstat(fd)
        return status.st_size > 0 or abs(time.time() - status.st_mtime) > _MAKING_S
    finally:
        os.close(fd)
