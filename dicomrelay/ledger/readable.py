"""Which transfers a host can send: the bytes of all that is left of them are in the archive, or in its own spool.

Asked only where several hosts are at one ledger (docs/design/hosts.md); with one, everything is readable there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, select

from dicomrelay.ledger.engine import Work
from dicomrelay.ledger.schema import DUE, deliveries, instances, transfers
from dicomrelay.ledger.values import DeliveryState, DueTransfer, Priority

TO_DO: Final = (DeliveryState.PENDING.value, DeliveryState.FAILED.value)
_LEFT: Final = (
    deliveries.c.transfer_id == transfers.c.id,
    deliveries.c.state.in_(TO_DO),
    instances.c.id == deliveries.c.instance_id,
    instances.c.archive_path == "",
)


def readable_at(host: str) -> tuple[ColumnElement[bool], ...]:
    """Of a transfer: nothing that is left of it is in another host's spool alone. No condition for the host ""."""
    if not host:
        return ()
    elsewhere = select(instances.c.id).where(*_LEFT, instances.c.host != host).correlate(transfers).limit(1)
    # Not NOT EXISTS: of it PostgreSQL makes a join, and reads all instances where it holds those of other hosts for few.
    return (elsewhere.scalar_subquery().is_(None),)


def anywhere(work: Work, study_instance_uids: Sequence[str], *, limit: int) -> list[DueTransfer]:
    """Transfers of these studies that are due, and that any host can send."""
    in_a_spool = select(instances.c.id).where(*_LEFT)
    rows = work.connection.execute(
        select(transfers.c.id, transfers.c.priority, transfers.c.destination)
        .where(
            transfers.c.study_instance_uid.in_(study_instance_uids),
            DUE,
            transfers.c.due_at <= work.now,
            ~in_a_spool.correlate(transfers).exists(),
        )
        .order_by(transfers.c.due_at)
        .limit(limit)
    )
    return [DueTransfer(row.id, Priority(row.priority), row.destination) for row in rows]
