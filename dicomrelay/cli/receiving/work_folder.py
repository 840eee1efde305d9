"""The folder of what is under way, inside the output folder: whose it is, and what a crash has left there."""

from __future__ import annotations

import fcntl
import itertools
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from dicomrelay.errors import ConfigurationError, SpoolError

_NAME: Final = ".receiving"
_TRIES: Final = 10


class WorkFolder:
    """Held by a lock while it is open, and gone when it is closed.

    Parameters
    ----------
    root : Path
        The output folder; made if need be, mode 0700.

    Raises
    ------
    ConfigurationError
        It cannot be made or written, or another process has it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / _NAME
        self._lock_path = self._path / "lock"
        self._numbers = itertools.count(1)
        self._taking = threading.Lock()
        self._lock = self._take()
        for part in self._path.glob("*.part"):
            part.unlink(missing_ok=True)

    def next_part(self) -> str:
        """A path that nothing has, for one file. Where somebody removed the folder it is made again, with its lock.

        Raises
        ------
        SpoolError
            It cannot be made again, or another process has it now.
        """
        with self._taking:
            if os.fstat(self._lock).st_nlink == 0:
                gone = self._lock
                try:
                    self._lock = self._take()
                except ConfigurationError as error:
                    raise SpoolError(f"{self._path}: was removed while we were at work: {error}") from error
                os.close(gone)
        return f"{self._path}/{next(self._numbers)}.part"

    def close(self) -> None:
        """Remove it, unless something is in it; the lock goes last."""
        with suppress(OSError):
            self._lock_path.unlink()
            self._path.rmdir()
        os.close(self._lock)

    def _take(self) -> int:
        try:
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            for _ in range(_TRIES):
                lock = self._try()
                if lock is not None:
                    return lock
        except OSError as error:
            raise ConfigurationError(
                f"--output {self._root}: cannot be written: {error.strerror}: name another folder"
            ) from error
        raise self._taken()

    def _try(self) -> int | None:
        """The lock; None when another process removed it at that moment."""
        with suppress(FileExistsError):
            self._path.mkdir(mode=0o700)
        try:
            lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), self._lock_path.stat()):
                    return lock
        except BlockingIOError as error:
            os.close(lock)
            raise self._taken() from error
        except OSError:
            os.close(lock)
            raise
        os.close(lock)
        return None

    def _taken(self) -> ConfigurationError:
        return ConfigurationError(
            f"--output {self._root}: another `receive` or `get` is at work there: wait for it, or name another folder"
        )
