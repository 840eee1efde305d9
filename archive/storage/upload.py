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


class Parts:
    """Parts of one size, the last one shorter; the digest of the data set grows with them.

    Parameters
    ----------
    part_bytes : int
        More than the preface and what it replaces.

    Attributes
    ----------
    fault : OSError, optional
        Why the source could not be read; whoever takes the parts may tell it otherwise.
    """

    def __init__(self, wanted: Put, digest: _Hash, *, part_bytes: int) -> None:
        self._wanted = wanted
        self._digest = digest
        self._part_bytes = part_bytes
        self.fault: OSError | None = None

    def __iter__(self) -> Iterator[bytes]:
        """Once. Raises OSError."""
        try:
            yield from self._read()
        except OSError as error:
            self.fault = error
            raise

    def _read(self) -> Iterator[bytes]:
        wanted = self._wanted
        with wanted.source.open("rb", buffering=0) as file:
            position = file.seek(wanted.digest_from if wanted.preface else 0)
            part = bytearray(wanted.preface)
            while True:
                chunk = file.read(self._part_bytes - len(part))
                if chunk:
                    self._digest.update(memoryview(chunk)[max(0, wanted.digest_from - position) :])
                    position += len(chunk)
                    part += chunk
                if len(part) == self._part_bytes or not chunk:
                    if part:
                        yield bytes(part)
                    part = bytearray()
                if not chunk:
                    return
