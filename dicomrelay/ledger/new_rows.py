"""Deliveries, transfers and stages as they come into being, whoever makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import update

from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.ids import new_id
from dicomrelay.ledger.schema import deliveries
from dicomrelay.ledger.values import DeliveryState, Priority, Stage, StageState, TransferState
from dicomrelay.ledger.values_decisions import PLAIN, Terms


def delivery_row(
    instance_id: str,
    study_instance_uid: str,
    *,
    destination: str,
    job_id: str,
    priority: Priority,
    size: int,
    now: int,
    terms: Terms = PLAIN,
) -> dict[str, Any]:
    """A delivery that nobody has tried, without a transfer; `size` in bytes, `terms` as a rule set them."""
    return {
        "instance_id": instance_id,
        "destination": destination,
        "job_id": job_id,
        "study_instance_uid": study_instance_uid,
        "priority": priority.value,
        "bytes": size,
        "transfer_id": None,
        "state": DeliveryState.PENDING.value,
        "attempts": 0,
        "status": None,
        "reason": "",
        "association_id": "",
        "sent_bytes": 0,
        "duration_ms": 0,
        "created_at": now,
        "updated_at": now,
        "edits": terms.edits,
        "not_before": terms.not_before_ms,
    }


def transfer_row(batch: Sequence[AnyRow], now: int) -> dict[str, Any]:
    """A transfer of deliveries of one study, destination, priority and job; due at once, or when the last of them may go."""
    first = batch[0]
    return {
        "id": new_id(),
        "study_instance_uid": first.study_instance_uid,
        "destination": first.destination,
        "priority": first.priority,
        "job_id": first.job_id,
        "state": TransferState.READY.value,
        "due_at": max(now, *(row.not_before for row in batch)),
        "fence": 0,
        "owner": "",
        "attempt": 0,
        "instances": len(batch),
        "bytes": sum(row.bytes for row in batch),
        "reason": "",
        "created_at": now,
        "finished_at": None,
    }


def assign(work: Work, transfer_id: str, batch: Sequence[AnyRow]) -> None:
    """Put the deliveries of `transfer_row` into their transfer."""
    for part in chunks(batch):
        work.connection.execute(
            update(deliveries)
            .where(
                deliveries.c.instance_id.in_([row.instance_id for row in part]),
                deliveries.c.destination == part[0].destination,
                deliveries.c.job_id == part[0].job_id,
            )
            .values(transfer_id=transfer_id)
        )


def stage_row(instance_id: str, stage: Stage, host: str, now: int) -> dict[str, Any]:
    """A stage to be done at once, by the workers of `host` ("" for any)."""
    return {
        "instance_id": instance_id,
        "stage": stage.value,
        "host": host,
        "state": StageState.PENDING.value,
        "due_at": now,
        "claim": "",
        "owner": "",
        "attempts": 0,
        "reason": "",
        "updated_at": now,
    }
