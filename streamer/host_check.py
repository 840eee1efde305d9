"""Which names a streamer on loopback answers to.

A page of another site may give its own name the address 127.0.0.1 (DNS rebinding): for the browser what we answer is then
that site's, and its scripts may read it. The browser still sends the name, in the Host field (RFC 9110 Section 7.2).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from dicomrelay.settings import is_loopback
from streamer.answers import AsgiApp, HttpError, Receive, Scope, Send, header_values
from streamer.door import refuse

_HOST: Final = re.compile(r"(?:\[(?P<ip6>[^\]]*)\]|(?P<name>[^:]*))(?::[0-9]*)?", re.ASCII)
_LONGEST_KNOWN: Final = 256


def for_this_host(app: AsgiApp, *, name: str) -> AsgiApp:
    """The app for requests to loopback addresses, `localhost` and one name; others get 421 in words."""

    async def checked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            given = header_values(scope, b"host")
            if len(given) != 1 or not is_ours(given[0], name=name):
                refusal = HttpError(
                    421,
                    f"this server is on loopback and answers to localhost, 127.0.0.1 and {name} only: use one of them, "
                    "or let a proxy send it as Host",
                )
                await refuse(scope, send, refusal)
                return
        await app(scope, receive, send)

    return checked


def is_ours(host: str, *, name: str) -> bool:
    """Whether a Host field, with or without a port, is a loopback address, `localhost` or the name."""
    return (_known if len(host) <= _LONGEST_KNOWN else _is_ours)(host, name)


def _is_ours(host: str, name: str) -> bool:
    found = _HOST.fullmatch(host.lower())
    if found is None:
        return False
    wanted = found["name"] if found["ip6"] is None else found["ip6"]
    return is_loopback(wanted) or wanted == name.lower()


# Each client sends the same with every request.
_known: Final = lru_cache(maxsize=64)(_is_ours)
