"""What becomes a transfer while an order stands: held from its beginning, and cancelled right after if that was said."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from dicomrelay.ledger import actions, cancelling, orders
from dicomrelay.ledger.engine import Work, chunks
from dicomrelay.ledger.schema import HELD, standing_orders, transfers
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


def any_cancels(work: Work) -> bool:
    """Whether somebody gave an order to cancel; most ledgers have none."""
    cancels = select(standing_orders.c.subject).where(standing_orders.c.kind == OrderKind.CANCEL.value)
    return work.connection.execute(cancels.limit(1)).first() is not None


def end_cancelled(work: Work) -> int:
    """Cancel what is held because an order says so; how many transfers that were."""
    orders.unchanging(work)
    held = work.connection.execute(
        select(transfers).where(HELD).order_by(transfers.c.id).with_for_update(key_share=True)
    ).all()
    stopped = orders.for_transfers(work, held)
    mine = [row for row in held if row.id in stopped and stopped[row.id].kind is OrderKind.CANCEL]
    mine = cancelling.portion(mine)
    cancelling.make_cancelled(work, mine)
    return len(mine)
