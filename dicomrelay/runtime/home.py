"""The home: one folder with everything that is ours on this machine.

```
home/  relay.toml?  spool/  archive/  db/  redis/  logs/  run/
```

All of it is for our user only (0700): spool and archive hold images of patients.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from dicomrelay.errors import ConfigurationError, ServiceError
from dicomrelay.settings import Settings

FOLDERS: Final = ("spool", "archive", "db", "redis", "logs", "run")
# sockaddr_un.sun_path holds 108 bytes on Linux and 104 elsewhere, the closing NUL among them.
_SOCKET_PATH_LIMIT: Final = 100


def prepare(settings: Settings) -> None:
    """Make the folders of the home.

    Raises
    ------
    ConfigurationError
        The home cannot be made or written.
    """
    try:
        for name in FOLDERS:
            settings.path(name).mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigurationError(
            f"{settings.home}: cannot be used as home ({error.strerror}): name another with --home or DICOMRELAY_HOME"
        ) from error


def spool_name(settings: Settings) -> str:
    """The name by which the ledger knows this spool and so whose work it is: made once, kept in the spool itself.

    A machine or a container may be renamed; its spool stays the same.
    """
    path = settings.path("spool", "identity")
    with suppress(FileNotFoundError):
        return path.read_text("ascii").strip()
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(f"{socket.gethostname()[:40]}-{secrets.token_hex(4)}\n", "ascii", errors="replace")
    with suppress(FileExistsError):  # another process was faster: its name is the one
        path.hardlink_to(fresh)
    fresh.unlink()
    return path.read_text("ascii").strip()


def ledger_url(settings: Settings) -> str:
    """The ledger's database, as SQLAlchemy names it."""
    url = settings.database.url.get_secret_value()
    if url == "embedded":
        return f"sqlite:///{settings.path('db', 'ledger.sqlite')}"
    return url


def archive_url(settings: Settings) -> str | None:
    """The database of the archive's index; None for the one in the archive's own folder."""
    url = settings.database.url.get_secret_value()
    return None if url == "embedded" else url


def broker_url(settings: Settings) -> str:
    """The broker, as kombu names it."""
    url = settings.broker.url.get_secret_value()
    if url == "embedded":
        return f"redis+socket://{broker_socket(settings)}?virtual_host=0"
    return url


def broker_socket(settings: Settings) -> Path:
    """The Unix socket of the embedded broker: in the home, or in a short place of our own where the home is too deep."""
    path = settings.path("run", "broker.sock")
    if len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT:
        return path
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"dicomrelay-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    if state.st_uid != os.getuid() or state.st_mode & 0o077 or folder.is_symlink():
        raise ServiceError(f"{folder}: belongs to somebody else or is open to others: remove it")
    return folder / f"{name}.sock"


class HomeLock:
    """Held by the one `dicomrelay up` of a home; the kernel lets go of it when the process ends, however it ends."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.path("run", "up.lock")
        self._fd: int | None = None

    def take(self) -> None:
        """Take the lock.

        Raises
        ------
        ServiceError
            Another process holds it.
        """
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(fd, 32).decode("ascii", "replace").strip() or "?"
            os.close(fd)
            if error.errno not in {errno.EAGAIN, errno.EACCES}:
                raise
            raise ServiceError(
                f"{self._path.parent.parent}: `dicomrelay up` already runs here (process {holder}): "
                "stop it first, or name another home with --home"
            ) from error
        os.ftruncate(fd, 0)
        os.write(fd, str(os.getpid()).encode())
        self._fd = fd

    def is_held(self) -> bool:
        """Whether a process holds it."""
        try:
            self.take()
        except ServiceError:
            return True
        self.release()
        return False

    def release(self) -> None:
        """Let go of it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
