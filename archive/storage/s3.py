"""A bucket that speaks S3: conditional writes, bound reads, a local cache for whoever needs a file."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final

import obstore

from archive.storage.cache import Cache
from archive.storage.direct_replacing import DirectReplacing
from archive.storage.port import Put, StoredObject
from archive.storage.s3_faults import no_bucket, translated
from archive.storage.upload import Parts, whole
from dicomrelay.errors import ArchiveError, IntegrityMismatch, ServiceUnavailable

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Store

# What is larger is uploaded in parts of that size, so many at a time; one such upload at a time in a process.
PART_BYTES: Final = 8 * 1024 * 1024
_PARTS_AT_ONCE: Final = 4
# A part is copied by the service itself, and S3 copies no more at once.
LARGEST_BYTES: Final = 5 * 1024**3
UPLOADS: Final = "uploads"
# Smaller objects on their way at a time, each in memory.
_AT_ONCE: Final = 8
_PAGE: Final = 1000


class S3Storage:
    """The objects below one prefix of a bucket. It is its own `Writing`: what is put is durable at once.

    Parameters
    ----------
    store : S3Store
        The bucket and prefix, with credentials, limits of time and `copy_if_not_exists = "multipart"`.
    name : str
        How it is shown.
    cache : Cache
        Where fetched files are.
    """

    def __init__(self, store: S3Store, *, name: str, cache: Cache) -> None:
        self._store = store
        self._name = name
        self._cache = cache
        self._large = threading.Lock()
        # What the service was seen to refuse, as it must: to put, or to copy, over an object that is there.
        self._proven: set[str] = set()

    @property
    def name(self) -> str:
        """`s3://bucket/prefix`."""
        return self._name

    @property
    def at_once(self) -> int:
        """See `Storage`."""
        return _AT_ONCE

    def writing(self) -> S3Storage:
        """See `Storage`."""
        return self

    def replacing(self) -> DirectReplacing:
        """See `Storage`."""
        return DirectReplacing(self.put)

    def flush(self) -> Mapping[str, OSError]:
        """Nothing is left to do: a service acknowledges what is durable."""
        return {}

    def put(self, key: str, wanted: Put, *, over: bool = False) -> int:
        """See `Writing.put`."""
        key = _checked(key)
        size = (
            wanted.source.stat().st_size - (wanted.digest_from if wanted.preface else 0) + len(wanted.preface)
        )
        if size > LARGEST_BYTES:
            raise ArchiveError(f"{size} bytes are more than {self._name} takes at once ({LARGEST_BYTES})")
        if not over:
            self._prove("put" if size <= PART_BYTES else "copy")
        if size <= PART_BYTES:
            data, digest = whole(wanted)
            _compare(wanted, digest)
            with self._writes():
                obstore.put(
                    self._store, key, data, mode="overwrite" if over else "create", use_multipart=False
                )
        else:
            self._put_large(key, wanted, over=over)
        # A damaged one may have been fetched before.
        self._cache.forget(key, wanted.digest)
        return size

    def _put_large(self, key: str, wanted: Put, *, over: bool) -> None:
        """Under a name of its own first; then the service copies it, and only if the key is free."""
        temporary = f"{UPLOADS}/{uuid.uuid4().hex}"
        digest = hashlib.sha256()
        parts = Parts(wanted, digest, part_bytes=PART_BYTES)
        with self._large:
            try:
                with self._writes(parts):
                    obstore.put(
                        self._store,
                        temporary,
                        parts,
                        use_multipart=True,
                        chunk_size=PART_BYTES,
                        max_concurrency=_PARTS_AT_ONCE,
                    )
                _compare(wanted, digest.hexdigest())
                with translated(self._name):
                    obstore.copy(self._store, temporary, key, overwrite=over)
            finally:
                # What cannot be removed now is found by `check` as a leftover.
                with suppress(ServiceUnavailable, OSError), translated(self._name):
                    obstore.delete(self._store, temporary)

    @contextmanager
    def _writes(self, parts: Parts | None = None) -> Iterator[None]:
        """Around an upload: what is not found is the bucket, and what cannot be read is the source."""
        try:
            with translated(self._name):
                yield
        except (OSError, ServiceUnavailable) as error:
            if parts is not None and parts.fault is not None:
                raise parts.fault from None
            if isinstance(error, FileNotFoundError):
                raise no_bucket(self._name) from None
            raise

    def _prove(self, what: str) -> None:
        """Once in a process: a service that does not know conditional writes would put one image over another."""
        if what in self._proven:
            return
        probe = f"{UPLOADS}/{uuid.uuid4().hex}"
        try:
            with self._writes():
                obstore.put(self._store, probe, b"probe", mode="create", use_multipart=False)
            with translated(self._name):
                if what == "put":
                    obstore.put(self._store, probe, b"again", mode="create", use_multipart=False)
                else:
                    obstore.copy(self._store, probe, probe, overwrite=False)
        except FileExistsError:
            self._proven.add(what)
            return
        finally:
            with suppress(ServiceUnavailable, OSError), translated(self._name):
                obstore.delete(self._store, probe)
        raise ServiceUnavailable(
            f"{self._name} does not know conditional writes (If-None-Match, to {what}): it would overwrite; "
            "use another service, or an update of this one"
        )

    def stat(self, key: str) -> StoredObject | None:
        """See `Storage`."""
        try:
            return _stored(key, self._head(key))
        except FileNotFoundError:
            self.require()
            return None

    def stats(self, keys: Sequence[str]) -> tuple[StoredObject | None, ...]:
        """See `Storage`."""
        if len(keys) < 2:
            return tuple(self.stat(key) for key in keys)
        with ThreadPoolExecutor(min(_AT_ONCE, len(keys)), thread_name_prefix="stat") as pool:
            return tuple(pool.map(self.stat, keys))

    def read(self, key: str, offset: int, length: int) -> bytes:
        """See `Storage`."""
        head = self._head(key)
        return self._range(key, head, offset, min(offset + length, head["size"]))

    def chunks(self, key: str, offset: int = 0, *, fresh: bool = False) -> Iterator[bytes]:  # noqa: ARG002 - it is always
        """See `Storage`."""
        head = self._head(key)
        for start in range(offset, head["size"], PART_BYTES):
            yield self._range(key, head, start, min(start + PART_BYTES, head["size"]))

    def digest(self, key: str, offset: int = 0, *, fresh: bool = False) -> str:
        """See `Storage`."""
        digest = hashlib.sha256()
        for chunk in self.chunks(key, offset, fresh=fresh):
            digest.update(chunk)
        return digest.hexdigest()

    def path(self, key: str, digest: str = "", *, moved: Callable[[], None] = lambda: None) -> Path:
        """See `Storage`: fetched into the cache when it is not there."""
        return self._cache.path(key, digest, lambda file: self._fill(key, file, moved))

    def fetch(self, key: str, digest: str = "") -> AbstractContextManager[Path]:
        """See `Storage`."""
        return self._cache.holding(key, digest, lambda file: self._fill(key, file))

    def delete(self, key: str) -> None:
        """See `Storage`."""
        with suppress(FileNotFoundError), translated(self._name):
            obstore.delete(self._store, _checked(key))

    def flush_deletions(self, keys: Sequence[str]) -> None:
        """See `Storage`: a service acknowledges what is durable."""

    def list(self, prefix: str) -> Iterator[list[StoredObject]]:
        """See `Storage`."""
        try:
            with translated(self._name):
                pages = obstore.list(self._store, _checked(prefix), chunk_size=_PAGE)
            while True:
                with translated(self._name):
                    page = next(pages, None)
                if page is None:
                    return
                yield [_stored(entry["path"], entry) for entry in page]
        except FileNotFoundError:
            raise no_bucket(self._name) from None

    def _head(self, key: str) -> ObjectMeta:
        with translated(self._name):
            return obstore.head(self._store, _checked(key))

    def _range(self, key: str, head: ObjectMeta, start: int, end: int) -> bytes:
        """Part of the object that `head` is of, and of no other that has taken its place since."""
        if start >= end:
            return b""
        with translated(self._name):
            got = obstore.get(
                self._store, _checked(key), options={"range": (start, end), "if_match": head["e_tag"]}
            )
            data = bytes(got.bytes())
        if len(data) != end - start:
            raise ServiceUnavailable(f"{self._name} sent {len(data)} bytes where it has {end - start}")
        return data

    def _fill(self, key: str, file: BinaryIO, moved: Callable[[], None] = lambda: None) -> None:
        for chunk in self.chunks(key):
            file.write(chunk)
            moved()

    def require(self) -> None:
        """See `Storage`. A bucket that is gone says of every object that there is none: nobody shall take that for an answer."""
        for _ in self.list("bucket-is-there"):
            return


def _checked(key: str) -> str:
    """A key as the service knows it. Raises ArchiveError for one that is none of ours."""
    parts = PurePosixPath(key).parts
    if "\0" in key or not parts or parts[0] == "/" or ".." in parts:
        raise ArchiveError(f"{PurePosixPath(key).name!r} has no place in the archive")
    return "/".join(parts)


def _compare(wanted: Put, digest: str) -> None:
    if digest != wanted.digest:
        raise IntegrityMismatch(
            "the file has another digest than announced: was it changed?",
            expected=wanted.digest,
            actual=digest,
        )


def _stored(key: str, head: ObjectMeta) -> StoredObject:
    return StoredObject(key, head["size"], head["last_modified"].timestamp())
