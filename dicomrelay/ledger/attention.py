"""What will not get better by itself."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Select, TextClause, case, literal, null, select, text, union_all

from dicomrelay.ledger.engine import Work
from dicomrelay.ledger.schema import (
    BLOCKED,
    DUE,
    FAILED,
    NEEDS_ATTENTION,
    REFUSED,
    SET_ASIDE,
    UNROUTED,
    WAS_UNDER_WAY,
    deliveries,
    instances,
    stages,
    transfers,
    verifications,
)
from dicomrelay.ledger.values import Attention, AttentionKind, DeliveryState, Stage
from dicomrelay.ledger.values_verification import VerificationState, Verified

# One death of an association may be anybody's; the last of so many was that of an association with nothing else.
SUSPECT_ATTEMPTS: Final = 3
# In words, for what reads that table brings pydicom with it.
_UNHEARD: Final = text("SELECT count(*) FROM performed_forwards WHERE state = 'needs_attention'")
_TO_DO: Final = (DeliveryState.PENDING.value, DeliveryState.FAILED.value)


def needs_attention(work: Work, *, limit: int) -> list[Attention]:
    """See `Ledger.needs_attention`."""
    queries = (
        (AttentionKind.CONFLICT, _instances(SET_ASIDE)),
        (AttentionKind.REFUSED, _refused()),
        (AttentionKind.GAVE_UP, _gave_up()),
        (AttentionKind.SUSPECT, _suspect()),
        (AttentionKind.ARCHIVE, _stage(Stage.ARCHIVE)),
        (AttentionKind.FRAMES, _stage(Stage.FRAMES)),
        (AttentionKind.BLOCKED, _blocked()),
        (AttentionKind.UNROUTED, _instances(UNROUTED)),
        (AttentionKind.UNVERIFIED, _unverified()),
    )
    # Of each kind so many: a hundred thousand refused instances hide nothing else.
    return [
        Attention(kind, *row)
        for kind, query in queries
        for row in work.connection.execute(query.limit(limit))
    ]


def unheard(work: Work) -> int:
    """See `Ledger.unheard`."""
    return int(work.connection.execute(_UNHEARD).scalar_one())


def _select(since: ColumnElement[int], *rest: ColumnElement[Any]) -> Select[Any]:
    """An instance, since when; then destination, transfer, status, reason, advice: the fields of Attention in order."""
    return select(
        instances.c.id,
        instances.c.spool_id,
        instances.c.sop_instance_uid,
        instances.c.study_instance_uid,
        since,
        *rest,
    )


def _nothing_more() -> tuple[ColumnElement[Any], ...]:
    return literal("").label("destination"), literal("").label("transfer_id"), null().label("status")


def _instances(condition: TextClause) -> Select[Any]:
    return (
        _select(instances.c.registered_at, *_nothing_more(), literal("").label("reason"))
        .where(condition)
        .order_by(instances.c.id)
    )


def _of_delivery() -> Select[Any]:
    return _select(
        deliveries.c.updated_at,
        deliveries.c.destination,
        deliveries.c.transfer_id,
        deliveries.c.status,
        deliveries.c.reason,
    ).join(deliveries, deliveries.c.instance_id == instances.c.id)


def _refused() -> Select[Any]:
    refused = (
        select(deliveries.c.instance_id, deliveries.c.destination, deliveries.c.job_id)
        .where(REFUSED)
        .subquery()
    )
    return (
        _of_delivery()
        .join(
            refused,
            (refused.c.instance_id == deliveries.c.instance_id)
            & (refused.c.destination == deliveries.c.destination)
            & (refused.c.job_id == deliveries.c.job_id),
        )
        .order_by(instances.c.id)
    )


def _gave_up() -> Select[Any]:
    own = case((deliveries.c.reason != "", deliveries.c.reason), else_=transfers.c.reason)
    return _of_transfers(select(transfers.c.id).where(NEEDS_ATTENTION), own)


def _blocked() -> Select[Any]:
    return _of_transfers(select(transfers.c.id).where(BLOCKED), transfers.c.reason)


def _of_transfers(some: Select[tuple[str]], reason: ColumnElement[str]) -> Select[Any]:
    """What those transfers have yet to deliver."""
    return (
        _select(
            deliveries.c.updated_at,
            deliveries.c.destination,
            deliveries.c.transfer_id,
            deliveries.c.status,
            reason,
            transfers.c.advice,
        )
        .join(deliveries, deliveries.c.instance_id == instances.c.id)
        .join(transfers, transfers.c.id == deliveries.c.transfer_id)
        .where(transfers.c.id.in_(some), deliveries.c.state.in_(_TO_DO))
        # Transfer by transfer: who asks for the first thousand of a hundred thousand does not wait for these to be sorted.
        .order_by(transfers.c.id, instances.c.id)
    )


def _unverified() -> Select[Any]:
    """What a destination does not confirm, and what it cannot be asked about until somebody mends something."""
    listed = verifications.c.state == VerificationState.NEEDS_ATTENTION.value
    blocked = verifications.c.due_at.is_not(None) & (verifications.c.advice != "")
    return (
        _select(
            deliveries.c.updated_at,
            deliveries.c.destination,
            deliveries.c.transfer_id,
            null().label("status"),
            verifications.c.reason,
            verifications.c.advice,
        )
        .join(deliveries, deliveries.c.instance_id == instances.c.id)
        .join(verifications, verifications.c.transfer_id == deliveries.c.transfer_id)
        .where(
            (listed & deliveries.c.verification.in_([Verified.MISSING.value, Verified.UNKNOWN.value]))
            | (blocked & (deliveries.c.verification == Verified.PENDING.value)),
            # The words of the partial indexes, so that a planner reads those and not the history.
            verifications.c.id.in_(
                union_all(
                    select(verifications.c.id).where(NEEDS_ATTENTION),
                    select(verifications.c.id).where(DUE, verifications.c.advice != ""),
                )
            ),
        )
        .order_by(instances.c.id)
    )


def _suspect() -> Select[Any]:
    failed = select(deliveries.c.instance_id).where(FAILED)
    return (
        _of_delivery()
        .join(transfers, transfers.c.id == deliveries.c.transfer_id)
        .where(
            deliveries.c.instance_id.in_(failed),
            deliveries.c.attempts >= SUSPECT_ATTEMPTS,
            WAS_UNDER_WAY,
            transfers.c.due_at.is_not(None),
        )
        .order_by(instances.c.id)
    )


def _stage(stage: Stage) -> Select[Any]:
    failed = select(stages.c.instance_id).where(NEEDS_ATTENTION, stages.c.stage == stage.value)
    return (
        _select(stages.c.updated_at, *_nothing_more(), stages.c.reason)
        .join(stages, stages.c.instance_id == instances.c.id)
        .where(stages.c.stage == stage.value, stages.c.instance_id.in_(failed))
        .order_by(instances.c.id)
    )
