"""Deliveries counted by study and destination, without reading each: a transfer knows how many it holds.

What is done was delivered, what was never claimed is pending; only of the rest are the deliveries looked at. So a
backlog of any depth costs what its transfers cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, TextClause, and_, case, func, literal, not_, or_, select

from dicomrelay.ledger.engine import Work
from dicomrelay.ledger.schema import OF_A_JOB, UNGROUPED, WITH_WARNING, deliveries, transfers
from dicomrelay.ledger.values import DeliveryState, DestinationSummary, TransferState

COUNTS: Final = tuple(field.name for field in fields(DestinationSummary) if field.name != "destination")
_Sums = dict[str, dict[str, dict[str, int]]]

DONE: Final = transfers.c.state == TransferState.DONE.value
NEVER_RAN: Final = and_(
    transfers.c.fence == 0,
    transfers.c.state.in_((TransferState.READY.value, TransferState.HELD.value)),
)


def by_study(
    work: Work, study_uids: Sequence[str], *, job_id: str | None
) -> dict[str, tuple[DestinationSummary, ...]]:
    """The destinations of each study by name, of all its deliveries or of one job's."""
    sums: _Sums = {}
    for query in (
        _whole_transfers(study_uids, job_id),
        _looked_at(study_uids, job_id),
        _ungrouped(study_uids, job_id),
    ):
        for row in work.connection.execute(query):
            counts = _of(sums, row.study_instance_uid, row.destination)
            _add(counts, DeliveryState(row.state), row.transfer_state, int(row.number), int(row.bytes))
    for row in work.connection.execute(_warnings(study_uids, job_id)):
        _of(sums, row.study_instance_uid, row.destination)["warnings"] += row.number
    return {
        uid: tuple(DestinationSummary(name, **counts) for name, counts in sorted(by_name.items()))
        for uid, by_name in sums.items()
    }


def _of(sums: _Sums, uid: str, destination: str) -> dict[str, int]:
    return sums.setdefault(uid, {}).setdefault(destination, dict.fromkeys(COUNTS, 0))


def _whole_transfers(study_uids: Sequence[str], job_id: str | None) -> Select[Any]:
    """Transfers whose deliveries are all alike, and which of the two that is."""
    return (
        select(
            transfers.c.study_instance_uid,
            transfers.c.destination,
            case((DONE, DeliveryState.DELIVERED.value), else_=DeliveryState.PENDING.value).label("state"),
            transfers.c.state.label("transfer_state"),
            func.sum(transfers.c.instances).label("number"),
            func.sum(transfers.c.bytes).label("bytes"),
        )
        .where(*_of_transfers(study_uids, job_id), or_(DONE, NEVER_RAN))
        .group_by(transfers.c.study_instance_uid, transfers.c.destination, transfers.c.state)
    )


def _looked_at(study_uids: Sequence[str], job_id: str | None) -> Select[Any]:
    """What came of each delivery of the other transfers."""
    columns = transfers.c
    some = (
        select(columns.id, columns.study_instance_uid, columns.destination, columns.state)
        .where(*_of_transfers(study_uids, job_id), not_(or_(DONE, NEVER_RAN)))
        .subquery()
    )
    return (
        select(
            some.c.study_instance_uid,
            some.c.destination,
            deliveries.c.state,
            some.c.state.label("transfer_state"),
            func.count().label("number"),
            func.sum(deliveries.c.bytes).label("bytes"),
        )
        .join(deliveries, deliveries.c.transfer_id == some.c.id)
        .group_by(some.c.study_instance_uid, some.c.destination, deliveries.c.state, some.c.state)
    )


def _ungrouped(study_uids: Sequence[str], job_id: str | None) -> Select[Any]:
    """What has no transfer yet."""
    query = (
        select(
            deliveries.c.study_instance_uid,
            deliveries.c.destination,
            deliveries.c.state,
            literal("").label("transfer_state"),
            func.count().label("number"),
            func.sum(deliveries.c.bytes).label("bytes"),
        )
        .where(UNGROUPED, deliveries.c.study_instance_uid.in_(study_uids))
        .group_by(deliveries.c.study_instance_uid, deliveries.c.destination, deliveries.c.state)
    )
    return query if job_id is None else query.where(deliveries.c.job_id == job_id)


def _warnings(study_uids: Sequence[str], job_id: str | None) -> Select[Any]:
    """Of what is done, the deliveries that a peer remarked upon."""
    columns = deliveries.c
    mine = select(columns.study_instance_uid, columns.destination, columns.transfer_id).where(
        WITH_WARNING, columns.study_instance_uid.in_(study_uids)
    )
    warned = (mine if job_id is None else mine.where(columns.job_id == job_id)).subquery()
    return (
        select(warned.c.study_instance_uid, warned.c.destination, func.count().label("number"))
        .join(transfers, transfers.c.id == warned.c.transfer_id)
        .where(DONE)
        .group_by(warned.c.study_instance_uid, warned.c.destination)
    )


def _of_transfers(study_uids: Sequence[str], job_id: str | None) -> list[ColumnElement[bool] | TextClause]:
    if job_id is None:
        return [transfers.c.study_instance_uid.in_(study_uids)]
    return [transfers.c.job_id == job_id, OF_A_JOB, transfers.c.study_instance_uid.in_(study_uids)]


def _add(counts: dict[str, int], state: DeliveryState, transfer_state: str, number: int, size: int) -> None:
    counts["bytes"] += size
    counts[stands_as(state, transfer_state)] += number
    if state.is_delivered:
        counts["delivered_bytes"] += size
        if state is DeliveryState.WARNING:
            counts["warnings"] += number


def stands_as(state: DeliveryState, transfer_state: str) -> str:
    """As which field of `DestinationSummary` a delivery counts, by its state and that of its transfer."""
    if state.is_delivered:
        return "delivered"
    if state.is_final:
        return state.value  # refused, cancelled
    if transfer_state == TransferState.NEEDS_ATTENTION.value:
        return "gave_up"
    return "held" if transfer_state == TransferState.HELD.value else state.value  # pending, failed
