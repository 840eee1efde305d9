"""The archive, row by row and file by file, for those who hold one against the other. Memory is that of a page."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Column, Select, func, select

from archive.frame_builder import existing_index, index_path
from archive.frame_header import FrameIndexHeader
from archive.index.counters import wrong_counters
from archive.index.pages import pages
from archive.index.reader import joined, stored_instance
from archive.index.schema import conflicts, instances, tombstones
from archive.layout import DATA, FRAMES, Layout
from archive.storage import LocalStorage, Storage
from archive.values import StoredInstance
from dicomrelay.errors import ArchiveError
from dicomrelay.ledger.engine import Database, chunks

PAGE: Final = 1000
LOST_AND_FOUND: Final = "lost+found"
PART: Final = ".part"


@dataclass(frozen=True, slots=True)
class FileThere:
    """A file under `data/` or `frames/`: where, and the path that the index would have for it."""

    path: Path
    relative_path: str

    @property
    def is_part(self) -> bool:
        """Whether somebody is, or was, writing it."""
        return self.path.name.startswith(".") and self.path.name.endswith(PART)


class ArchiveInventory:
    """Reads for `dicomrelay check`.

    Parameters
    ----------
    layout : Layout
    database : Database
        The index. Every method that asks it raises ServiceUnavailable when it does not answer.
    storage : Storage
        Where the stored files are.
    """

    def __init__(self, layout: Layout, database: Database, storage: Storage) -> None:
        self.layout = layout
        self.storage = storage
        self._database = database

    def count(self) -> int:
        """How many instances the index has."""
        with self._database.read() as work:
            return work.connection.execute(select(func.count()).select_from(instances)).scalar_one()

    def wrong_counters(self) -> Iterator[str]:
        """Studies and series whose counters are not what is below them. Reads every row."""
        return wrong_counters(self._database)

    def set_aside_at(self, relative_paths: Sequence[str]) -> set[str]:
        """Of these relative paths under `conflicts/` those that a conflict is listed with."""
        column = conflicts.c.relative_path
        with self._database.read() as work:
            return {
                path
                for part in chunks(relative_paths)
                for path in work.connection.execute(select(column).where(column.in_(part))).scalars()
            }

    def instances(self, page: int = PAGE) -> Iterator[list[StoredInstance]]:
        """All instances, in the order they were stored, page by page."""
        query = joined().add_columns(instances.c.id)
        for rows in pages(self._database, query, instances.c.id, size=page):
            yield [stored_instance(row) for row in rows]

    def known(self, sop_instance_uids: Sequence[str]) -> dict[str, StoredInstance]:
        """Of these SOP Instance UIDs those that the index has."""
        found = self._where(instances.c.sop_instance_uid, sop_instance_uids)
        return {stored.sop_instance_uid: stored for stored in found}

    def stored_at(self, relative_paths: Sequence[str]) -> dict[str, StoredInstance]:
        """Of these relative paths those that the index has."""
        found = self._where(instances.c.relative_path, relative_paths)
        return {stored.relative_path: stored for stored in found}

    def removed(self, sop_instance_uids: Sequence[str]) -> set[tuple[str, str]]:
        """Of these SOP Instance UIDs those that were removed for a reason, each with the digest that it had."""
        query = select(tombstones.c.sop_instance_uid, tombstones.c.digest)
        with self._database.read() as work:
            return {
                (row.sop_instance_uid, row.digest)
                for part in chunks(sop_instance_uids)
                for row in work.connection.execute(query.where(tombstones.c.sop_instance_uid.in_(part)))
            }

    def whole(self, sop_instance_uids: Sequence[str]) -> set[str]:
        """Of these SOP Instance UIDs those whose file is there, as long as the index says, and was not found damaged.

        No byte is read.

        Raises
        ------
        ServiceUnavailable
            The index or the storage does not answer, or all files seem to be gone: then it is not mounted.
        OSError
            The storage's system says no.
        """
        unhurt = joined().where(instances.c.damage.is_(None))
        found = self._where(instances.c.sop_instance_uid, sop_instance_uids, of=unhurt)
        there = self._sizes(found)
        if None in there:
            self.storage.require()
        return {
            each.sop_instance_uid for each, size in zip(found, there, strict=True) if size == each.file_bytes
        }

    def _sizes(self, found: Sequence[StoredInstance]) -> list[int | None]:
        """Of the files of some, together where that goes; None where there is none, or its path leads out of the archive."""
        try:
            stats = self.storage.stats([each.relative_path for each in found])
        except ArchiveError:
            return [self._size_or_none(each) for each in found]
        return [None if each is None else each.size_bytes for each in stats]

    def _size_or_none(self, stored: StoredInstance) -> int | None:
        try:
            return self.size_of(stored)
        except ArchiveError:
            return None

    def _where(
        self, column: Column[str], values: Sequence[str], *, of: Select[Any] | None = None
    ) -> list[StoredInstance]:
        statement = joined() if of is None else of
        with self._database.read() as work:
            return [
                stored_instance(row)
                for part in chunks(values)
                for row in work.connection.execute(statement.where(column.in_(part))).mappings()
            ]

    def files(self) -> Iterator[list[FileThere]]:
        """What lies under `data/`, folder by folder; nothing where the storage is elsewhere: `archive.checking` lists that."""
        if isinstance(self.storage, LocalStorage):
            yield from self._walk(self.layout.root / DATA)

    def frame_files(self) -> Iterator[list[FileThere]]:
        """What lies under `frames/`, folder by folder."""
        yield from self._walk(self.layout.root / FRAMES)

    def _walk(self, folder: Path) -> Iterator[list[FileThere]]:
        """In an order that does not matter; symbolic links are not followed."""
        try:
            with os.scandir(folder) as entries:
                here = sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        files = [Path(entry.path) for entry in here if not entry.is_dir(follow_symlinks=False)]
        for start in range(0, len(files), PAGE):
            yield [
                FileThere(path, path.relative_to(self.layout.root).as_posix())
                for path in files[start : start + PAGE]
            ]
        for entry in here:
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(Path(entry.path))

    def size_of(self, stored: StoredInstance) -> int | None:
        """The size of its file in bytes; None when there is none."""
        there = self.storage.stat(stored.relative_path)
        return None if there is None else there.size_bytes

    def digest_of(self, stored: StoredInstance) -> str:
        """SHA-256 of the data set that its file holds, in hexadecimal. Raises OSError."""
        return self.storage.digest(stored.relative_path, stored.data_set_offset)

    def frame_index(self, stored: StoredInstance) -> FrameIndexHeader | None:
        """The header of its frame index, where there is one that fits the stored file."""
        return existing_index(self.layout.resolve(index_path(stored)), stored)
