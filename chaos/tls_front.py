"""TLS in front of a destination that speaks none: what a relay meets when certificates are not as they should be."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import trustme

# What may be wrong, and what the table of outcomes calls it. The last two close without a word: nobody can tell what they want.
GOOD, EXPIRED, WRONG_HOST, UNTRUSTED, TLS_PEER, PLAIN_PEER = TROUBLES = (
    "good",
    "expired",
    "wrong-host",
    "untrusted",
    "tls-peer",
    "plain-peer",
)
_HOST: Final = "127.0.0.1"
_BUFFER_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class TlsFront:
    """Listens at a port of its own and passes on what comes over TLS.

    Attributes
    ----------
    port : int
        Where the relay is to call.
    more : str
        The keys of the destination's table in relay.toml that go with it.
    """

    port: int
    more: str
    _loop: asyncio.AbstractEventLoop
    _thread: threading.Thread

    @classmethod
    def start(cls, folder: Path, trouble: str, behind: int) -> TlsFront:
        """In front of the port `behind`; certificates and keys lie in the folder.

        Parameters
        ----------
        trouble : str
            One of `TROUBLES`.
        """
        folder.mkdir(parents=True)
        ours, other = trustme.CA(organization_name="ours"), trustme.CA(organization_name="another")
        ours.cert_pem.write_to_path(folder / "ca.pem")
        context = None if trouble == PLAIN_PEER else _context(ours, other, trouble)
        door = socket.create_server((_HOST, 0))
        loop = asyncio.new_event_loop()
        thread = threading.Thread(
            target=_serve, args=(loop, door, behind, context), name=f"tls-{trouble}", daemon=True
        )
        thread.start()
        tls = "" if trouble == TLS_PEER else f'tls = {{ ca = "{folder / "ca.pem"}" }}'
        return cls(door.getsockname()[1], tls, loop, thread)

    def stop(self) -> None:
        """Listen no more; what is open ends."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


def _context(ours: trustme.CA, other: trustme.CA, trouble: str) -> ssl.SSLContext:
    now = datetime.now(UTC)
    issuer = other if trouble == UNTRUSTED else ours
    leaf = issuer.issue_cert(
        "elsewhere.example" if trouble == WRONG_HOST else _HOST,
        not_before=now - timedelta(days=30),
        not_after=now - timedelta(days=1) if trouble == EXPIRED else now + timedelta(days=1),
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(context)
    return context


def _serve(
    loop: asyncio.AbstractEventLoop, door: socket.socket, behind: int, context: ssl.SSLContext | None
) -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            back, forth = await asyncio.open_connection(_HOST, behind)
            await asyncio.gather(_pump(reader, forth), _pump(back, writer))

    loop.set_exception_handler(lambda *_: None)  # handshakes that fail are what it is for
    server = loop.run_until_complete(asyncio.start_server(take, sock=door, ssl=context))
    loop.run_forever()
    server.close()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError, ssl.SSLError):
        while some := await source.read(_BUFFER_BYTES):
            sink.write(some)
            await sink.drain()
    sink.close()
