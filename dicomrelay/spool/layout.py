"""The paths of the spool and the names in it, all of them ours."""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicomrelay.errors import SpoolCorrupt, SpoolError
from dicomrelay.spool.operations import sync_path

PART, ITEM, REFERENCE = ".part", ".dcm", ".json"
_ID: Final = re.compile(r"[0-9a-f]{28}", re.ASCII)
_TIME_DIGITS, _TOKEN_DIGITS, _BUCKET_DIGITS = 12, 10, 8


def is_id(text: str) -> bool:
    """Whether `text` is an id as we make them."""
    return _ID.fullmatch(text) is not None


def writer_token(item_id: str) -> str:
    """The token of the writer that made an id."""
    return item_id[_TIME_DIGITS : _TIME_DIGITS + _TOKEN_DIGITS]


def begun_ms(name: str) -> int:
    """When the item of that id, or of that file, was begun, in milliseconds since the epoch; 0 of a name that is not ours."""
    try:
        return int(name[:_TIME_DIGITS], 16)
    except ValueError:
        return 0


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are under the root of a spool."""

    root: Path

    @property
    def new(self) -> Path:
        """Items that are not yet in the ledger, and files being written."""
        return self.root / "new"

    @property
    def kept(self) -> Path:
        """Items that are in the ledger, in buckets."""
        return self.root / "kept"

    @property
    def aside(self) -> Path:
        """Items in conflict with another of the same SOP Instance UID."""
        return self.root / "aside"

    @property
    def corrupt(self) -> Path:
        """Items that cannot be trusted."""
        return self.root / "corrupt"

    @property
    def writers(self) -> Path:
        """Lock files of the writers."""
        return self.root / "writers"

    def bucket(self, item_id: str) -> Path:
        """Where an item is kept."""
        return self.kept / self.bucket_name(item_id)

    @staticmethod
    def bucket_name(item_id: str) -> str:
        """The name of the bucket of an item."""
        return item_id[:_BUCKET_DIGITS]

    def create(self) -> None:
        """Make the directories, and their names durable.

        Raises
        ------
        SpoolError
            It cannot be done; the message names the directory.
        """
        try:
            made = not self.root.is_dir()
            for directory in (self.root, self.new, self.kept, self.aside, self.corrupt, self.writers):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if made:
                sync_path(self.root.parent)
            sync_path(self.root)
        except OSError as error:
            raise SpoolError(
                f"{error.filename or self.root}: no spool can be made here: {error.strerror}"
            ) from error

    def find(self, item_id: str) -> Path:
        """The file of an item, wherever it is now; `corrupt/` is not looked at, for nobody may use what lies there.

        Raises
        ------
        SpoolCorrupt
            There is none.
        SpoolError
            The file system does not say, for now.
        """
        if is_id(item_id):
            # Twice: an item on its way from new to kept has both names for a moment, and never none.
            for folder in (self.bucket(item_id), self.new, self.bucket(item_id), self.aside):
                for suffix in (ITEM, REFERENCE):
                    path = folder / (item_id + suffix)
                    try:
                        if path.exists():
                            return path
                    except OSError as error:
                        raise SpoolError(f"{path}: cannot be looked at: {error.strerror}") from error
        raise SpoolCorrupt(f"{self.root}: no item {item_id}")


class Identity:
    """This process as a writer: a token, the lock that tells others it is alive, and the ids that it gives out."""

    def __init__(self, layout: Layout) -> None:
        self.pid = os.getpid()
        self._counter = itertools.count()
        self._fd, self.token = _take_token(layout.writers)
        self._path = layout.writers / self.token

    def next_id(self) -> str:
        """A fresh id."""
        ms = time.time_ns() // 1_000_000
        return f"{ms:012x}{self.token}{next(self._counter) & 0xFFFFFF:06x}"

    def close(self) -> None:
        """Stop being a writer, once: nothing of this token may be in work."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._path.unlink(missing_ok=True)
            os.close(fd)


def _take_token(folder: Path) -> tuple[int, str]:
    while True:
        token = secrets.token_hex(_TOKEN_DIGITS // 2)
        fd = os.open(folder / token, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        # Somebody's recovery may have taken the lock in between, and the name away with it.
        if os.fstat(fd).st_nlink:
            return fd, token
        os.close(fd)


def is_alive(folder: Path, token: str) -> bool:
    """Whether the writer of that token lives; a dead one's lock file is removed."""
    try:
        fd = os.open(folder / token, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        (folder / token).unlink(missing_ok=True)
        return False
    finally:
        os.close(fd)
