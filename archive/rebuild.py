"""The index of an archive, made anew from its files alone.

docs/design/archive-writing.md has what is read and what is taken over; interrupted, it goes on where it was.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from archive.changing import recover
from archive.disk import Disk
from archive.index.changes import IndexChanges
from archive.index.new_index import IndexPlace, begin_files, carry_over, end_files
from archive.index.writer import IndexWriter
from archive.layout import Layout
from archive.processes import Died, Processes
from archive.rebuild_rows import RebuildReport, Rows
from archive.root import INDEX, REBUILDING, UseLock, enter
from archive.storage import LocalStorage, Storage, StoredObject
from archive.stored_reading import Read, Unlisted, read_stored
from archive.values import Policy
from archive.writing import WritingTools
from dicomrelay.ledger.engine import Database

__all__ = ["RebuildReport", "rebuild_index"]

_MOST_WORKERS: Final = 8
_TELL_EVERY_S: Final = 0.2


def rebuild_index(
    root: Path,
    *,
    database_url: str | None = None,
    storage: Storage | None = None,
    workers: int | None = None,
    on_progress: Callable[[RebuildReport], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> RebuildReport:
    """Make the index of an archive anew, and put it in the place of the old one.

    Parameters
    ----------
    root : Path
        The archive's folder.
    database_url : str, optional
        Where the index is; by default `index.sqlite` in the root.
    storage : Storage, optional
        Where the stored files are; by default in the root.
    workers : int, optional
        Processes that read files, 1 for none beside this one; by default one for each core, at most 8.
    on_progress : callable, optional
        Told the report as it grows, some times a second.
    should_stop : callable, optional
        Asked between batches: what is done by then is kept for the next time.

    Raises
    ------
    ConfigurationError
        Somebody else has the archive open.
    ArchiveError
        It was made by a newer version, or cannot be written.
    ServiceUnavailable, OSError
        Database, storage or disk do not work. The old index is as it was.
    """
    began = time.monotonic()
    root = root.absolute()
    enter(root)
    report = RebuildReport()
    told_at = 0.0

    def tell(*, last: bool = False) -> None:
        nonlocal told_at
        if on_progress is not None and (last or time.monotonic() - told_at >= _TELL_EVERY_S):
            told_at = time.monotonic()
            on_progress(report)

    with UseLock(root, alone=True):
        place = IndexPlace.of(root / INDEX, root / REBUILDING, database_url)
        layout, disk = Layout(root), Disk()
        files: Storage = LocalStorage(layout, disk) if storage is None else storage
        old = place.open_old()
        try:
            if old is not None:
                recover(_tools(layout, disk, files, old))
            new = _opened(place, files, report)
            try:
                rows = Rows(new, old, files, report)
                count = workers or min(os.cpu_count() or 1, _MOST_WORKERS)
                with closing(_read_all(rows, count, should_stop or (lambda: False))) as batches:
                    for batch in batches:
                        rows.add(batch)
                        tell()
                if not report.stopped:
                    if old is not None:
                        carry_over(old, new)
                    rows.list_conflicts()
                    rows.list_tombstones(layout)
                    end_files(new)
            finally:
                new.dispose()
        finally:
            if old is not None:
                old.dispose()
        if not report.stopped:
            place.take_place(disk)
    report.seconds = time.monotonic() - began
    tell(last=True)
    return report


def _tools(layout: Layout, disk: Disk, storage: Storage, database: Database) -> WritingTools:
    return WritingTools(
        layout, disk, storage, IndexWriter(database), IndexChanges(database), Policy.KEEP_FIRST
    )


def _opened(place: IndexPlace, storage: Storage, report: RebuildReport) -> Database:
    """The new index as far as it was made; from the beginning when a file of it has changed since."""
    new = place.open_new()
    begin_files(new)
    resumed = Rows(new, None, storage, report).resumed()
    if resumed is None:
        new.dispose()
        place.drop_new()
        new = place.open_new()
        begin_files(new)
    report.resumed = report.instances = resumed or 0
    return new


def _read_all(
    rows: Rows, count: int, should_stop: Callable[[], bool]
) -> Generator[list[tuple[StoredObject, Read]], None, None]:
    """Every stored file that the new index does not have, read; batch by batch."""

    def batches() -> Iterator[list[StoredObject]]:
        for batch in rows.missing():
            if should_stop():
                rows.report.stopped = "interrupted"
                return
            yield batch

    if count <= 1 or not isinstance(rows.storage, LocalStorage):
        for batch in batches():
            yield list(zip(batch, read_stored(rows.storage, batch), strict=True))
        return
    with Processes[list[StoredObject]](count, open_reader, (rows.storage.layout.root,)) as processes:
        for batch, answer in processes.run(batches()):
            read = (
                [Unlisted(each.key, answer.words) for each in batch] if isinstance(answer, Died) else answer
            )
            yield list(zip(batch, read, strict=True))


def open_reader(root: Path) -> Callable[[Sequence[StoredObject]], list[Read]]:
    """What a process of a rebuild does with a batch."""
    storage = LocalStorage(Layout(root), Disk())
    return lambda batch: read_stored(storage, batch)
