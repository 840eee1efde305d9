"""Spool items that have done their duty."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Select, delete, select, update

from dicomrelay.ledger import actions, orders
from dicomrelay.ledger.engine import Work, chunks
from dicomrelay.ledger.new_rows import stage_row
from dicomrelay.ledger.schema import RELEASABLE, UNDECIDED, instances, stages, studies
from dicomrelay.ledger.values import Stage

# A rule of its series or its study may send it somewhere yet.
_UNDECIDED: Final = (
    select(studies.c.study_instance_uid)
    .where(UNDECIDED, studies.c.study_instance_uid == instances.c.study_instance_uid)
    .exists()
)


def releasable_items(host: str | None, *, registered_before: int) -> Select[str]:
    """The spool items of a host, or of all, that no open delivery needs and that are kept elsewhere."""
    # In the order of its index: SQLite without statistics would take another one, which holds all that was ever kept.
    query = (
        select(instances.c.spool_id)
        .where(RELEASABLE, ~_UNDECIDED, instances.c.registered_at <= registered_before)
        .order_by(instances.c.host, instances.c.registered_at)
    )
    return query if host is None else query.where(instances.c.host == host)


def releasable(work: Work, *, host: str, limit: int, keep_ms: int) -> list[str]:
    """See `Ledger.releasable`."""
    query = releasable_items(host, registered_before=work.now - keep_ms).limit(limit)
    return list(work.connection.execute(query).scalars())


def mark_released(work: Work, spool_ids: Iterable[str]) -> list[str]:
    """See `Ledger.mark_released`."""
    marked: list[str] = []
    for part in chunks(sorted(set(spool_ids))):
        rows = work.connection.execute(
            select(instances.c.spool_id)
            .where(instances.c.spool_id.in_(part), RELEASABLE, ~_UNDECIDED)
            .order_by(instances.c.id)
            .with_for_update(key_share=True)
        )
        marked.extend(rows.scalars())
    for part in chunks(marked):
        work.connection.execute(
            update(instances).where(instances.c.spool_id.in_(part)).values(released_at=work.now)
        )
    return marked


def released(work: Work, spool_ids: Iterable[str]) -> list[str]:
    """See `Ledger.released`."""
    found: list[str] = []
    for part in chunks(sorted(set(spool_ids))):
        rows = work.connection.execute(
            select(instances.c.spool_id).where(
                instances.c.spool_id.in_(part), instances.c.released_at.is_not(None)
            )
        )
        found.extend(rows.scalars())
    return found


def replace_item(
    work: Work, instance_id: str, *, spool_id: str, host: str, data_set_offset: int, archive_again: bool
) -> None:
    """See `Ledger.replace_spool_item`."""
    orders.unchanging(work)
    actions.bytes_are_back(work, instance_id)
    work.connection.execute(
        update(instances)
        .where(instances.c.id == instance_id)
        .values(
            spool_id=spool_id, host=host, data_set_offset=data_set_offset, source_path=b"", released_at=None
        )
    )
    if archive_again:
        # In the same transaction: an item that is archived and needed by nobody may be released at any moment.
        _let_archive(work, instance_id, host)


def archive_again(work: Work, instance_id: str) -> bool:
    """See `Ledger.archive_again`."""
    row = work.connection.execute(
        select(instances.c.host)
        .where(instances.c.id == instance_id, instances.c.released_at.is_(None))
        .with_for_update(key_share=True)
    ).one_or_none()
    if row is None:
        return False
    _let_archive(work, instance_id, row.host)
    return True


def _let_archive(work: Work, instance_id: str, host: str) -> None:
    """As if it had never been archived; its spool item stays until it is."""
    work.connection.execute(
        update(instances).where(instances.c.id == instance_id).values(archive_path="", archive_wanted=True)
    )
    work.connection.execute(delete(stages).where(stages.c.instance_id == instance_id))
    work.insert_missing(stages, [stage_row(instance_id, Stage.ARCHIVE, host, work.now)])
