"""A folder of this machine, or of a file server: links where it can, and every name flushed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from archive.disk import CHUNK_BYTES, Disk, temporary_name
from archive.layout import Layout
from archive.storage.port import Put, StoredObject
from dicomrelay.errors import IntegrityMismatch

_PAGE: Final = 1000
# Folders known to be durable in their parents; forgotten all at once when there are too many.
_REMEMBERED_FOLDERS: Final = 100_000


class LocalWriting:
    """Files of one batch and the folders that have new names in them."""

    def __init__(self, storage: LocalStorage) -> None:
        self._layout = storage.layout
        self._disk = storage.disk
        self._durable_folders = storage.durable_folders
        self._changed: dict[Path, None] = {}

    def put(self, key: str, wanted: Put, *, over: bool = False) -> int:
        """See `Writing.put`."""
        target = self._layout.resolve(key)
        self._make_folders(target.parent)
        try:
            self._put(wanted, target, over=over)
        except FileExistsError:
            # A crash may have left it there, its name not durable.
            self._changed[target.parent] = None
            raise
        self._changed[target.parent] = None
        return target.stat().st_size

    def flush(self) -> None:
        """Flush every folder with new names, from the leaves up, each once."""
        for folder in sorted(self._changed, key=lambda path: len(path.parts), reverse=True):
            self._disk.sync_directory(folder)
        if len(self._durable_folders) > _REMEMBERED_FOLDERS:
            self._durable_folders.clear()
        self._durable_folders.update(self._changed)
        self._changed.clear()

    def _make_folders(self, folder: Path) -> None:
        """Make the folder and those above it; their names are flushed with this batch unless known to be durable."""
        missing = []
        while folder != self._layout.root and folder not in self._durable_folders:
            missing.append(folder)
            folder = folder.parent
        for path in reversed(missing):
            self._disk.make_directory(path)
            self._changed[path.parent] = None

    def _put(self, wanted: Put, target: Path, *, over: bool) -> None:
        may_link = wanted.may_link and not wanted.preface and not over
        if may_link and self._disk.link(wanted.source, target):
            return
        if not over and target.exists():
            raise FileExistsError(str(target))
        temporary = temporary_name(target)
        try:
            digest = self._disk.copy(
                wanted.source, temporary, preface=wanted.preface, digest_from=wanted.digest_from
            )
            if digest != wanted.digest:
                raise IntegrityMismatch(
                    f"{wanted.source} has another digest than announced: was it changed?",
                    expected=wanted.digest,
                    actual=digest,
                )
            if over:
                self._disk.replace(temporary, target)
            else:
                self._disk.publish(temporary, target)
        except (OSError, IntegrityMismatch):
            self._disk.remove(temporary)
            raise


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
        self.durable_folders: set[Path] = set()

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.layout.root)

    @property
    def at_once(self) -> int:
        """One: a batch is for one thread."""
        return 1

    def writing(self) -> LocalWriting:
        """See `Storage`."""
        return LocalWriting(self)

    def put(self, key: str, wanted: Put, *, over: bool = False) -> int:
        """See `Storage`."""
        writing = self.writing()
        size = writing.put(key, wanted, over=over)
        writing.flush()
        return size

    def stat(self, key: str) -> StoredObject | None:
        """See `Storage`."""
        with suppress(FileNotFoundError, NotADirectoryError):
            state = self.layout.resolve(key).stat()
            return StoredObject(key, state.st_size, state.st_mtime)
        return None

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

    def path(self, key: str, digest: str = "") -> Path:  # noqa: ARG002 - there is no cache that could be of another digest
        """See `Storage`; whether it is there is seen when it is opened."""
        return self.layout.resolve(key)

    @contextmanager
    def fetch(self, key: str, digest: str = "") -> Iterator[Path]:  # noqa: ARG002
        """See `Storage`."""
        yield self.layout.resolve(key)

    def delete(self, key: str) -> None:
        """See `Storage`. Folders stay."""
        self.disk.remove(self.layout.resolve(key))

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


def _read_at(descriptor: int, offset: int, length: int) -> bytes:
    data = b""
    while len(data) < length and (more := os.pread(descriptor, length - len(data), offset + len(data))):
        data += more
    return data


def _forget(descriptor: int) -> None:
    """Drop what the system has of a file in memory: the next read is of the disk. Dirty pages stay."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
