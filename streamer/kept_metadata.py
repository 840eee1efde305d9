"""Metadata of many instances that was made once, zipped in the cache of renditions (docs/design/retrieve.md#metadata)."""

from __future__ import annotations

import hashlib
import os
import secrets
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import dicomrelay
from archive.renditions.cache import RenditionCache
from dicomrelay.errors import ArchiveError
from dicomrelay.log import get_logger

# Fewer are read from their files as quickly.
LEAST_INSTANCES: Final = 8
_CHUNK_BYTES: Final = 256 * 1024
_GZIP: Final = zlib.MAX_WBITS | 16
_LEVEL: Final = 3
_log = get_logger("dicomrelay.streamer")


class KeptMetadata:
    """What was answered before, by what it was made of. Threads may share it.

    Parameters
    ----------
    cache : RenditionCache, optional
        Where it is kept; None keeps nothing.
    """

    def __init__(self, cache: RenditionCache | None) -> None:
        self._cache = cache

    def open(self, key: str) -> Iterator[bytes] | None:
        """A kept answer as gzip, in pieces; None when there is none."""
        found = self._cache.open(key) if self._cache is not None else None
        return None if found is None else _pieces(os.fdopen(found[0], "rb"), found[1])

    def keeping(self, key: str, body: Iterator[bytes], is_sound: Callable[[], bool]) -> Iterator[bytes]:
        """The same body; once all of it was taken it is kept, unless it is not sound. Nobody waits for an error of the disk."""
        if self._cache is None:
            yield from body
            return
        making: Path | None = self._cache.making / f"{secrets.token_hex(8)}.json.gz"
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        try:
            for piece in body:
                making = _written(making, packer.compress(piece))
                yield piece
            making = _written(making, packer.flush())
            if making is not None and is_sound():
                self._cache.keep(key, making)
        finally:
            if making is not None:
                with suppress(OSError):
                    making.unlink(missing_ok=True)


def key_of(listing_digest: str, base: str) -> str:
    """The name in the cache: of what is answered, by which version, with which addresses in it."""
    return hashlib.sha256(f"metadata {listing_digest} {dicomrelay.__version__} {base}".encode()).hexdigest()


def plain(zipped: Iterator[bytes]) -> Iterator[bytes]:
    """A kept answer for who takes no gzip. Raises ArchiveError when it is damaged."""
    unpacker = zlib.decompressobj(_GZIP)
    try:
        for piece in zipped:
            rest = piece
            while rest:
                yield unpacker.decompress(rest, _CHUNK_BYTES)
                rest = unpacker.unconsumed_tail
        yield unpacker.flush()
    except zlib.error as error:
        raise ArchiveError(f"metadata that was kept is damaged: {error}") from error


def _pieces(file: BinaryIO, length: int) -> Iterator[bytes]:
    # An argument of the generator: closed with it, also when nobody begins to read.
    with file:
        file.seek(0)
        while length > 0 and (piece := file.read(min(length, _CHUNK_BYTES))):
            length -= len(piece)
            yield piece


def _written(making: Path | None, piece: bytes) -> Path | None:
    """Add to what is being made; None when that cannot be: then it is not kept."""
    if making is None or not piece:
        return making
    try:
        making.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(
            os.open(making, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab"
        ) as file:
            file.write(piece)
    except OSError as error:
        _log.warning("metadata is not kept", action="streamer.metadata", reason=error.strerror)
        with suppress(OSError):
            making.unlink(missing_ok=True)
        return None
    return making
