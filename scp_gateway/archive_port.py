"""What query, retrieve and commitment ask of the archive, and the one door to it (docs/design/query-retrieve-scp.md).

The only module of the gateway that imports the archive, and only inside the functions that are called at the first
query: a gateway that stores needs no database, no index, and none of their libraries.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from dicomrelay.dicom.query_models import Level
from dicomrelay.runtime import home
from dicomrelay.settings import Settings

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from archive import Archive
    from archive import StoredInstance as StoredInstance  # noqa: PLC0414 - for others here to name
    from archive import attributes as archive_attributes
    from archive.committing import CommitmentDesk as CommitmentDesk  # noqa: PLC0414
    from archive.committing import KeptRequest as KeptRequest  # noqa: PLC0414

# Values by keyword, of the level that was asked for and of those above it. A count that the index has not is missing.
Row: TypeAlias = Mapping[str, Any]
# As archive.committing has them.
Came: TypeAlias = Callable[[Sequence[str]], Mapping[str, Collection[str]]]
Waits: TypeAlias = Callable[[int], bool]


@dataclass(frozen=True, slots=True)
class IndexedAttribute:
    """An attribute that the index holds: it can be matched and answered from its level downward."""

    keyword: str
    tag: int
    vr: str
    level: Level


class QueryPort(Protocol):
    """What a query asks. For all threads of a listener.

    Each method raises ServiceUnavailable while the index does not answer, and ArchiveError when it cannot be opened; the
    next call tries again.
    """

    def attributes(self) -> Mapping[str, IndexedAttribute]:
        """What the index holds, by keyword."""

    def rows(
        self,
        level: Level,
        matches: Mapping[str, str],
        *,
        fuzzy: bool = False,
        with_sop_classes: bool = False,
    ) -> Iterator[Row]:
        """Every match, page by page.

        Parameters
        ----------
        matches : mapping
            By keyword: wildcards, ranges, lists of UIDs parted by a backslash (PS3.4 Section C.2.2.2).
        fuzzy : bool
            Person names by their likeness.
        with_sop_classes : bool
            SOP Classes in Study too, of studies.

        Raises
        ------
        ConfigurationError
            A value that its attribute cannot have, or an attribute that cannot be matched at that level.
        """

    def head(self, row: Row, tags: Collection[int]) -> Dataset | None:
        """Some attributes of an instance of what a row is about, the first; None when it cannot be read."""


class ArchivePort(QueryPort, Protocol):
    """The archive, read only; raises as `QueryPort`."""

    def select(
        self,
        *,
        patient_id: str = "",
        study_uids: Sequence[str] = (),
        series_uids: Sequence[str] = (),
        sop_instance_uids: Sequence[str] = (),
    ) -> Iterator[StoredInstance]:
        """The instances that are of all that is given, page by page; nothing given selects nothing."""

    def digests(self, sop_instance_uids: Sequence[str]) -> Mapping[str, str]:
        """SHA-256 of the data set, in hexadecimal, of those of the instances that the archive holds."""

    def local_file(self, instance: StoredInstance) -> AbstractContextManager[Path]:
        """The file of an instance, on this machine as long as the context lasts."""

    def commitments(self, came: Came, waits: Waits) -> CommitmentDesk:
        """Where requests for storage commitment are taken, which is the one thing that is written."""

    def close(self) -> None:
        """Let go of the archive; a later question opens it again."""


def open_archive(settings: Settings) -> ArchivePort:
    """The archive of the settings. Nothing is opened, and nothing imported, before the first question."""

    def opened() -> Archive:
        from archive import Archive  # noqa: PLC0415 - the database's libraries, for queries alone
        from archive.storage.opening import open_storage  # noqa: PLC0415

        return Archive.open(
            settings.archive_path,
            database_url=home.archive_url(settings),
            storage=open_storage(settings.archive, settings.archive_path),
        )

    return LazyArchive(opened)


class LazyArchive:
    """An `ArchivePort` that is opened at the first question. A failure is not remembered."""

    def __init__(self, opened: Callable[[], Archive]) -> None:
        self._opened = opened
        self._lock = threading.Lock()
        self._archive: Archive | None = None

    @property
    def is_open(self) -> bool:
        """Whether anybody has asked yet."""
        return self._archive is not None

    def attributes(self) -> Mapping[str, IndexedAttribute]:
        """What the index holds, by keyword."""
        return indexed_attributes()

    def rows(
        self,
        level: Level,
        matches: Mapping[str, str],
        *,
        fuzzy: bool = False,
        with_sop_classes: bool = False,
    ) -> Iterator[Row]:
        """Every match, page by page."""
        from archive.index.search import SearchQuery  # noqa: PLC0415

        archive = self._get()
        found = map(_by_keyword, archive.scan(SearchQuery(_their(level), dict(matches), fuzzy=fuzzy)))
        if not with_sop_classes:
            yield from found
            return
        while page := list(islice(found, _STUDIES_AT_ONCE)):
            classes = archive.sop_classes([row["StudyInstanceUID"] for row in page])
            yield from ({**row, SOP_CLASSES: classes.get(row["StudyInstanceUID"], [])} for row in page)

    def head(self, row: Row, tags: Collection[int]) -> Dataset | None:
        """Some attributes of an instance of what a row is about."""
        from archive.heads import read_head  # noqa: PLC0415

        study, series, instance = ([row[keyword]] if row.get(keyword) else [] for keyword in _UIDS)
        found = next(self.select(study_uids=study, series_uids=series, sop_instance_uids=instance), None)
        if found is None:
            return None
        try:
            with self.local_file(found) as path:
                return read_head(path, found, tags)
        except OSError:  # gone since, or a disk that does not answer: it has none of the attributes
            return None

    def select(
        self,
        *,
        patient_id: str = "",
        study_uids: Sequence[str] = (),
        series_uids: Sequence[str] = (),
        sop_instance_uids: Sequence[str] = (),
    ) -> Iterator[StoredInstance]:
        """The instances that are of all that is given, page by page."""
        from archive.values import Selection  # noqa: PLC0415

        if patient_id or study_uids or series_uids or sop_instance_uids:
            yield from self._get().select(
                Selection(
                    patient_id=patient_id,
                    study_uids=tuple(study_uids),
                    series_uids=tuple(series_uids),
                    sop_instance_uids=tuple(sop_instance_uids),
                )
            )

    def digests(self, sop_instance_uids: Sequence[str]) -> Mapping[str, str]:
        """SHA-256 of the data sets of those of the instances that the archive holds."""
        return self._get().digests(sop_instance_uids)

    def local_file(self, instance: StoredInstance) -> AbstractContextManager[Path]:
        """The file of an instance."""
        return self._get().reading(instance)

    def commitments(self, came: Came, waits: Waits) -> CommitmentDesk:
        """Where requests for storage commitment are taken."""
        from archive.committing import CommitmentDesk  # noqa: PLC0415

        return CommitmentDesk(self._get(), came, waits)

    def close(self) -> None:
        """Let go of the archive; one that somebody waits for to open is left to the end of the process."""
        if not self._lock.acquire(timeout=_CLOSE_S):
            return
        try:
            archive, self._archive = self._archive, None
        finally:
            self._lock.release()
        if archive is not None:
            archive.close()

    def _get(self) -> Archive:
        with self._lock:
            if self._archive is None:
                self._archive = self._opened()
            return self._archive


SOP_CLASSES: Final = "SOPClassesInStudy"
_UIDS: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_STUDIES_AT_ONCE: Final = 100
_CLOSE_S: Final = 1.0
_LEVELS: Final = {
    "PATIENT": Level.PATIENT,
    "STUDY": Level.STUDY,
    "SERIES": Level.SERIES,
    "INSTANCE": Level.IMAGE,
}


@cache
def indexed_attributes() -> Mapping[str, IndexedAttribute]:
    """What the index of every archive holds, by keyword."""
    from archive.attributes import ATTRIBUTES, PATIENT_COLUMNS  # noqa: PLC0415

    return {
        each.keyword: IndexedAttribute(
            each.keyword,
            each.tag,
            each.vr,
            Level.PATIENT if each.column in PATIENT_COLUMNS else _LEVELS[each.level.name],
        )
        for each in ATTRIBUTES
    }


def _by_keyword(row: Mapping[str, Any]) -> Row:
    from archive.attributes import ATTRIBUTES  # noqa: PLC0415

    return {
        **{name: value for name, value in row.items() if name[:1].isupper()},
        **{each.keyword: row[each.column] for each in ATTRIBUTES if each.column in row},
    }


def _their(level: Level) -> archive_attributes.Level:
    from archive.attributes import Level as Theirs  # noqa: PLC0415

    return next(each for each in Theirs if _LEVELS[each.name] is level)
