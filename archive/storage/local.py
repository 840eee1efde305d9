"""A folder of this machine, or of a file server: links where it can, and every name flushed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from archive.disk import CHUNK_BYTES, Disk
from archive.layout import DATA, Layout
from archive.storage.local_writing import LocalReplacing, LocalWriting
from archive.storage.port import Put, StoredObject
from dicomrelay.errors import ServiceUnavailable

_PAGE: Final = 1000


class LocalStorage:
    """The files below one root.

    Parameters
    ----------
    layout : Layout
        Where they lie.
    disk : Disk
        The file system.
    """

    def __init__(self, layout: Layout, disk: Disk) -> None:
        self.layout = layout
        self.disk = disk
        # Whose name, and those above it, are durable: by inode.
        self.durable_folders: dict[Path, int] = {}

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.layout.root)

    @property
    def at_once(self) -> int:
        """One: a batch is for one thread."""
        return 1

    def require(self) -> None:
        """See `Storage`: an archive that holds something has a folder with something in it."""
        try:
            with os.scandir(self.layout.resolve(DATA)) as entries:
                if next(entries, None) is not None:
                    return
            what = "is empty"
        except OSError as error:
            what = (error.strerror or type(error).__name__).lower()
        raise ServiceUnavailable(f"{self.name}/{DATA}: {what}: is its file system mounted?")

    def writing(self) -> LocalWriting:
        """See `Storage`."""
        return LocalWriting(self.layout, self.disk, self.durable_folders)

    def replacing(self) -> LocalReplacing:
        """See `Storage`."""
        return LocalReplacing(self.layout, self.disk, self.durable_folders)

    def put(self, key: str, wanted: Put, *, over: bool = False) -> int:
        """See `Storage`."""
        writing = self.writing()
        size = writing.put(key, wanted, over=over)
        for error in writing.flush().values():
            raise error
        return size

    def stat(self, key: str) -> StoredObject | None:
        """See `Storage`."""
        return _stat(key, self.layout.resolve(key))

    def stats(self, keys: Sequence[str]) -> tuple[StoredObject | None, ...]:
        """See `Storage`."""
        folders: dict[str, Path] = {}
        return tuple(_stat(key, self.layout.resolve(key, folders)) for key in keys)

    def read(self, key: str, offset: int, length: int) -> bytes:
        """See `Storage`."""
        with self.layout.resolve(key).open("rb", buffering=0) as file:
            return _read_at(file.fileno(), offset, length)

    def chunks(self, key: str, offset: int = 0, *, fresh: bool = False) -> Iterator[bytes]:
        """See `Storage`."""
        with self.layout.resolve(key).open("rb", buffering=0) as file:
            if fresh:
                _forget(file.fileno())
            file.seek(offset)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
            if fresh:
                _forget(file.fileno())

    def digest(self, key: str, offset: int = 0, *, fresh: bool = False) -> str:
        """See `Storage`."""
        digest = hashlib.sha256()
        for chunk in self.chunks(key, offset, fresh=fresh):
            digest.update(chunk)
        return digest.hexdigest()

    def path(
        self,
        key: str,
        digest: str = "",  # noqa: ARG002 - there is no cache that could be of another one
        *,
        moved: Callable[[], None] = lambda: None,  # noqa: ARG002 - nothing is fetched
    ) -> Path:
        """See `Storage`; whether it is there is seen when it is opened."""
        return self.layout.resolve(key)

    @contextmanager
    def fetch(self, key: str, digest: str = "") -> Iterator[Path]:  # noqa: ARG002
        """See `Storage`."""
        yield self.layout.resolve(key)

    def delete(self, key: str) -> None:
        """See `Storage`. Folders stay."""
        self.disk.remove(self.layout.resolve(key))

    def flush_deletions(self, keys: Sequence[str]) -> None:
        """See `Storage`."""
        folders: dict[str, Path] = {}
        for folder in dict.fromkeys(self.layout.resolve(key, folders).parent for key in keys):
            # One that is gone was removed by somebody since: then its name is what is to be durable.
            there = folder
            while there != self.layout.root and not there.is_dir():
                there = there.parent
            with suppress(FileNotFoundError):
                self.disk.sync_directory(there)

    def list(self, prefix: str) -> Iterator[list[StoredObject]]:
        """See `Storage`; symbolic links are not followed."""
        page: list[StoredObject] = []
        for found in self._walk(self.layout.resolve(prefix)):
            page.append(found)
            if len(page) == _PAGE:
                yield page
                page = []
        if page:
            yield page

    def _walk(self, folder: Path) -> Iterator[StoredObject]:
        try:
            with os.scandir(folder) as entries:
                here = sorted(entries, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in here:
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(Path(entry.path))
                continue
            with suppress(FileNotFoundError):
                state = entry.stat(follow_symlinks=False)
                key = Path(entry.path).relative_to(self.layout.root).as_posix()
                yield StoredObject(key, state.st_size, max(state.st_mtime, state.st_ctime))


def _stat(key: str, path: Path) -> StoredObject | None:
    try:
        state = os.stat(path)  # noqa: PTH116 - of every file of an import, twice
    except (FileNotFoundError, NotADirectoryError):
        return None
    return StoredObject(key, state.st_size, state.st_mtime)


def _read_at(descriptor: int, offset: int, length: int) -> bytes:
    data = b""
    while len(data) < length and (more := os.pread(descriptor, length - len(data), offset + len(data))):
        data += more
    return data


def _forget(descriptor: int) -> None:
    """Drop what the system has of a file in memory: the next read is of the disk. Dirty pages stay."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
