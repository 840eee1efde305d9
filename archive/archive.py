"""The archive as its users see it: store, find, prepare frames."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from archive.changing import recover_if_possible
from archive.disk import Disk
from archive.frame_builder import build_frame_index
from archive.frame_header import FrameIndexHeader
from archive.index.ages import AgeIndex
from archive.index.changes import IndexChanges
from archive.index.commitments import CommitmentIndex
from archive.index.database import file_url, open_database
from archive.index.disagreeing import listed_disagreements
from archive.index.health import HealthIndex
from archive.index.history import conflicting, listed_conflicts, listed_tombstones
from archive.index.places import Places
from archive.index.reader import IndexReader
from archive.index.search import SearchPage, SearchQuery, scan, search
from archive.index.selecting import select_instances
from archive.index.sop_classes import sop_classes_in
from archive.index.statistics import statistics
from archive.index.writer import IndexWriter
from archive.inventory import ArchiveInventory
from archive.layout import Layout
from archive.root import INDEX, Origin, UseLock, enter
from archive.storage import LocalStorage, Storage
from archive.store import store_batch
from archive.values import (
    Conflict,
    Disagreement,
    FrameSummary,
    Policy,
    Selection,
    Statistics,
    StoredInstance,
    StoreRequest,
    StoreResult,
    Tombstone,
)
from archive.writing import WritingTools
from dicomrelay.errors import ArchiveError, InstanceNotFound, ServiceUnavailable
from dicomrelay.ledger.engine import Database

__all__ = ["INDEX", "Archive"]


class Archive:
    """An archive on disk with its index. Open one in each process, after the fork; threads may share it.

    Parameters
    ----------
    layout : Layout
        Where things lie.
    database : Database
        The index, migrated.
    disk : Disk
        The file system.
    storage : Storage, optional
        Where the stored files are; by default below the layout's root. Index and frames are there in any case.
    policy : Policy
        What becomes of other bytes under a SOP Instance UID that it holds.
    """

    def __init__(
        self,
        layout: Layout,
        database: Database,
        disk: Disk,
        *,
        storage: Storage | None = None,
        policy: Policy = Policy.KEEP_FIRST,
    ) -> None:
        self.layout = layout
        self.storage: Storage = LocalStorage(layout, disk) if storage is None else storage
        self.disk = disk
        self._database = database
        self._reader = IndexReader(database)
        self._writer = IndexWriter(database)
        self._changes = IndexChanges(database)
        self._lock: UseLock | None = None
        # As `open` takes them; for another process that is to open the same archive.
        self.origin: Origin | None = None
        self.policy = policy
        # What the scrub found, and how old studies are.
        self.health = HealthIndex(database)
        self.commitments = CommitmentIndex(database)
        self.ages = AgeIndex(database)

    @property
    def disk(self) -> Disk:
        """The file system of the layout."""
        return self._disk

    @disk.setter
    def disk(self, disk: Disk) -> None:
        self._disk = disk
        if isinstance(self.storage, LocalStorage):
            self.storage.disk = disk

    @classmethod
    def open(
        cls,
        root: Path,
        *,
        database_url: str | None = None,
        storage: Storage | None = None,
        policy: Policy | None = None,
    ) -> Archive:
        """Open the archive at `root`, made when it is not there. What others left half done is finished or undone.

        Parameters
        ----------
        root : Path
            Its folder.
        database_url : str, optional
            Where the index is; by default `index.sqlite` in the root.
        storage : Storage, optional
            Where the stored files are, as `archive.storage.opening` makes it; by default in the root.
        policy : Policy, optional
            Another one than the archive says it has.

        Raises
        ------
        ArchiveError
            The folder cannot be made or used, or the archive was made by a newer version.
        ServiceUnavailable
            The index cannot be opened, or is being rebuilt.
        """
        layout = Layout(root)
        try:
            layout.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            facts, lock = enter(layout.root), UseLock(layout.root)
            url = database_url or file_url(layout.root / INDEX)
        except OSError as error:
            raise ArchiveError(f"archive {layout.root}: cannot be made: {error.strerror}") from error
        try:
            opened = cls(layout, open_database(url), Disk(), storage=storage, policy=policy or facts.policy)
        except BaseException:
            lock.close()
            raise
        opened._lock = lock
        if storage is None:
            opened.origin = Origin(layout.root, database_url, opened.policy)
        recover_if_possible(opened.writing_tools)
        return opened

    def close(self) -> None:
        """Close the index."""
        self._database.dispose()
        if self._lock is not None:
            self._lock.close()

    @property
    def writing_tools(self) -> WritingTools:
        """What those need who put files and rows together."""
        return WritingTools(self.layout, self.disk, self.storage, self._writer, self._changes, self.policy)

    def conflicts(self, sop_instance_uid: str = "") -> Iterator[Conflict]:
        """Other bytes that came under a UID that the archive holds, of one SOP Instance UID or all."""
        return listed_conflicts(self._database, sop_instance_uid)

    def conflicting(self, sop_instance_uids: Sequence[str]) -> set[str]:
        """Those of the UIDs under which other bytes came, or were replaced."""
        return conflicting(self._database, sop_instance_uids)

    def tombstones(self, sop_instance_uid: str = "") -> Iterator[Tombstone]:
        """What was removed, of one SOP Instance UID or all."""
        return listed_tombstones(self._database, sop_instance_uid)

    def store(self, items: Sequence[StoreRequest]) -> list[StoreResult]:
        """Store a batch: files, names and index are durable when it returns. May be called again after any failure.

        Returns
        -------
        list of StoreResult
            One for each request, in order. What went wrong with one does not touch the others.

        Raises
        ------
        ServiceUnavailable, LedgerError
            The index does not work; files may be in place already and are found again by the next try.
        """
        return store_batch(items, self.writing_tools)

    def locate(self, study_uid: str, series_uid: str, sop_instance_uid: str) -> Path:
        """The file of an instance. Raises InstanceNotFound."""
        return self.path_of(self.find(study_uid, series_uid, sop_instance_uid))

    def find(self, study_uid: str, series_uid: str, sop_instance_uid: str) -> StoredInstance:
        """What the index knows of an instance. Raises InstanceNotFound, also when it is in another study or series."""
        found = self._reader.instance(sop_instance_uid)
        if found is None or (found.study_instance_uid, found.series_instance_uid) != (study_uid, series_uid):
            raise InstanceNotFound(
                f"no instance {sop_instance_uid} in series {series_uid} of study {study_uid} in the archive"
            )
        return found

    def digests(self, sop_instance_uids: Sequence[str]) -> dict[str, str]:
        """SHA-256 of the data set of those of the instances that the archive holds."""
        return self._reader.digests(sop_instance_uids)

    def path_of(self, instance: StoredInstance) -> Path:
        """The file of an instance, to be opened soon: where the storage is elsewhere, a cache may drop it later.

        Raises
        ------
        ServiceUnavailable
            The storage does not answer.
        FileNotFoundError
            It has no such file; a local one says so when it is opened.
        """
        return self.storage.path(instance.relative_path, instance.digest)

    def reading(self, instance: StoredInstance) -> AbstractContextManager[Path]:
        """The same; the file stays where it is until the block ends."""
        return self.storage.fetch(instance.relative_path, instance.digest)

    def path_at(self, relative_path: str, digest: str, *, moved: Callable[[], None] = lambda: None) -> Path:
        """`path_of` for what the ledger knows of an instance; `moved` is called as it is fetched, every few MiB."""
        return self.storage.path(relative_path, digest, moved=moved)

    def frame_data(self, header: FrameIndexHeader) -> Path:
        """The file that an instance's frames are taken from: the stored one, or what it was inflated to. Raises as `path_of`."""
        if header.data_path == header.stored_path:
            return self.storage.path(header.stored_path, header.digest)
        return self.layout.resolve(header.data_path)

    def instances(self, study_uid: str, series_uid: str = "") -> Iterator[StoredInstance]:
        """Every instance of a study, or of one series of it, in the order they were stored; nothing when unknown."""
        return self._reader.instances(study_uid, series_uid)

    def search(self, query: SearchQuery) -> SearchPage:
        """One page of what matches. Raises ConfigurationError when the query makes no sense."""
        return search(self._database, query)

    def scan(self, query: SearchQuery) -> Iterator[Mapping[str, Any]]:
        """Everything that matches, in bounded memory; limit and offset are not looked at. Raises as `search`."""
        return scan(self._database, query)

    def select(self, selection: Selection) -> Iterator[StoredInstance]:
        """The instances that are meant, series by series, in bounded memory. Raises as `search`."""
        return select_instances(self._database, selection)

    def sop_classes(self, study_uids: Sequence[str]) -> dict[str, list[str]]:
        """The SOP classes of the instances of some studies, by Study Instance UID."""
        return sop_classes_in(self._database, study_uids)

    def statistics(self) -> Statistics:
        """What it holds, in numbers, from counters."""
        return statistics(self._database)

    def disagreements(self, uid: str = "") -> Iterator[Disagreement]:
        """What instances say that is not what is kept: all, or about one patient, study or series."""
        return listed_disagreements(self._database, uid)

    def prepare_frames(self, relative_path: str) -> FrameSummary:
        """Write the frame index of the instance stored under a relative path, unless it is there.

        Returns
        -------
        FrameSummary
            How many frames can be served; why not all or none, if so. That is no failure: it will not change.

        Raises
        ------
        InstanceNotFound
            The index has nothing under that path.
        ArchiveError
            The stored file cannot be read or the frame index cannot be written; another try may do.
        ServiceUnavailable
            The archive's file system is read-only here: who may write it must prepare them.
        """
        stored = self._reader.by_path(relative_path)
        if stored is None:
            raise InstanceNotFound(f"the archive has no instance {Path(relative_path).stem}")
        return self.prepare_frames_of(stored)

    def prepare_frames_of(self, stored: StoredInstance) -> FrameSummary:
        """The same for an instance that was found already."""
        try:
            return build_frame_index(stored, layout=self.layout, disk=self.disk, reading=self.reading)
        except OSError as error:
            kind = ServiceUnavailable if error.errno == errno.EROFS else ArchiveError
            # Not from it: its path holds the patient id, and a traceback would show that.
            raise kind(
                f"frames of {stored.sop_instance_uid}: {error.strerror or type(error).__name__}"
            ) from None

    def inventory(self) -> ArchiveInventory:
        """All of it, row by row and file by file, for a check."""
        return ArchiveInventory(self.layout, self._database, self.storage)

    def places(self) -> Places:
        """Where in the hierarchy instances are, and all of them in one order."""
        return Places(self._database)

    def check_index(self) -> None:
        """Raise ServiceUnavailable when the index does not answer."""
        self._reader.answers()
