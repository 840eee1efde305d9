"""How files come into a folder of this machine: written, flushed, named, each name flushed too."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from archive.disk import Disk, Draft, temporary_name
from archive.layout import Layout
from archive.storage.port import Put
from dicomrelay.errors import IntegrityMismatch

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

    def __init__(self, layout: Layout, disk: Disk, durable_folders: dict[Path, int]) -> None:
        self._layout = layout
        self._disk = disk
        self._durable_folders = durable_folders
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
        self.enter(target.parent)
        if wanted.may_link and not wanted.preface and not over and self._disk.link(wanted.source, target):
            return target.stat().st_size
        if not over and target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        waiting = _written(self._disk, key, target, wanted)
        draft = waiting.draft
        if over:
            self._finish(waiting, over=True)
            return draft.size_bytes
        self._waiting.append(waiting)
        if len(self._waiting) >= _DRAFTS:
            self._name_all()
        return draft.size_bytes

    def enter(self, folder: Path) -> None:
        """Make a folder, where it is missing, in which there will be a new name: to be flushed, too."""
        if not folder.is_dir():
            # It was empty, say, and somebody removed it.
            for path in (folder, *folder.parents):
                self._durable_folders.pop(path, None)
        self._make_folders(folder)
        # Also for what is there already: a crash may have left it, its name not durable.
        self._changed[folder] = None

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


class LocalReplacing:
    """Files that are written beside those whose place they are to take. See `Replacing`."""

    def __init__(self, layout: Layout, disk: Disk, durable_folders: dict[Path, int]) -> None:
        self._layout = layout
        self._disk = disk
        self._folders = LocalWriting(layout, disk, durable_folders)
        self._drafts: dict[str, _Waiting] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what was not put."""
        for each in self._drafts.values():
            each.draft.abandon()
            with suppress(OSError):
                self._disk.remove(each.temporary)
        self._drafts.clear()

    def add(self, key: str, wanted: Put) -> None:
        """See `Replacing`."""
        target = self._layout.resolve(key)
        self._folders.enter(target.parent)
        self._drafts[key] = _written(self._disk, key, target, wanted)

    def flush(self) -> Mapping[str, OSError]:
        """See `Replacing`."""
        drafts = [*self._drafts.values()]
        failed = self._disk.flush_all([each.draft for each in drafts])
        return {drafts[number].key: error for number, error in failed.items()}

    def put(self, key: str) -> int:
        """See `Replacing`."""
        each = self._drafts[key]
        self._disk.replace(each.temporary, each.target)
        del self._drafts[key]
        return each.draft.size_bytes

    def settle(self) -> None:
        """See `Replacing`."""
        self._folders.flush()


def _written(disk: Disk, key: str, target: Path, wanted: Put) -> _Waiting:
    """A file under a temporary name beside its target. Raises IntegrityMismatch, OSError; then nothing is left."""
    temporary = temporary_name(target)
    try:
        draft = disk.draft(wanted.source, temporary, preface=wanted.preface, digest_from=wanted.digest_from)
    except OSError:
        disk.remove(temporary)
        raise
    if draft.digest != wanted.digest:
        draft.abandon()
        disk.remove(temporary)
        raise IntegrityMismatch(
            "the file has another digest than announced: was it changed?",
            expected=wanted.digest,
            actual=draft.digest,
        )
    return _Waiting(key, target, temporary, draft)
