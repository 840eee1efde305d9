"""What will not get better by itself."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, TextClause, case, literal, null, select

from dicomrelay.ledger.engine import Work
from dicomrelay.ledger.schema import (
    NEEDS_ATTENTION,
    REFUSED,
    SET_ASIDE,
    UNROUTED,
    deliveries,
    instances,
    stages,
    transfers,
)
from dicomrelay.ledger.values import Attention, AttentionKind, DeliveryState, Stage


def needs_attention(work: Work, *, limit: int) -> list[Attention]:
    """See `Ledger.needs_attention`."""
    queries = (
        (AttentionKind.CONFLICT, _instances(SET_ASIDE)),
        (AttentionKind.REFUSED, _refused()),
        (AttentionKind.GAVE_UP, _gave_up()),
        (AttentionKind.ARCHIVE, _stage(Stage.ARCHIVE)),
        (AttentionKind.FRAMES, _stage(Stage.FRAMES)),
        (AttentionKind.UNROUTED, _instances(UNROUTED)),
    )
    found: list[Attention] = []
    for kind, query in queries:
        rows = work.connection.execute(query.limit(limit - len(found)))
        found.extend(Attention(kind, *row) for row in rows)
        if len(found) >= limit:
            break
    return found


def _select(since: ColumnElement[int], *rest: ColumnElement[Any]) -> Select[Any]:
    """An instance, since when, then destination, transfer, status and reason: the fields of Attention in order."""
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
    given_up = select(transfers.c.id).where(NEEDS_ATTENTION)
    to_do = (DeliveryState.PENDING.value, DeliveryState.FAILED.value)
    return (
        _select(
            deliveries.c.updated_at,
            deliveries.c.destination,
            deliveries.c.transfer_id,
            deliveries.c.status,
            case((deliveries.c.reason != "", deliveries.c.reason), else_=transfers.c.reason),
        )
        .join(deliveries, deliveries.c.instance_id == instances.c.id)
        .join(transfers, transfers.c.id == deliveries.c.transfer_id)
        .where(deliveries.c.transfer_id.in_(given_up), deliveries.c.state.in_(to_do))
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
