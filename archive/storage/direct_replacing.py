"""Objects put over others where a service does that in one step: nothing can be made ready but what it is to be sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, Self

from archive.storage.port import Put


class _PutOver(Protocol):
    def __call__(self, key: str, wanted: Put, *, over: bool = False) -> int: ...


class DirectReplacing:
    """See `Replacing`.

    Parameters
    ----------
    put : callable
        As `Storage.put`.
    """

    def __init__(self, put: _PutOver) -> None:
        self._put = put
        self._wanted: dict[str, Put] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was written."""

    def add(self, key: str, wanted: Put) -> None:
        """See `Replacing`."""
        self._wanted[key] = wanted

    def flush(self) -> Mapping[str, OSError]:
        """See `Replacing`."""
        return {}

    def put(self, key: str) -> int:
        """See `Replacing`."""
        return self._put(key, self._wanted.pop(key), over=True)

    def settle(self) -> None:
        """See `Replacing`."""
