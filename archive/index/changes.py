"""Rows that go together with files: what is added once its file is seen to be there, and sections that nobody else writes in.

docs/design/archive-writing.md has the rules. A change that takes bytes away is a row of `archive_meta` from before it is
begun until all of it is done.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sqlalchemy import delete, insert, select, update

from archive.index.adding import add_instances, remove_instances, replace_instances, resize_instances
from archive.index.entries import FileSize, Known, NewInstance
from archive.index.reader import joined, stored_instance
from archive.index.schema import conflicts, instances, meta
from archive.layout import CONFLICTS
from archive.values import Conflict, StoredInstance
from dicomrelay.ledger.engine import Database, Work, chunks

FILES: Final = "archive.files"
CHANGE: Final = "change:"
_IMPORT: Final = "import:"
# That instances came in as files once: the ledger of a relay knows nothing of them.
IMPORTED: Final = "imported"


@dataclass(frozen=True, slots=True)
class Change:
    """A change that is begun.

    Attributes
    ----------
    id : str
        32 hexadecimal digits.
    facts : mapping
        What is needed to finish it or to undo it; goes through JSON.
    """

    facts: Mapping[str, Any]
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def name(self) -> str:
        """Its row in `archive_meta`."""
        return f"{CHANGE}{self.id}"


@dataclass(frozen=True, slots=True)
class Section:
    """A transaction that no other writer's overlaps: what it reads stays so until its end."""

    work: Work

    def held(self, sop_instance_uids: Sequence[str]) -> dict[str, StoredInstance]:
        """What the index holds under these SOP Instance UIDs."""
        query = joined()
        return {
            row["sop_instance_uid"]: stored_instance(row)
            for some in chunks(sop_instance_uids)
            for row in self.work.connection.execute(
                query.where(instances.c.sop_instance_uid.in_(some))
            ).mappings()
        }

    def listed(self, relative_paths: Sequence[str]) -> set[str]:
        """Those of the paths that an instance has, or a conflict."""
        aside = [path for path in relative_paths if path.startswith(f"{CONFLICTS}/")]
        return {
            path
            for column, paths in (
                (instances.c.relative_path, relative_paths),
                (conflicts.c.relative_path, aside),
            )
            for some in chunks(paths)
            for path in self.work.connection.execute(select(column).where(column.in_(some))).scalars()
        }

    def replace(self, new: Sequence[NewInstance]) -> None:
        """Put instances in the place of those of their UIDs."""
        replace_instances(self.work, new)

    def remove(self, sop_instance_uids: Sequence[str], *, reason: str, by: str) -> list[StoredInstance]:
        """Take instances out, with what is empty then; a tombstone for each. Those that were there."""
        return remove_instances(self.work, sop_instance_uids, reason=reason, removed_by=by)

    def resize(self, sop_instance_uid: str, size: FileSize) -> None:
        """Record a file that was put back behind another file meta."""
        resize_instances(self.work, {sop_instance_uid: (size.file_bytes, size.data_set_offset)})

    def record(self, found: Sequence[Conflict]) -> None:
        """List conflicts, each UID and digest once."""
        record_conflicts(self.work, found)

    def begin(self, change: Change) -> None:
        """Write a change down."""
        self.work.connection.execute(insert(meta), [{"name": change.name, "value": json.dumps(change.facts)}])

    def has(self, change: Change) -> bool:
        """Whether a change is still written down."""
        query = select(meta.c.name).where(meta.c.name == change.name)
        return self.work.connection.execute(query).first() is not None

    def end(self, change: Change) -> bool:
        """Forget a change; whether it was still there."""
        gone = self.work.connection.execute(delete(meta).where(meta.c.name == change.name))
        return gone.rowcount > 0


class IndexChanges:
    """Writes to the index that look at files.

    Parameters
    ----------
    database : Database
        The index. Every method raises ServiceUnavailable when it does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, new: Sequence[NewInstance], *, are_there: Callable[[Sequence[NewInstance]], Sequence[bool]]
    ) -> tuple[dict[str, Known], set[str]]:
        """Put instances in whose files are there, in one transaction.

        Parameters
        ----------
        are_there : callable
            Of each, whether its file is still what was put there.

        Returns
        -------
        dict, set
            What the index holds under their UIDs now; and the UIDs of those whose files were taken away.
        """
        taken: set[str] = set()

        def put_in(work: Work) -> dict[str, Known]:
            taken.clear()
            work.shared(FILES)
            there = are_there(new)
            taken.update(
                item.request.sop_instance_uid
                for item, is_there in zip(new, there, strict=True)
                if not is_there
            )
            here = [item for item in new if item.request.sop_instance_uid not in taken]
            return add_instances(work, here)

        return self._database.transact(put_in), taken

    @contextmanager
    def exclusive(self) -> Iterator[Section]:
        """A section that no other writer's transaction overlaps; all of it, or nothing when the block raises."""
        with self._database.write() as work:
            work.exclusive(FILES)
            yield Section(work)

    def held(self, sop_instance_uid: str) -> StoredInstance | None:
        """What the index holds under a SOP Instance UID."""
        return self.held_all([sop_instance_uid]).get(sop_instance_uid)

    def held_all(self, sop_instance_uids: Sequence[str]) -> dict[str, StoredInstance]:
        """What the index holds under these SOP Instance UIDs."""
        with self._database.read() as work:
            return Section(work).held(sop_instance_uids)

    def record(self, found: Sequence[Conflict]) -> None:
        """List conflicts, each UID and digest once."""
        if found:
            with self.exclusive() as section:
                section.record(found)

    def begin_import(self) -> str:
        """Note that files come in, and for good that some did; `end_import` takes the name of the first note."""
        name = f"{_IMPORT}{uuid.uuid4().hex}"
        with self._database.write() as work:
            work.connection.execute(insert(meta), [{"name": name, "value": str(work.now)}])
            work.insert_missing(meta, [{"name": IMPORTED, "value": str(work.now)}])
        return name

    def end_import(self, *names: str) -> None:
        """Forget it."""
        with self._database.write() as work:
            work.connection.execute(delete(meta).where(meta.c.name.in_(names)))

    def old_imports(self, age_ms: int) -> list[str]:
        """Names of the notes of imports that began so long ago, in milliseconds, and did not end."""
        with self._database.read() as work:
            rows = work.connection.execute(select(meta).where(meta.c.name.startswith(_IMPORT))).all()
            return [row.name for row in rows if int(row.value) <= work.now - age_ms]

    def open_changes(self) -> list[Change]:
        """Those that are begun and not done."""
        with self._database.read() as work:
            rows = work.connection.execute(select(meta).where(meta.c.name.startswith(CHANGE))).all()
        return [Change(json.loads(row.value), row.name.removeprefix(CHANGE)) for row in rows]


def record_conflicts(work: Work, found: Sequence[Conflict]) -> int:
    """List conflicts, each UID and digest once; how many are new. What was refused and is set aside later gets its path."""
    columns = conflicts.c
    new = 0
    for each in found:
        same = (columns.sop_instance_uid == each.sop_instance_uid) & (columns.digest == each.digest)
        row = work.connection.execute(select(columns.id, columns.relative_path).where(same)).first()
        if row is None:
            work.connection.execute(
                insert(conflicts), [{**asdict(each), "found_ms": each.found_ms or work.now}]
            )
            new += 1
        elif each.relative_path and not row.relative_path:
            work.connection.execute(
                update(conflicts)
                .where(columns.id == row.id)
                .values(relative_path=each.relative_path, file_bytes=each.file_bytes)
            )
    return new
