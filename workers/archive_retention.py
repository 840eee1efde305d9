"""The archive's retention in the scheduler's process: the ledger says what everybody has (docs/design/archive-storage.md)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from archive import Archive, StoredInstance
from archive.removal import remove
from archive.retention import BY, Stays, run
from archive.values import Selection
from dicomrelay.audit import Kind, Party
from dicomrelay.audit.studies import StudyTally
from dicomrelay.errors import RelayError
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.inventory import InstanceEntry
from dicomrelay.log import get_logger
from workers.rooms import Rooms

_log = get_logger("dicomrelay.archive_retention")
_FIRST_AFTER_S: Final = 120.0
_EVERY_S: Final = 3600.0


class LedgerDeliveries:
    """What the ledger says of stored instances: a `Deliveries`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def needed(self, stored: Sequence[StoredInstance]) -> Mapping[str, Stays]:
        """Of these instances those that must stay, by SOP Instance UID."""
        uids = [each.sop_instance_uid for each in stored]
        entries = self._ledger.inventory.kept(uids)
        found = {each.sop_instance_uid: _why(each, entries.get(each.sop_instance_uid)) for each in stored}
        # Also of what the ledger does not know otherwise: a ledger that was lost knows what lies set aside in the spool.
        by_people = dict.fromkeys(self._ledger.inventory.held(uids), Stays.HELD)
        by_people |= dict.fromkeys(self._ledger.inventory.in_conflict(uids), Stays.CONFLICT)
        return {uid: why for uid, why in found.items() if why is not None} | {
            uid: why for uid, why in by_people.items() if found[uid] in (None, Stays.UNDOCUMENTED)
        }


def _why(stored: StoredInstance, entry: InstanceEntry | None) -> Stays | None:
    if entry is None:
        return Stays.UNDOCUMENTED
    if entry.facts.digest != stored.digest:
        return Stays.OTHER_BYTES
    if entry.open_deliveries or entry.counted_open:
        return Stays.UNDELIVERED
    # As long as the spool has its item, somebody may still want it from there; that is given up when all is done.
    if entry.released_ms_ago is None and not entry.facts.source_path:
        return Stays.IN_WORK
    if entry.framing is not None and entry.framing.state == "pending":
        return Stays.IN_WORK
    return None


def retain_until(rooms: Rooms, stop: threading.Event) -> None:
    """Let go of what may go soon after the start and then every hour, until `stop` is set."""
    if not rooms.settings.archive.retention.is_on:
        return
    wait_s = _FIRST_AFTER_S
    while not stop.wait(wait_s):
        wait_s = _EVERY_S
        try:
            retain(rooms, stop)
        except RelayError as error:
            _log.warning("cannot let go of what is over in the archive, in an hour again", reason=str(error))


def retain(rooms: Rooms, stop: threading.Event) -> Counter[str]:
    """Once through the archive; how many studies, instances and bytes went, and how many studies stayed all the same.

    Raises
    ------
    ServiceUnavailable, ArchiveError
        What went until then is gone, with its tombstones.
    """
    settings = rooms.settings.archive.retention
    gone: Counter[str] = Counter()
    tally = StudyTally(rooms.audit, Kind.DELETED, "archive.retention", Party(BY))
    for candidate in run(
        rooms.archive, settings, LedgerDeliveries(rooms.ledger), remove=_remove, stop=stop.is_set
    ):
        if candidate.stays is not None:
            gone["studies_kept"] += 1
            _log.info(
                "stays in the archive",
                study_instance_uid=candidate.study_instance_uid,
                reason=candidate.stays.value,
            )
            continue
        gone["studies"] += 1
        gone["instances"] += candidate.instances
        gone["bytes"] += candidate.bytes
        if not settings.dry_run:
            tally.add(candidate.study_instance_uid, candidate.instances)
            tally.end({"reason": candidate.reason})
        _log.info(
            "would go from the archive" if settings.dry_run else "gone from the archive",
            action="archive.retention",
            study_instance_uid=candidate.study_instance_uid,
            instances=candidate.instances,
            bytes=candidate.bytes,
            reason=candidate.reason,
        )
    return gone


def _remove(archive: Archive, selection: Selection, reason: str) -> int:
    return remove(archive, selection, reason=reason, by=BY)
