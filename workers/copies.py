"""Copies of instances that are known: one stands in for bytes that are nowhere any more, the others may go.

The table of docs/design/archive-writing.md, "An instance that comes again".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from dicomrelay.errors import ServiceUnavailable, SpoolCorrupt
from dicomrelay.ledger.values import Registered
from dicomrelay.log import get_logger
from dicomrelay.spool import SpoolRecord
from workers.rooms import Rooms

_log = get_logger("dicomrelay.group")
# Items whose copies arrived are read again before the copies go; of one batch so much, or one item.
_VERIFY_BYTES: Final = 1 << 28
_OTHERS: Final = "its bytes are not those that arrived"


class _Archived(Enum):
    """What the archive has of an instance."""

    NOT_ASKED = auto()
    NOT_YET = auto()
    WHOLE = auto()
    LOST = auto()
    """It was archived; since then it was removed, or its file is gone or damaged."""
    NOBODY_KNOWS = auto()


@dataclass(slots=True)
class Sorted:
    """Spool items of copies: those that are an instance's file from now on, and those that may go."""

    needed: list[str] = field(default_factory=list)
    spare: list[str] = field(default_factory=list)


def sort_copies(rooms: Rooms, records: Sequence[SpoolRecord], copies: Sequence[Registered]) -> Sorted:
    """Judge copies, and make those the files of their instances that are needed.

    A copy goes only when the bytes of the item that stays were read and are those that arrived, or when that was released
    and the archive has its file. What can be judged neither now nor within `_VERIFY_BYTES` is neither needed nor spare: it
    stays in `new/`, and the next run goes on with it.
    """
    if not copies:
        return Sorted()
    by_id = {record.id: record for record in records}
    uids = sorted({by_id[copy.spool_id].sop_instance_uid for copy in copies})
    sorting = _Sorting(
        rooms,
        _archived(rooms, uids),
        frozenset(rooms.ledger.released([copy.kept_spool_id for copy in copies])),
    )
    for copy in copies:
        sorting.judge(copy, by_id[copy.spool_id])
    return sorting.done


@dataclass(slots=True)
class _Sorting:
    """The copies of a batch, one after the other; `good` are the items whose instance has its bytes, as was seen just now."""

    rooms: Rooms
    archived: Mapping[str, _Archived]
    released: frozenset[str]
    done: Sorted = field(default_factory=Sorted)
    good: set[str] = field(default_factory=set)
    read_bytes: int = 0

    def judge(self, copy: Registered, record: SpoolRecord) -> None:
        archived = self.archived.get(record.sop_instance_uid, _Archived.NOT_ASKED)
        if archived is _Archived.NOBODY_KNOWS:
            return
        is_released = copy.kept_spool_id in self.released
        if copy.kept_spool_id in self.good or (is_released and archived is not _Archived.LOST):
            self.done.spare.append(copy.spool_id)
            return
        if self.read_bytes and self.read_bytes + record.data_set_bytes > _VERIFY_BYTES:
            return
        self.read_bytes += record.data_set_bytes
        is_lost = archived is _Archived.LOST
        if is_released:
            self._stand_in(copy, record, archive_again=True)
        elif not _is_whole(self.rooms, copy.kept_spool_id):
            # What is not archived yet may be listed as lost, and is tried no more.
            if self._stand_in(copy, record, archive_again=is_lost or archived is _Archived.NOT_YET):
                _log.warning(
                    "the spool item of an instance is lost or damaged, its copy takes its place",
                    spool_id=copy.kept_spool_id,
                )
                self.rooms.spool.put_away(copy.kept_spool_id, reason=_OTHERS)
        elif is_lost and not self.rooms.ledger.archive_again(copy.instance_id):  # released since we asked
            self._stand_in(copy, record, archive_again=True)
        else:
            self.good.add(copy.kept_spool_id)
            self.done.spare.append(copy.spool_id)

    def _stand_in(self, copy: Registered, record: SpoolRecord, *, archive_again: bool) -> bool:
        """Let the copy be the file of its instance; False when its bytes are not those that arrived."""
        if not _is_whole(self.rooms, copy.spool_id):
            self.rooms.spool.put_away(copy.spool_id, reason=_OTHERS)
            return False
        # The ledger first: whoever looks for the instance finds it at any moment.
        self.rooms.ledger.replace_spool_item(
            copy.instance_id,
            spool_id=copy.spool_id,
            host=self.rooms.host,
            data_set_offset=record.data_set_offset,
            archive_again=archive_again,
        )
        self.done.needed.append(copy.spool_id)
        self.good.add(copy.kept_spool_id)  # another copy of the same instance is one too many
        return True


def _archived(rooms: Rooms, uids: Sequence[str]) -> dict[str, _Archived]:
    """What the archive has of those of the instances that it is to have."""
    entries = rooms.ledger.inventory.kept(uids)
    once = sorted(uid for uid, entry in entries.items() if entry.facts.archive_path)
    found = {uid: _Archived.NOT_YET for uid, entry in entries.items() if entry.archive_wanted}
    if not once:
        return found
    try:
        whole = rooms.archive.inventory().whole(sorted(rooms.archive.digests(once)))
    except (ServiceUnavailable, OSError):
        return found | dict.fromkeys(once, _Archived.NOBODY_KNOWS)
    return found | {uid: _Archived.WHOLE if uid in whole else _Archived.LOST for uid in once}


def _is_whole(rooms: Rooms, spool_id: str) -> bool:
    """Whether the item has a record that agrees, and the bytes of its digest; not one that was cut short or decayed."""
    try:
        rooms.spool.verify(spool_id)
    except SpoolCorrupt:
        return False
    return True
