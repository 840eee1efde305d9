"""Files and folders put into an archive, by several processes; every file is accounted for.

docs/design/archive-writing.md has the outcomes, and what an interruption leaves.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Final

from archive.archive import Archive
from archive.import_batch import FileOutcome, ImportedFile, import_batch, lost, open_importer
from archive.leftovers import importing
from archive.processes import Died, Processes
from archive.storage import LocalStorage
from archive.walking import Found, Passed, walk

BATCH_FILES: Final = 200
_BATCH_BYTES: Final = 256 << 20
# Fewer batches are stored sooner than a process has started.
_WORTH_BATCHES: Final = 4
_MOST_WORKERS: Final = 8
_MOST_PROBLEMS: Final = 1000
_TELL_EVERY_S: Final = 0.2
_IN_THE_ARCHIVE: Final = (FileOutcome.STORED, FileOutcome.ALREADY_THERE, FileOutcome.REPLACED)

Batch = list[Found]


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """How far an import is.

    Attributes
    ----------
    found, done : int
        Files. `is_counted`: no more will be found.
    done_bytes : int
        Of the files that are done.
    """

    found: int
    done: int
    done_bytes: int
    is_counted: bool


@dataclass(slots=True)
class ImportReport:
    """What became of the files.

    Attributes
    ----------
    counts : Counter
        How many files of each outcome.
    stored_bytes : int
        Of the files that the archive did not have.
    problems : list of ImportedFile
        The first thousand that somebody should look at; `problems_left_out` are more.
    made_up_studies : int
        Files in the archive whose data set has no Study Instance UID: one was made for each.
    stopped : str
        Why it ended before all was done; "" when it did not. What was not looked at then is in no count.
    seconds : float
        How long it took.
    """

    counts: Counter[FileOutcome] = field(default_factory=Counter)
    stored_bytes: int = 0
    problems: list[ImportedFile] = field(default_factory=list)
    problems_left_out: int = 0
    made_up_studies: int = 0
    stopped: str = ""
    seconds: float = 0.0

    @property
    def files(self) -> int:
        """How many files were looked at."""
        return self.counts.total()


def import_files(
    archive: Archive,
    paths: Sequence[Path],
    *,
    recursive: bool = True,
    workers: int | None = None,
    on_progress: Callable[[ImportProgress], None] | None = None,
    on_file: Callable[[ImportedFile], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    report: ImportReport | None = None,
) -> ImportReport:
    """Put files into an archive; those that are told as stored are durable.

    Parameters
    ----------
    paths : sequence of Path
        Files, and folders: every file in them is looked at.
    recursive : bool
        Folders in folders too.
    workers : int, optional
        Processes (threads where the storage is elsewhere); 1 for none beside this one. By default one for each core, at most 8.
    on_progress : callable, optional
        Told how far it is, some times a second.
    on_file : callable, optional
        Told what became of each file, in no order.
    should_stop : callable, optional
        Asked between batches: when it says so, those under way are finished and the report comes back.
    report : ImportReport, optional
        A new one that is filled as files are done, for whoever may be interrupted before it comes back.

    Raises
    ------
    ServiceUnavailable, ArchiveError
        Index or storage do not work. What is stored is stored; the next import goes on from there.
    """
    began = time.monotonic()
    account = _Account(on_progress, on_file, report or ImportReport())

    def stops() -> bool:
        if should_stop is not None and should_stop():
            account.report.stopped = account.report.stopped or "interrupted"
        return bool(account.report.stopped)

    found = walk(paths, recursive=recursive, without=archive.layout.root)
    batches = _batches(found, account, stops)
    first = list(islice(batches, _WORTH_BATCHES))
    count = workers or min(os.cpu_count() or 1, _MOST_WORKERS)
    if len(first) < _WORTH_BATCHES and workers is None:
        count = 1
    with importing(archive), closing(_answers(archive, chain(first, batches), count)) as answers:
        for files in answers:
            account.take(files)
    account.tell(last=True)
    account.report.seconds = time.monotonic() - began
    return account.report


class _Account:
    """Counts what was found and done, and tells it."""

    def __init__(
        self,
        on_progress: Callable[[ImportProgress], None] | None,
        on_file: Callable[[ImportedFile], None] | None,
        report: ImportReport,
    ) -> None:
        self.report = report
        self.found = self.done_bytes = 0
        self.is_counted = False
        self._on_progress = on_progress
        self._on_file = on_file
        self._told_at = time.monotonic()

    def take(self, files: Sequence[ImportedFile]) -> None:
        """Files that are done."""
        report = self.report
        for file in files:
            report.counts[file.outcome] += 1
            report.made_up_studies += file.made_up_study and file.outcome in _IN_THE_ARCHIVE
            self.done_bytes += file.file_bytes
            if file.outcome in (FileOutcome.STORED, FileOutcome.REPLACED):
                report.stored_bytes += file.file_bytes
            if file.is_problem and len(report.problems) < _MOST_PROBLEMS:
                report.problems.append(file)
            elif file.is_problem:
                report.problems_left_out += 1
            if file.is_no_room:
                report.stopped = report.stopped or file.reason
            if self._on_file is not None:
                self._on_file(file)
        self.tell()

    def tell(self, *, last: bool = False) -> None:
        """Progress, unless it was told just now."""
        now = time.monotonic()
        if self._on_progress is not None and (last or now - self._told_at >= _TELL_EVERY_S):
            self._told_at = now
            self._on_progress(ImportProgress(self.found, self.report.files, self.done_bytes, self.is_counted))


def _batches(
    found: Iterator[Found | Passed], account: _Account, stops: Callable[[], bool]
) -> Iterator[Batch]:
    """Files in batches, until it is to stop; what is passed over is told at once."""
    batch: Batch = []
    batch_bytes = 0
    for file in found:
        account.found += 1
        if isinstance(file, Passed):
            outcome = FileOutcome.REFUSED if file.fault else FileOutcome.SKIPPED
            account.take([ImportedFile(file.path, outcome, reason=file.reason)])
            continue
        batch.append(file)
        batch_bytes += file.size_bytes
        if len(batch) >= BATCH_FILES or batch_bytes >= _BATCH_BYTES:
            if stops():
                return
            yield batch
            batch, batch_bytes = [], 0
    account.is_counted = True
    if batch and not stops():
        yield batch


def _answers(
    archive: Archive, batches: Iterator[Batch], count: int
) -> Generator[list[ImportedFile], None, None]:
    if count <= 1:
        for batch in batches:
            yield import_batch(archive, batch)
    elif archive.origin is None or not isinstance(archive.storage, LocalStorage):
        yield from _in_threads(archive, batches, count)
    else:
        with Processes[Batch](count, open_importer, (archive.origin,)) as processes:
            for batch, answer in processes.run(batches):
                yield lost(batch, answer.words) if isinstance(answer, Died) else answer


def _in_threads(archive: Archive, batches: Iterator[Batch], count: int) -> Iterator[list[ImportedFile]]:
    with ThreadPoolExecutor(count, thread_name_prefix="import") as pool:
        waiting: deque[Future[list[ImportedFile]]] = deque()
        for batch in batches:
            waiting.append(pool.submit(import_batch, archive, batch))
            if len(waiting) > count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
