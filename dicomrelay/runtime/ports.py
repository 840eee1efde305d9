"""Ports that are free now, for a system that runs for a while beside others: the demo, benchmarks, tests."""

from __future__ import annotations

import random
import socket
from typing import Final

# Below what systems give to outgoing connections (32768 and up on Linux, 49152 elsewhere): a port that is free now is then
# not taken by a connection of somebody else before we listen on it.
_FIRST, _LAST = 20_000, 32_000
_TRIES: Final = 1000


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that nobody listens on.

    Raises
    ------
    OSError
        There are none.
    """
    found: list[int] = []
    for _ in range(_TRIES):
        if len(found) == count:
            break
        port = random.randint(_FIRST, _LAST)  # noqa: S311 - spreads users, keeps no secret
        if port not in found and _is_free(port):
            found.append(port)
    if len(found) < count:
        raise OSError(f"no {count} free ports between {_FIRST} and {_LAST}")
    return found


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
