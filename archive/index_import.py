"""The files of an `archive_index.json` into an archive; what the index says and the files do not is reported."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Final

from archive.archive import Archive
from archive.import_batch import FileOutcome, ImportedFile
from archive.importing import import_files
from archive.index.keys import folded
from archive.json_index import IndexEntry
from archive.json_index_reader import read_index
from archive.values import Selection, StoredInstance
from dicomrelay.errors import ConfigurationError

# Files that one import is given, so that its processes are worth their start.
_BATCH: Final = 10_000
_MOST_KEPT: Final = 1000
_IN_ARCHIVE: Final = frozenset({FileOutcome.STORED, FileOutcome.ALREADY_THERE, FileOutcome.REPLACED})


@dataclass(frozen=True, slots=True)
class IndexMismatch:
    """Something that an index says of an instance and that is not so.

    Attributes
    ----------
    sop_instance_uid, file_path : str
        As the index says.
    field : str
        Its key in the index.
    said, found : str
        What the index says, and what the file does. May name a patient: for the terminal, not for a log.
    """

    sop_instance_uid: str
    file_path: str
    field: str
    said: str
    found: str


@dataclass(slots=True)
class IndexImportReport:
    """What became of the entries of an index.

    Attributes
    ----------
    entries : int
        How many it has; `said_entries` how many it says it has, None when it does not.
    counts : Counter
        How many files of each outcome.
    problems : list of ImportedFile
        The first thousand that are not in the archive and should be.
    gone, outside : int
        Entries whose file is not there, or whose path leaves the root.
    mismatch_count : int
    mismatches : list of IndexMismatch
        The first thousand; `on_mismatch` is told all. Those that are gone or outside are among them.
    stopped : str
        Why it ended before all was done; "" when it did not.
    """

    entries: int = 0
    said_entries: int | None = None
    counts: Counter[FileOutcome] = field(default_factory=Counter)
    problems: list[ImportedFile] = field(default_factory=list)
    gone: int = 0
    outside: int = 0
    mismatch_count: int = 0
    mismatches: list[IndexMismatch] = field(default_factory=list)
    stopped: str = ""

    @property
    def agrees(self) -> bool:
        """Whether every file is in the archive, and is what the index says."""
        in_archive = sum(self.counts[outcome] for outcome in _IN_ARCHIVE)
        says_so = self.said_entries in (None, self.entries)
        return says_so and in_archive == self.entries and not self.mismatch_count


def import_index(
    archive: Archive,
    path: Path,
    root: Path | None = None,
    *,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_mismatch: Callable[[IndexMismatch], None] | None = None,
) -> IndexImportReport:
    """Import the files of an index. May be called again after any failure: what is there already is not stored twice.

    Parameters
    ----------
    path : Path
        The index.
    root : Path, optional
        What its paths are relative to; by default the folder of the index.
    workers : int, optional
        Processes, as of `import_files`.
    on_progress : callable, optional
        Told how many entries are done, and how many there are.
    on_mismatch : callable, optional
        Told each `IndexMismatch`.

    Raises
    ------
    ConfigurationError
        The index cannot be read, or its files lie in the archive already: its index is rebuilt from them, then.
    ArchiveError
        It is no index that we know.
    ServiceUnavailable
        The archive's index or storage does not answer.
    """
    root = path.parent if root is None else root
    own = os.path.realpath(archive.layout.root)
    if os.path.commonpath((own, os.path.realpath(root))) == own:
        raise ConfigurationError(
            f"{root} is in the archive itself: rebuild its index from the files that are there"
        )
    with read_index(path) as index:
        entries = iter(index)
        report = IndexImportReport(index.count, index.file_count)
        work = _Work(archive, root, report, on_mismatch or (lambda _: None))
        done = 0
        while (batch := list(islice(entries, _BATCH))) and not report.stopped:
            work.take(batch, workers)
            done += len(batch)
            if on_progress:
                on_progress(done, index.count)
    return report


@dataclass(slots=True)
class _Work:
    archive: Archive
    root: Path
    report: IndexImportReport
    on_mismatch: Callable[[IndexMismatch], None]
    # The study and series whose texts were compared last: entries come series by series.
    last_series: str = ""
    last_study: str = ""

    def take(self, batch: Sequence[IndexEntry], workers: int | None) -> None:
        """Import the files of some entries, and compare."""
        report = self.report
        files = {path: entry for entry in batch if (path := self._file_of(entry)) is not None}
        imported: dict[Path, ImportedFile] = {}

        def keep(file: ImportedFile) -> None:
            imported[Path(file.path)] = file

        done = import_files(self.archive, [*files], recursive=False, workers=workers, on_file=keep)
        report.counts.update(done.counts)
        report.problems.extend(done.problems[: _MOST_KEPT - len(report.problems)])
        report.stopped = done.stopped
        known = {
            path: file.sop_instance_uid for path, file in imported.items() if file.outcome in _IN_ARCHIVE
        }
        rows = _Rows(self.archive, [*known.values()])
        for path, uid in known.items():
            if uid in rows.stored:
                self._compare(files[path], path, rows, uid)

    def _file_of(self, entry: IndexEntry) -> Path | None:
        """Its file, if that lies under the root and is there."""
        parts = PurePosixPath(entry.file_path).parts
        path = self.root.joinpath(*parts)
        is_bad = not parts or parts[0] == "/" or ".." in parts or "\0" in entry.file_path
        root = os.path.realpath(self.root)
        why = "no such file"
        try:
            if is_bad or os.path.commonpath((root, os.path.realpath(path))) != root:
                self.report.outside += 1
                self._tell(entry, "filePath", entry.file_path, "a path outside of the root")
                return None
            if stat.S_ISREG(path.stat().st_mode):
                return path
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            # A name that no file system has, say.
            why = f"cannot be looked at: {error.strerror or type(error).__name__}"
        self.report.gone += 1
        self._tell(entry, "filePath", entry.file_path, why)
        return None

    def _compare(self, entry: IndexEntry, path: Path, rows: _Rows, uid: str) -> None:
        stored = rows.stored[uid]
        said = {
            "sopInstanceUID": (entry.sop_instance_uid, uid),
            "sopClassUID": (entry.sop_class_uid, stored.sop_class_uid),
            "studyInstanceUID": (entry.study_instance_uid, stored.study_instance_uid),
            "seriesInstanceUID": (entry.series_instance_uid, stored.series_instance_uid),
        }
        if entry.file_size >= 0:
            said["fileSize"] = (str(entry.file_size), str(path.stat().st_size))
        series, study = rows.of(uid)
        if self.last_series != stored.series_instance_uid:
            self.last_series = stored.series_instance_uid
            said["modality"] = (entry.modality, _text(series, "modality"))
            said["seriesDescription"] = (entry.series_description, _text(series, "series_description"))
        if self.last_study != stored.study_instance_uid:
            self.last_study = stored.study_instance_uid
            said["studyDate"] = (entry.study_date, _text(study, "study_date"))
            said["studyDescription"] = (entry.study_description, _text(study, "study_description"))
            said["patientID"] = (entry.patient_id, _text(study, "patient_id"))
            said["patientName"] = (
                folded(entry.patient_name, is_name=True),
                folded(_text(study, "patient_name"), is_name=True),
            )
        for name, (says, found) in said.items():
            # What it leaves out it does not say.
            if says.strip() and says.strip() != found.strip():
                self._tell(entry, name, says, found)

    def _tell(self, entry: IndexEntry, name: str, said: str, found: str) -> None:
        mismatch = IndexMismatch(entry.sop_instance_uid, entry.file_path, name, said, found)
        self.report.mismatch_count += 1
        if len(self.report.mismatches) < _MOST_KEPT:
            self.report.mismatches.append(mismatch)
        self.on_mismatch(mismatch)


class _Rows:
    """What the archive says of some instances."""

    def __init__(self, archive: Archive, uids: Sequence[str]) -> None:
        places = archive.places()
        self._places = places.of_instances(uids)
        self.stored: dict[str, StoredInstance] = {
            stored.sop_instance_uid: stored for stored in _select(archive, uids)
        }
        self._series = {
            row["id"]: row for row in places.series_rows([*{each.series for each in self._places.values()}])
        }
        self._studies = {
            row["id"]: row for row in places.study_rows([*{row["study"] for row in self._series.values()}])
        }

    def of(self, uid: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """The rows of its series and study."""
        series = self._series[self._places[uid].series]
        return series, self._studies[series["study"]]


def _select(archive: Archive, uids: Sequence[str]) -> Iterator[StoredInstance]:
    return archive.select(Selection(sop_instance_uids=tuple(uids))) if uids else iter(())


def _text(row: Mapping[str, Any], name: str) -> str:
    return str(row[name] or "")
