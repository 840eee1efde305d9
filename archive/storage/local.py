"""A folder of this machine, or of a file server: links where it can, and every name flushed."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from archive.disk import CHUNK_BYTES, Disk, Draft, temporary_name
from archive.layout import Layout
from archive.storage.port import Put, StoredObject
from dicomrelay.errors import IntegrityMismatch

_PAGE: Final = 1000
# Folders known to be durable in their parents; forgotten all at once when there are too many.
_REMEMBERED_FOLDERS: Final = 100_000
# Files that are written and not named yet: each has a descriptor open.
_DRAFTS: Final = 128
# Removals empty folders as fast as they are made again, but not for ever.
_TURNS: Final = 20


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A file that is written, and waits for its flush and its name."""

    key: str
    target: Path
    temporary: Path
    draft: Draft


class LocalWriting:
    """Files of one batch and the folders that have new names in them.

    Files are first written, several of them, then flushed, then named: one flush of the file system's journal serves all.
    """

    def __init__(self, storage: LocalStorage) -> None:
        self._layout = storage.layout
        self._disk = storage.disk
        self._durable_folders = storage.durable_folders
        self._changed: dict[Path, None] = {}
        self._waiting: list[_Waiting] = []
        self._refused: dict[str, OSError] = {}
        self._folders: dict[str, Path] = {}

    def put(self, key: str, wanted: Put, *, over: bool = False) -> int:
        """See `Writing.put`."""
        target = self._layout.resolve(key, self._folders)
        for _ in range(_TURNS):
            try:
                return self._put(key, target, wanted, over=over)
            except FileNotFoundError:
                # Of a link that cannot be made the system names the source, whichever of the two is not there.
                if not wanted.source.exists():
                    raise
                # A folder was empty, and somebody removed it: what is known of it and of those above is void.
                for folder in (target.parent, *target.parent.parents):
                    self._durable_folders.pop(folder, None)
        return self._put(key, target, wanted, over=over)

    def _put(self, key: str, target: Path, wanted: Put, *, over: bool) -> int:
        self._make_folders(target.parent)
        # Also for what is there already: a crash may have left it, its name not durable.
        self._changed[target.parent] = None
        if wanted.may_link and not wanted.preface and not over and self._disk.link(wanted.source, target):
            return target.stat().st_size
        if not over and target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        temporary = temporary_name(target)
        try:
            draft = self._disk.draft(
                wanted.source, temporary, preface=wanted.preface, digest_from=wanted.digest_from
            )
        except OSError:
            self._disk.remove(temporary)
            raise
        waiting = _Waiting(key, target, temporary, draft)
        if draft.digest != wanted.digest:
            draft.abandon()
            self._disk.remove(temporary)
            raise IntegrityMismatch(
                f"{wanted.source} has another digest than announced: was it changed?",
                expected=wanted.digest,
                actual=draft.digest,
            )
        if over:
            self._finish(waiting, over=True)
            return draft.size_bytes
        self._waiting.append(waiting)
        if len(self._waiting) >= _DRAFTS:
            self._name_all()
        return draft.size_bytes

    def flush(self) -> Mapping[str, OSError]:
        """Flush every file, name it, and flush every folder with new names, from the leaves up. See `Writing.flush`."""
        self._name_all()
        changed: dict[Path, int] = {}
        for folder in self._changed:
            self._add_changed(folder, changed)
        inodes: dict[Path, int] = {}
        for folder in sorted(changed, key=lambda path: len(path.parts), reverse=True):
            with suppress(FileNotFoundError):  # as below
                self._disk.sync_directory(folder)
                inodes[folder] = changed[folder]
        if len(self._durable_folders) > _REMEMBERED_FOLDERS:
            self._durable_folders.clear()
        self._durable_folders.update(inodes)
        self._changed.clear()
        refused, self._refused = self._refused, {}
        return refused

    def _add_changed(self, folder: Path, changed: dict[Path, int]) -> None:
        """A folder, and those above whose names nobody is known to have flushed: by inode, for one may be there anew.

        One that is not there has nothing in it: what was put there was taken away, as whoever put it will see.
        """
        with suppress(FileNotFoundError):
            changed[folder] = folder.stat().st_ino
            while folder != self._layout.root and self._durable_folders.get(folder) != folder.stat().st_ino:
                folder = folder.parent
                changed[folder] = folder.stat().st_ino

    def _make_folders(self, folder: Path) -> None:
        missing = []
        while folder != self._layout.root and folder not in self._durable_folders:
            missing.append(folder)
            folder = folder.parent
        for path in reversed(missing):
            self._disk.make_directory(path)

    def _name_all(self) -> None:
        """What cannot be flushed or named is told of by `flush`."""
        waiting, self._waiting = self._waiting, []
        for number, error in self._disk.flush_all([each.draft for each in waiting]).items():
            self._refused[waiting[number].key] = error
            self._disk.remove(waiting[number].temporary)
        for each in waiting:
            if each.key not in self._refused:
                try:
                    self._finish(each, over=False)
                except OSError as error:
                    self._refused[each.key] = error

    def _finish(self, each: _Waiting, *, over: bool) -> None:
        try:
            if over:
                self._disk.flush(each.draft)
                self._disk.replace(each.temporary, each.target)
            else:
                self._disk.publish(each.temporary, each.target)
        except OSError:
            self._disk.remove(each.temporary)
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

    def writing(self) -> LocalWriting:
        """See `Storage`."""
        return LocalWriting(self)

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
