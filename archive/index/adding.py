"""Instances that come, are put in another's place, or go: in a transaction of the caller's, with everything that hangs on it.

On PostgreSQL the rows of the studies are locked first, in the order of their UIDs (docs/design/archive-index.md). Who removes
or replaces has the exclusive section `archive.files`, who adds shares it (`archive.index.changes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from sqlalchemy import delete, select

from archive.index.counters import Change, count
from archive.index.entries import Known, NewInstance
from archive.index.filing import file_series, file_studies, lock_studies
from archive.index.reader import joined, stored_instance
from archive.index.schema import instances, series, tombstones
from archive.values import StoredInstance
from dicomrelay.ledger.engine import Work, chunks


def known_instances(work: Work, sop_instance_uids: Sequence[str]) -> dict[str, Known]:
    """What the index holds under these SOP Instance UIDs."""
    columns = instances.c
    query = select(
        columns.sop_instance_uid, columns.digest, columns.relative_path, columns.file_bytes, columns.damage
    )
    found: dict[str, Known] = {}
    for some in chunks(sop_instance_uids):
        for row in work.connection.execute(query.where(columns.sop_instance_uid.in_(some))):
            found[row.sop_instance_uid] = Known(
                row.digest, row.relative_path, row.file_bytes, row.damage is not None
            )
    return found


def add_instances(work: Work, new: Sequence[NewInstance]) -> dict[str, Known]:
    """Put instances in and return what the index holds under their UIDs now.

    One that is there already stays as it is, and changes nothing above it but what was missing there; the caller
    compares digests.
    """
    if not new:
        return {}
    filed = file_studies(work, new)
    keys = file_series(work, new, filed)
    rows = [
        {**item.row(), "series": keys[item.series_key], "stored_ms": work.now}
        for item in sorted(new, key=lambda item: item.request.sop_instance_uid)
    ]
    statement = work.insert(instances).on_conflict_do_nothing()
    came = work.connection.execute(statement.returning(instances.c.series, instances.c.file_bytes), rows)
    changes: dict[int, Change] = {}
    for row in came:
        change = changes.setdefault(row.series, Change())
        change.instances += 1
        change.bytes += row.file_bytes
    count(work, changes, [study["id"] for study in filed.values()])
    return known_instances(work, [item.request.sop_instance_uid for item in new])


def replace_instances(work: Work, new: Sequence[NewInstance]) -> dict[str, Known]:
    """Put instances in the place of those that have their SOP Instance UIDs; where there is none they are added.

    They are filed as they say themselves, which may be in another study or series than before.
    """
    wanted = {item.request.study_instance_uid for item in new}
    found = _held(work, [item.request.sop_instance_uid for item in new], also=wanted)
    _delete(work, found)
    return add_instances(work, new)


def remove_instances(
    work: Work, sop_instance_uids: Sequence[str], *, reason: str, removed_by: str
) -> list[StoredInstance]:
    """Take instances out, with the series, studies and patients that are empty then, and leave a tombstone for each.

    Returns
    -------
    list of StoredInstance
        Those that were there.
    """
    found = _held(work, sop_instance_uids)
    _delete(work, found)
    work.insert_missing(
        tombstones,
        [
            {
                "sop_instance_uid": each.sop_instance_uid,
                "study_instance_uid": each.study_instance_uid,
                "series_instance_uid": each.series_instance_uid,
                "digest": each.digest,
                "file_bytes": each.file_bytes,
                "removed_ms": work.now,
                "reason": reason,
                "removed_by": removed_by,
            }
            for each in found
        ],
    )
    return found


def resize_instances(work: Work, sizes: Mapping[str, tuple[int, int]]) -> None:
    """Record files that were put back: their size and the offset of their data set, in bytes, by SOP Instance UID.

    Whatever was wrong with the file before is no more.
    """
    found = _held(work, sorted(sizes))
    of = _series_of(work, found)
    changes: dict[int, Change] = {}
    for each in found:
        size, offset = sizes[each.sop_instance_uid]
        work.connection.execute(
            instances.update()
            .where(instances.c.sop_instance_uid == each.sop_instance_uid)
            .values(file_bytes=size, data_set_offset=offset, head_digest=None, damage=None)
        )
        changes.setdefault(of[each.sop_instance_uid][0], Change()).bytes += size - each.file_bytes
    count(work, changes, {study for _, study in of.values()})


def _held(
    work: Work, sop_instance_uids: Sequence[str], *, also: Set[str] = frozenset()
) -> list[StoredInstance]:
    """Those of the instances that are there once their studies, and others, are held."""
    before = _found(work, sop_instance_uids)
    lock_studies(work, also | {each.study_instance_uid for each in before})
    return _found(work, sop_instance_uids)


def _found(work: Work, sop_instance_uids: Sequence[str]) -> list[StoredInstance]:
    return [
        stored_instance(row)
        for some in chunks(sop_instance_uids)
        for row in work.connection.execute(
            joined().where(instances.c.sop_instance_uid.in_(some)).order_by(instances.c.id)
        ).mappings()
    ]


def _series_of(work: Work, found: Sequence[StoredInstance]) -> dict[str, tuple[int, int]]:
    """The keys of the series and the study of instances, by SOP Instance UID."""
    query = select(instances.c.sop_instance_uid, series.c.id, series.c.study).join_from(instances, series)
    return {
        row.sop_instance_uid: (row.id, row.study)
        for some in chunks([each.sop_instance_uid for each in found])
        for row in work.connection.execute(query.where(instances.c.sop_instance_uid.in_(some)))
    }


def _delete(work: Work, found: Sequence[StoredInstance]) -> None:
    of = _series_of(work, found)
    changes: dict[int, Change] = {}
    for each in found:
        change = changes.setdefault(of[each.sop_instance_uid][0], Change())
        change.instances -= 1
        change.bytes -= each.file_bytes
    for some in chunks([each.sop_instance_uid for each in found]):
        work.connection.execute(delete(instances).where(instances.c.sop_instance_uid.in_(some)))
    count(work, changes, {study for _, study in of.values()})
