"""What a client says of a request, as words; and the credit that it gives. No I/O."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from streamer.client.assembly import Request, Words, where

_PORTS: Final = {"http": 80, "https": 443}


def move(request: Request, primary: int | tuple[str, int]) -> Words:
    """Another primary index."""
    return {"op": "move", "id": request.request_id, "primary": where(primary)}


def weigh(request: Request, weight: int) -> Words:
    """Another weight."""
    return {"op": "weight", "id": request.request_id, "weight": weight}


def named(op: str, request: Request) -> Words:
    """One of `pause`, `resume` and `cancel`."""
    return {"op": op, "id": request.request_id}


class Window:
    """How many bytes may be under way: credit is given back as frames are taken.

    Parameters
    ----------
    size : int or None
        In bytes; None to leave it to TCP.
    """

    def __init__(self, size: int | None) -> None:
        self._size = size
        self._taken = 0

    def first(self) -> list[Words]:
        """What is said in the beginning."""
        return [] if self._size is None else [{"op": "credit", "bytes": self._size}]

    def took(self, payload_bytes: int) -> list[Words]:
        """What is said when so many bytes were taken: nothing until they are a quarter of the window."""
        self._taken += payload_bytes
        if self._size is None or self._taken * 4 < self._size:
            return []
        words: Words = {"op": "credit", "bytes": self._taken}
        self._taken = 0
        return [words]


@dataclass(frozen=True, slots=True)
class Server:
    """Where a streamer is, and who asks."""

    scheme: str
    host: str
    port: int
    path: str
    headers: dict[str, str]

    @property
    def websocket_url(self) -> str:
        """The same for a WebSocket."""
        scheme = "wss" if self.scheme == "https" else "ws"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}{self.path}/streams"


def server(url: str, *, token: str | None, user: tuple[str, str] | None) -> Server:
    """The server of a URL such as `http://127.0.0.1:8080`. Raises ValueError."""
    found = urlsplit(url)
    if found.scheme not in _PORTS or not found.hostname:
        raise ValueError(f"{url!r} is no URL of a streamer such as http://127.0.0.1:8080")
    headers = {}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    elif user is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(user).encode()).decode()
    port = found.port or _PORTS[found.scheme]
    return Server(found.scheme, found.hostname, port, found.path.rstrip("/"), headers)
