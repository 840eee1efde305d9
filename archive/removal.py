"""Instances taken out of an archive, for a reason: row, file and frame index go, a tombstone stays.

docs/design/archive-writing.md tells the steps. Each batch is whole or not there; what a crash leaves is finished by whoever
opens the archive next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Final

from archive.archive import Archive
from archive.changing import DELETE, finish
from archive.index.changes import Change
from archive.made_files import remove_made
from archive.values import Selection, StoredInstance, Tombstone
from archive.writing import WritingTools
from dicomrelay.errors import ConfigurationError

TOGETHER: Final = 500
_LONGEST_CHARACTERS: Final = 1000


def remove(
    archive: Archive,
    selection: Selection,
    *,
    reason: str,
    by: str,
    on_progress: Callable[[int, int], None] | None = None,
    on_removed: Callable[[Sequence[StoredInstance]], None] | None = None,
) -> int:
    """Remove what is selected and return how many instances it were; durable when it returns.

    Parameters
    ----------
    selection : Selection
        Not everything: to be rid of a whole archive, delete its folder. An instance that changes meanwhile is left alone.
    reason, by : str
        Why, and who says so: kept with the tombstone, 1 to 1000 characters each. No patient data belongs there.
    on_progress : callable, optional
        Told how many instances and bytes are removed so far.
    on_removed : callable, optional
        Given those of each batch when they are gone.

    Raises
    ------
    ConfigurationError
        There is no reason, it is too long, or everything is selected.
    ServiceUnavailable, LedgerError
        Index or storage do not work. Instances without a row are removed; their files go when the archive is next opened.
    ArchiveError, OSError
        A file cannot be deleted; the same.
    """
    for name, text in (("reason", reason), ("by", by)):
        if not 1 <= len(text.strip()) <= _LONGEST_CHARACTERS:
            raise ConfigurationError(
                f"{name}: say in 1 to {_LONGEST_CHARACTERS} characters why, and who says so"
            )
    if selection.is_everything:
        raise ConfigurationError(
            "nothing is named that is to be removed: say which patient, study, series or instance"
        )
    tools = archive.writing_tools
    removed = removed_bytes = 0
    for batch in _batches(archive.select(selection)):
        gone = _remove(batch, tools, reason=reason.strip(), by=by.strip())
        removed += len(gone)
        removed_bytes += sum(stored.file_bytes for stored in gone)
        if on_removed is not None and gone:
            on_removed(gone)
        if on_progress is not None:
            on_progress(removed, removed_bytes)
    return removed


def _batches(found: Iterable[StoredInstance]) -> Iterator[list[StoredInstance]]:
    source = iter(found)
    while batch := list(islice(source, TOGETHER)):
        yield batch


def _remove(
    batch: Sequence[StoredInstance], tools: WritingTools, *, reason: str, by: str
) -> list[StoredInstance]:
    with tools.changes.exclusive() as section:
        held = section.held([stored.sop_instance_uid for stored in batch])
        same = [stored for stored in batch if held.get(stored.sop_instance_uid) == stored]
        if not same:
            return []
        section.remove([stored.sop_instance_uid for stored in same], reason=reason, by=by)
        tombs = [_tombstone(stored, section.work.now, reason, by) for stored in same]
        change = Change(
            {
                "kind": DELETE,
                "paths": [stored.relative_path for stored in same],
                "record": {"format": 1, "removed": [asdict(tomb) for tomb in tombs]},
            }
        )
        section.begin(change)
    finish(tools, change)
    for stored in same:
        remove_made(tools.layout, tools.disk, stored)
    return same


def _tombstone(stored: StoredInstance, now_ms: int, reason: str, by: str) -> Tombstone:
    return Tombstone(
        sop_instance_uid=stored.sop_instance_uid,
        study_instance_uid=stored.study_instance_uid,
        series_instance_uid=stored.series_instance_uid,
        digest=stored.digest,
        file_bytes=stored.file_bytes,
        removed_ms=now_ms,
        reason=reason,
        removed_by=by,
    )
