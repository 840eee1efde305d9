"""The rows of an index that is made anew: instances from stored files, conflicts and tombstones from what lies beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Final

from sqlalchemy import func, insert, select

from archive.index.adding import add_instances, known_instances
from archive.index.changes import record_conflicts
from archive.index.entries import Known, NewInstance
from archive.index.new_index import note_files, noted_files, set_stored_times, stored_times
from archive.index.schema import instances, tombstones
from archive.layout import CONFLICTS, DATA, REMOVED, Layout
from archive.storage import Storage, StoredObject
from archive.stored_reading import Read, Unlisted
from archive.values import Conflict, Tombstone
from dicomrelay.dicom.part10 import HEAD_BYTES, parse_file_meta
from dicomrelay.errors import ArchiveError, DataSetError
from dicomrelay.ledger.engine import Database, Work

_TOGETHER: Final = 200
_MOST_PROBLEMS: Final = 1000
_PART: Final = ".part"
_FOUND: Final = "found by a rebuild of the index"


@dataclass(slots=True)
class RebuildReport:
    """What a rebuild found.

    Attributes
    ----------
    instances : int
        Files that are in the new index; `resumed` of them were there from an interrupted rebuild.
    read_bytes : int
        How much was read.
    conflicts, tombstones : int
        What is listed beside them that the old index did not tell.
    problems : list of Unlisted
        The first thousand files that are not in the new index; `problems_left_out` are more. They stay where they are.
    stopped : str
        Why it ended before the new index took the place of the old one; "" when it did.
    seconds : float
        How long it took.
    """

    instances: int = 0
    resumed: int = 0
    read_bytes: int = 0
    conflicts: int = 0
    tombstones: int = 0
    problems: list[Unlisted] = field(default_factory=list)
    problems_left_out: int = 0
    stopped: str = ""
    seconds: float = 0.0

    def add_problem(self, problem: Unlisted) -> None:
        """Keep it, as far as there is room."""
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(problem)
        else:
            self.problems_left_out += 1


class Rows:
    """Fills a new index.

    Parameters
    ----------
    new : Database
    old : Database, optional
        It knows when instances were stored; else that is when their files were written.
    storage : Storage
        The stored files.
    report : RebuildReport
        What is done is counted there.
    """

    def __init__(self, new: Database, old: Database | None, storage: Storage, report: RebuildReport) -> None:
        self._new, self._old = new, old
        self.storage = storage
        self.report = report

    def resumed(self) -> int | None:
        """How many instances are there from an interrupted rebuild; None when a file has changed since, or is gone.

        Its size says little: an instance that was replaced may have that of its predecessor.
        """
        with self._new.read() as work:
            rows = work.connection.execute(select(func.count()).select_from(instances)).scalar_one()
        there = 0
        for page in self.storage.list(DATA) if rows else ():
            noted = noted_files(self._new, [each.key for each in page])
            if any(noted.get(each.key, each.changed_s) != each.changed_s for each in page):
                return None
            there += len(noted)
        return rows if there == rows else None

    def missing(self) -> Iterator[list[StoredObject]]:
        """Stored files that the new index does not have, in batches."""
        for page in self.storage.list(DATA):
            files = [each for each in page if not each.key.endswith(_PART)]
            column = instances.c.relative_path
            with self._new.read() as work:
                query = select(column).where(column.in_([each.key for each in files]))
                known = set(work.connection.execute(query).scalars())
            left = [each for each in files if each.key not in known]
            for start in range(0, len(left), _TOGETHER):
                yield left[start : start + _TOGETHER]

    def add(self, batch: Sequence[tuple[StoredObject, Read]]) -> None:
        """Put what was read into the index, in one transaction."""
        new = []
        written: dict[str, int] = {}
        changed: dict[str, float] = {}
        for found, read in batch:
            self.report.read_bytes += found.size_bytes
            if isinstance(read, Unlisted):
                self.report.add_problem(read)
                continue
            new.append(read)
            written.setdefault(read.request.sop_instance_uid, round(found.changed_s * 1000))
            changed[read.relative_path] = found.changed_s
        if not new:
            return
        if self._old is not None:
            written |= stored_times(self._old, list(written))
        first: dict[str, NewInstance] = {}
        for item in new:
            first.setdefault(item.request.sop_instance_uid, item)

        def put_in(work: Work) -> dict[str, Known]:
            before = known_instances(work, list(first))
            held = add_instances(work, list(first.values()))
            set_stored_times(work.connection, {uid: at for uid, at in written.items() if uid not in before})
            in_index = {held[uid].relative_path for uid in first if uid not in before}
            note_files(work.connection, {path: at for path, at in changed.items() if path in in_index})
            return held

        held = self._new.transact(put_in)
        for item in new:
            known = held[item.request.sop_instance_uid]
            if known.relative_path == item.relative_path:
                self.report.instances += 1
            else:
                same = known.digest == item.request.digest
                words = "is a second file of its SOP Instance UID, with " + (
                    "the same bytes" if same else "other bytes"
                )
                self.report.add_problem(Unlisted(item.relative_path, words))

    def list_conflicts(self) -> None:
        """What lies under `conflicts/` and is not listed."""
        for page in self.storage.list(CONFLICTS):
            found = [
                conflict
                for each in page
                if not each.key.endswith(_PART) and (conflict := self._conflict(each))
            ]

            def put_in(work: Work, found: Sequence[Conflict] = found) -> int:
                known = known_instances(work, [each.sop_instance_uid for each in found])
                nobody = Known("", "", 0)
                return record_conflicts(
                    work,
                    [
                        Conflict(
                            **{**asdict(each), "kept_digest": known.get(each.sop_instance_uid, nobody).digest}
                        )
                        for each in found
                    ],
                )

            self.report.conflicts += self._new.transact(put_in)

    def _conflict(self, found: StoredObject) -> Conflict | None:
        try:
            uid = parse_file_meta(self.storage.read(found.key, 0, HEAD_BYTES)).sop_instance_uid
        except (OSError, DataSetError, ArchiveError) as error:
            self.report.add_problem(Unlisted(found.key, f"was set aside and cannot be read: {_words(error)}"))
            return None
        digest = PurePosixPath(found.key).stem
        # A file without the UID in its meta lies in a folder of its name.
        uid = uid or PurePosixPath(found.key).parent.name
        return Conflict(uid, digest, "", found.key, found.size_bytes, round(found.changed_s * 1000), _FOUND)

    def list_tombstones(self, layout: Layout) -> None:
        """What `removed/` tells and is not listed."""
        try:
            paths = sorted(layout.resolve(REMOVED).glob("*.json"))
        except FileNotFoundError:
            return
        for path in paths:
            try:
                removed = [Tombstone(**each) for each in json.loads(path.read_bytes())["removed"]]
            except (OSError, ValueError, TypeError, KeyError) as error:
                self.report.add_problem(
                    Unlisted(f"{REMOVED}/{path.name}", f"cannot be read: {_words(error)}")
                )
                continue

            def put_in(work: Work, removed: Sequence[Tombstone] = removed) -> int:
                new = [tomb for tomb in removed if not _is_buried(work, tomb)]
                if new:
                    work.connection.execute(insert(tombstones), [asdict(tomb) for tomb in new])
                return len(new)

            self.report.tombstones += self._new.transact(put_in)


def _is_buried(work: Work, tomb: Tombstone) -> bool:
    same = (tombstones.c.sop_instance_uid == tomb.sop_instance_uid) & (
        tombstones.c.removed_ms == tomb.removed_ms
    )
    return work.connection.execute(select(tombstones.c.id).where(same).limit(1)).first() is not None


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
