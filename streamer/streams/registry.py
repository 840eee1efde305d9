"""The streams of this process, by name, and how many there may be."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from archive import Archive
from streamer.answers import HttpError
from streamer.audited import nobody_looks
from streamer.open_frames import FrameCache
from streamer.streams.gate import Gate
from streamer.streams.listings import Listings
from streamer.streams.session import Session

_RETRY_AFTER: Final = ((b"retry-after", b"10"),)


class Registry:
    """Begins streams and finds them again.

    Parameters
    ----------
    most : int
        Streams at once.
    prefix : str
        What their names begin with: who has them, among several processes.
    """

    def __init__(self, archive: Archive, cache: FrameCache, *, most: int, prefix: str = "") -> None:
        self._cache = cache
        self._listings = Listings(archive)
        self._gate = Gate()
        self._most = most
        self._prefix = prefix
        self._sessions: dict[str, Session] = {}

    @contextmanager
    def stream(self, looked: Callable[[str], None] = nobody_looks) -> Iterator[Session]:
        """A new stream, until the block ends; `looked` is told each study that it opens.

        Raises
        ------
        HttpError
            503: there are as many as there may be.
        """
        if len(self._sessions) >= self._most:
            raise HttpError(
                503, f"there are {self._most} streams already: ask again later", headers=_RETRY_AFTER
            )
        name = f"{self._prefix}{secrets.token_hex(16)}"
        session = Session(name, self._cache, self._listings, self._gate, looked=looked)
        self._sessions[session.name] = session
        try:
            yield session
        finally:
            del self._sessions[session.name]
            session.end()
            session.close()

    def find(self, name: str) -> Session | None:
        """A stream of this process."""
        return self._sessions.get(name)
