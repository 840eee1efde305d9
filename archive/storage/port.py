"""What an archive asks of whatever keeps its files. Keys are relative paths of `Layout`; it knows no index and no data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self


@dataclass(frozen=True, slots=True)
class Put:
    """What is to be kept.

    Attributes
    ----------
    source : Path
        A file; its bytes are read once.
    digest : str
        SHA-256 of the source's bytes from `digest_from` to its end, in hexadecimal.
    digest_from : int
        Where the data set begins, in bytes.
    preface : bytes
        When not empty, it takes the place of what is in front of `digest_from`.
    may_link : bool
        The source is durable and never changed in place: a hard link may stand for a copy.
    """

    source: Path
    digest: str
    digest_from: int = 0
    preface: bytes = b""
    may_link: bool = False


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object: its key, its size, and when it was written, in seconds since the epoch by the storage's clock."""

    key: str
    size_bytes: int
    changed_s: float


class Writing(Protocol):
    """Several objects that become durable together. For as many threads as the storage says (`at_once`)."""

    def put(self, key: str, wanted: Put, *, over: bool = False) -> int:
        """Keep a file under a key, whole or not at all, and return its size in bytes. Durable after `flush`.

        Parameters
        ----------
        over : bool
            What is under the key gives way, at once.

        Raises
        ------
        FileExistsError
            The key is taken. What is there is durable after `flush`, too.
        IntegrityMismatch
            The source's digest is not what was announced; nothing is left under the key.
        ArchiveError
            It can never be kept here.
        OSError
            It cannot be read, or not be written.
        ServiceUnavailable
            The storage does not answer, or does not let us in.
        """

    def flush(self) -> Mapping[str, OSError]:
        """Make everything that was put durable.

        Returns
        -------
        mapping
            What is not kept after all, by key, and why: FileExistsError where somebody else took the key meanwhile.

        Raises
        ------
        OSError
            Nothing is known of any of it, and it is not tried twice.
        """


class Replacing(Protocol):
    """Several objects that are to take the place of others: made ready, which takes its time, then put, which takes a moment.

    As a context: what was not put is let go of at its end.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def add(self, key: str, wanted: Put) -> None:
        """Make one ready; its source stays as it is until it is put. Raises as `Writing.put`, but for FileExistsError."""

    def flush(self) -> Mapping[str, OSError]:
        """Make what is ready durable; what is not, by key, and why. That is not put."""

    def put(self, key: str) -> int:
        """Put one in its place, whole or not at all, and return its size in bytes. Raises OSError, ServiceUnavailable."""

    def settle(self) -> None:
        """Make durable that they are in their places. Raises OSError: nothing is known of any of them then."""


class Storage(Protocol):
    """Keeps files by key. Threads may share it.

    Every method raises `ServiceUnavailable` when the storage does not answer, `ArchiveError` for a key that has no place in
    it and `OSError` when its system says no; those that read raise `FileNotFoundError` when there is nothing under the key.
    """

    @property
    def name(self) -> str:
        """How it is shown: no key, no credentials."""

    @property
    def at_once(self) -> int:
        """How many threads may put into one `Writing` at a time, and should: what is far away takes its time for each."""

    def require(self) -> None:
        """See that there is a place for stored files: without one each of them would seem to be gone.

        Raises
        ------
        ServiceUnavailable
            Its file system is not mounted, say, or its bucket is gone.
        """

    def writing(self) -> Writing:
        """A batch of objects to put."""

    def replacing(self) -> Replacing:
        """Objects to put over others."""

    def put(self, key: str, wanted: Put, *, over: bool = False) -> int:
        """One object, durable when this returns. Raises as `Writing.put` and `Writing.flush`."""

    def stat(self, key: str) -> StoredObject | None:
        """What is under a key; None when nothing is."""

    def stats(self, keys: Sequence[str]) -> tuple[StoredObject | None, ...]:
        """The same of each, several at a time where that is far away."""

    def read(self, key: str, offset: int, length: int) -> bytes:
        """So many bytes from an offset; fewer where the object ends."""

    def chunks(self, key: str, offset: int = 0, *, fresh: bool = False) -> Iterator[bytes]:
        """The bytes from an offset to the end, at most 8 MiB at a time, all of one object even when it is replaced meanwhile.

        Parameters
        ----------
        fresh : bool
            From where they are kept, not from what the system has in memory of them; and nothing is kept there.
        """

    def digest(self, key: str, offset: int = 0, *, fresh: bool = False) -> str:
        """SHA-256 of those bytes, in hexadecimal."""

    def path(self, key: str, digest: str = "", *, moved: Callable[[], None] = lambda: None) -> Path:
        """A local file with the bytes, to be opened soon: a cache may drop it later.

        Parameters
        ----------
        digest : str
            The data set's, where it is known: the bytes are those of this digest and not of a predecessor under the same key.
        moved : callable
            Called for every few MiB that were fetched: of a large file that takes minutes, in which a lease must live.
        """

    def fetch(self, key: str, digest: str = "") -> AbstractContextManager[Path]:
        """The same, and the file stays until the block ends."""

    def delete(self, key: str) -> None:
        """Let go of an object; one that is gone is fine. Durable after `flush_deletions`."""

    def flush_deletions(self, keys: Sequence[str]) -> None:
        """Make durable that these are gone."""

    def list(self, prefix: str) -> Iterator[list[StoredObject]]:
        """The objects below a folder's name (`data`), in pages of at most 1000, in an order that does not matter."""
