"""How many messages wait in the queues of the embedded broker, asked over its Unix socket in its own language.

Celery, kombu and a client of Redis take longer to import than everything else that `dicomrelay status` does. What is
asked is one LLEN a list (https://redis.io/docs/latest/develop/reference/protocol-spec/); kombu keeps a queue in a list of
its name, and messages of other priorities, of which we send none, in lists of their own.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from dicomrelay.errors import ServiceUnavailable

_MOST_BYTES = 1 << 16


def depths_at(path: Path, names: Sequence[str], *, timeout_s: float) -> dict[str, int]:
    """The length of each list.

    Parameters
    ----------
    path : Path
        The broker's Unix socket.
    timeout_s : float
        For each step of the way.

    Raises
    ------
    ServiceUnavailable
        Nobody listens, no answer came in time, or it is none.
    """
    question = b"".join(_command(b"LLEN", name.encode()) for name in names)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout_s)
            sock.connect(str(path))
            sock.sendall(question)
            lines = _lines(sock, len(names))
    except OSError as error:
        raise ServiceUnavailable(f"the broker does not answer ({type(error).__name__})") from error
    return {name: _length(line) for name, line in zip(names, lines, strict=True)}


def _command(*words: bytes) -> bytes:
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


def _lines(sock: socket.socket, count: int) -> list[bytes]:
    received = b""
    while received.count(b"\r\n") < count:
        more = sock.recv(4096)
        if not more or len(received) > _MOST_BYTES:
            raise ConnectionError("the connection ended, or this is no broker")
        received += more
    return received.split(b"\r\n")[:count]


def _length(line: bytes) -> int:
    if line[:1] != b":" or not line[1:].isdigit():
        # Such as -LOADING, while it reads its file.
        raise ServiceUnavailable("the broker does not answer (it is not ready)")
    return int(line[1:])
