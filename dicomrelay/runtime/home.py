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
import re
import secrets
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from dicomrelay.errors import ConfigurationError, ServiceError
from dicomrelay.runtime import servers
from dicomrelay.settings import Settings
from dicomrelay.settings.services import EMBEDDED

FOLDERS: Final = ("spool", "archive", "db", "redis", "logs", "run")
# sockaddr_un.sun_path holds 108 bytes on Linux and 104 elsewhere, the closing NUL among them.
_SOCKET_PATH_LIMIT: Final = 100
_SPOOL_NAME: Final = re.compile(r"[!-~]{0,40}-[0-9a-f]{8}")
_LOCK_TRIES, _LOCK_AGAIN_S = 4, 0.1


def prepare(settings: Settings) -> None:
    """Make the folders of the home.

    Raises
    ------
    ConfigurationError
        The home cannot be made or written.
    """
    try:
        # First and by itself: `parents=True` gives its mode to the last folder only. One that is there already and is
        # open to others is somebody's choice and stays so; what we make in it is not open.
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in FOLDERS:
            settings.path(name).mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigurationError(
            f"{settings.home}: cannot be used as home ({error.strerror}): name another with --home or DICOMRELAY_HOME"
        ) from error


def spool_name(settings: Settings) -> str:
    """The name by which the ledger knows this spool and so whose work it is: made once, kept in the spool itself.

    A machine or a container may be renamed; its spool stays the same. The name is durable before it is told.

    Raises
    ------
    ConfigurationError
        The file is empty or damaged. No other name is made up: what is registered under the old one would be nobody's.
    """
    path = settings.path("spool", "identity")
    if not path.exists():
        _make_identity(path)
    _sync_folder(path.parent)  # also when it was there: another process may have made it just now
    return _read_name(path)


def known_spool_name(settings: Settings) -> str:
    """The same for those who only look: "" where there is none yet, and none is made.

    Raises
    ------
    ConfigurationError
        The file is empty or damaged.
    """
    path = settings.path("spool", "identity")
    return _read_name(path) if path.exists() else ""


def _read_name(path: Path) -> str:
    text = path.read_text("ascii", errors="replace").strip()
    if not _SPOOL_NAME.fullmatch(text):
        raise ConfigurationError(
            f"{path}: holds no name of a spool (it is {'damaged' if text else 'empty'}): `dicomrelay repair` writes it again "
            "where the ledger knows it; else write into it the name by which the ledger knows this spool, one line, from a "
            "backup or from the column `host` of the ledger's table `instances`"
        )
    return text


def write_spool_name(settings: Settings, name: str) -> None:
    """Give a spool its name back, over whatever is in the file; it is durable when this returns.

    Raises
    ------
    ConfigurationError
        It is no name of a spool.
    """
    if not _SPOOL_NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} is no name of a spool")
    path = settings.path("spool", "identity")
    fresh = path.with_suffix(f".{secrets.token_hex(4)}")
    try:
        with fresh.open("x", encoding="ascii") as file:
            file.write(f"{name}\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _make_identity(path: Path) -> None:
    token = secrets.token_hex(4)
    fresh = path.with_suffix(f".{token}")
    host = re.sub(r"[^!-~]", "?", socket.gethostname()[:40])
    try:
        with fresh.open("x", encoding="ascii") as file:
            file.write(f"{host}-{token}\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was faster: its name is the one
            path.hardlink_to(fresh)
    finally:
        fresh.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def copies_folder(settings: Settings) -> Path:
    """Where instances in another transfer syntax are made, to be sent and removed: on the spool's disk, `run/` may be memory."""
    return settings.path("spool", "copies")


def answers_folder(settings: Settings) -> Path:
    """What peers answered that the ledger has not heard of yet: beside the spool, where other workers of the host see it."""
    return settings.path("spool", "answers")


def ledger_url(settings: Settings) -> str:
    """The ledger's database, as SQLAlchemy names it.

    Raises
    ------
    ConfigurationError
        database.password_file cannot be read.
    """
    if not is_shared(settings):
        return f"sqlite:///{settings.path('db', 'ledger.sqlite')}"
    return servers.database_url(settings.database)


def is_shared(settings: Settings) -> bool:
    """Whether other hosts may be at the ledger: it is a server's, and no file of this home (docs/design/hosts.md)."""
    return settings.database.url.get_secret_value() != EMBEDDED


def archive_url(settings: Settings) -> str | None:
    """The database of the archive's index; None for the one in the archive's own folder. Raises as `ledger_url`."""
    return servers.database_url(settings.database) if is_shared(settings) else None


def broker_url(settings: Settings) -> str:
    """The broker, as kombu names it.

    Raises
    ------
    ConfigurationError
        broker.password_file cannot be read.
    """
    if not has_own_queues(settings):
        return f"redis+socket://{broker_socket(settings)}?virtual_host=0"
    return servers.broker_url(settings.broker)


def has_own_queues(settings: Settings) -> bool:
    """Whether the broker may serve other hosts too, so that what is a spool's has queues of the spool's name."""
    return settings.broker.url.get_secret_value() != EMBEDDED


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
        """Take the lock; one that is only being asked about (`is_held`) is free a moment later.

        Raises
        ------
        ServiceError
            Another process holds it.
        """
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not self._try(fd):
                holder = os.read(fd, 32).decode("ascii", "replace").strip() or "?"
                raise ServiceError(
                    f"{self._path.parent.parent}: `dicomrelay up` already runs here (process {holder}): "
                    "stop it first, or name another home with --home"
                )
            os.ftruncate(fd, 0)
            os.write(fd, str(os.getpid()).encode())
            self._fd, fd = fd, -1
        finally:
            if fd >= 0:
                os.close(fd)

    def _try(self, fd: int) -> bool:
        for left in reversed(range(_LOCK_TRIES)):
            if _flock(fd, fcntl.LOCK_EX):
                return True
            if left:
                time.sleep(_LOCK_AGAIN_S)
        return False

    def is_held(self) -> bool:
        """Whether a process holds it. Writes nothing, and hinders no other that asks."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _flock(fd, fcntl.LOCK_SH)
        finally:
            os.close(fd)

    def release(self) -> None:
        """Let go of it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _flock(fd: int, kind: int) -> bool:
    """Whether the lock could be had at once."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in {errno.EAGAIN, errno.EACCES}:
            raise
        return False
    return True
