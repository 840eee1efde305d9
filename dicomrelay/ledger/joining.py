"""What becomes a transfer while an order stands: held from its beginning, and cancelled right after if that was said."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from dicomrelay.ledger import actions, cancelling, orders
from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.schema import HELD, OF_A_JOB, standing_orders, transfers
from dicomrelay.ledger.values import TransferState
from dicomrelay.ledger.values_operations import OrderKind


def obey(work: Work, transfer_ids: Sequence[str]) -> None:
    """Hold new transfers where an order of their job or their study stops them.

    Called in the transaction that made them, which began with `orders.unchanging`. What is to be cancelled is held for now:
    that takes instances' locks, and whoever makes transfers has the studies' already.
    """
    for part in chunks(transfer_ids):
        rows = work.connection.execute(
            select(transfers).where(transfers.c.id.in_(part)).order_by(transfers.c.id)
        ).all()
        stopped = orders.for_transfers(work, rows)
        actions.make_held(work, [row for row in rows if row.id in stopped])


def held_to_cancel(work: Work) -> list[str]:
    """The ids of transfers that are held because an order to cancel says so, in order; what is held only is passed over."""
    cancels = select(standing_orders.c.subject).where(standing_orders.c.kind == OrderKind.CANCEL.value)
    subjects = work.connection.execute(cancels.distinct()).scalars().all()
    found: dict[str, AnyRow] = {}
    for part in chunks(subjects):
        # From the few orders to their transfers: of all that is held most may be held by a person.
        for mine in ((transfers.c.study_instance_uid.in_(part),), (transfers.c.job_id.in_(part), OF_A_JOB)):
            held = select(transfers).where(transfers.c.state == TransferState.HELD.value, *mine)
            found.update((row.id, row) for row in work.connection.execute(held))
    return [row.id for row in _to_cancel(work, [found[key] for key in sorted(found)])]


def end_cancelled(work: Work, transfer_ids: Sequence[str]) -> int:
    """Cancel a portion of those, where it is still so; how many transfers that were."""
    orders.unchanging(work)
    held = work.connection.execute(
        select(transfers)
        .where(transfers.c.id.in_(transfer_ids), HELD)
        .order_by(transfers.c.id)
        .with_for_update(key_share=True)
    ).all()
    mine = cancelling.portion(_to_cancel(work, held))
    cancelling.make_cancelled(work, mine)
    return len(mine)


def _to_cancel(work: Work, held: Sequence[AnyRow]) -> list[AnyRow]:
    """Those for which the order in force, of several, is to cancel."""
    stopped = orders.for_transfers(work, held)
    return [row for row in held if row.id in stopped and stopped[row.id].kind is OrderKind.CANCEL]
