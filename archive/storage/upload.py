"""The bytes of a `Put`, read once and digested on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from archive.storage.port import Put

if TYPE_CHECKING:
    from hashlib import _Hash


def whole(wanted: Put) -> tuple[bytes, str]:
    """All of it in memory, and the digest of the data set. Raises OSError."""
    data = wanted.source.read_bytes()
    digest = hashlib.sha256(memoryview(data)[wanted.digest_from :]).hexdigest()
    return (wanted.preface + data[wanted.digest_from :] if wanted.preface else data), digest


def parts_of(wanted: Put, digest: _Hash, *, part_bytes: int) -> Iterator[bytes]:
    """Parts of one size, the last one shorter; the digest of the data set grows with them. Raises OSError.

    Parameters
    ----------
    part_bytes : int
        More than the preface and what it replaces.
    """
    with wanted.source.open("rb", buffering=0) as file:
        left_out = wanted.digest_from if wanted.preface else 0
        position = file.seek(left_out)
        part = bytearray(wanted.preface)
        while True:
            chunk = file.read(part_bytes - len(part))
            if chunk:
                digest.update(memoryview(chunk)[max(0, wanted.digest_from - position) :])
                position += len(chunk)
                part += chunk
            if len(part) == part_bytes or not chunk:
                if part:
                    yield bytes(part)
                part = bytearray()
            if not chunk:
                return
