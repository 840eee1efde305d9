"""What a peer acknowledged to a runner whose transfer was held or cancelled under its hands.

While a transfer is held or cancelled nobody else can be at it: the answer is true, and is taken. So a hold sends nothing
twice, and what was cancelled too late is not called cancelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import update
from sqlalchemy.sql.expression import bindparam

from dicomrelay.ledger.engine import AnyRow, Work
from dicomrelay.ledger.schema import instances
from dicomrelay.ledger.values import DeliveryOutcome, DeliveryState, TransferState

_STOPPED = (TransferState.HELD.value, TransferState.CANCELLED.value)


def taken(
    transfer: AnyRow, before: Mapping[str, DeliveryState], outcomes: Sequence[DeliveryOutcome]
) -> list[DeliveryOutcome]:
    """The late outcomes that count: acknowledged, of a transfer that nobody can run, not delivered before."""
    if transfer.state not in _STOPPED:
        return []
    return [
        outcome
        for outcome in outcomes
        if outcome.state.is_delivered
        and outcome.instance_id in before
        and not before[outcome.instance_id].is_delivered
    ]


def count_again(work: Work, before: Mapping[str, DeliveryState], outcomes: Sequence[DeliveryOutcome]) -> None:
    """Those that were cancelled count among the deliveries of their instances again, and as made; the others were open."""
    work.connection.execute(
        update(instances)
        .where(instances.c.id == bindparam("key"))
        .values(
            all_deliveries=instances.c.all_deliveries + bindparam("wanted"),
            open_deliveries=instances.c.open_deliveries - bindparam("closed"),
        ),
        [
            {
                "key": outcome.instance_id,
                "wanted": int(before[outcome.instance_id] is DeliveryState.CANCELLED),
                "closed": int(before[outcome.instance_id] is not DeliveryState.CANCELLED),
            }
            for outcome in sorted(outcomes, key=lambda outcome: outcome.instance_id)
        ],
    )
