"""What happened and when, for `trace` and the monitor. UIDs, states, and reasons in words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy import insert

from dicomrelay.ledger.engine import Work
from dicomrelay.ledger.schema import events


class EventKind(StrEnum):
    """Kinds of events."""

    RECEIVED = "received"
    CONFLICT = "conflict"
    TRANSFER_MADE = "transfer_made"
    TRANSFER_CLAIMED = "transfer_claimed"
    TRANSFER_DONE = "transfer_done"
    TRANSFER_NEEDS_ATTENTION = "transfer_needs_attention"
    TRANSFER_REOPENED = "transfer_reopened"
    TRANSFER_HANDED_BACK = "transfer_handed_back"
    TRANSFER_HELD = "transfer_held"
    TRANSFER_RELEASED = "transfer_released"
    TRANSFER_CANCELLED = "transfer_cancelled"
    DESTINATION_HELD = "destination_held"
    DESTINATION_RELEASED = "destination_released"
    BREAKER_OPENED = "breaker_opened"
    BREAKER_CLOSED = "breaker_closed"
    REPLAYED = "replayed"
    LATE_OUTCOME = "late_outcome"
    NOT_VERIFIED = "not_verified"
    STAGE_NEEDS_ATTENTION = "stage_needs_attention"
    REPAIRED = "repaired"
    REBUILT = "rebuilt"


@dataclass(frozen=True, slots=True)
class Event:
    """One event; what it is not about is ""."""

    kind: EventKind
    study_instance_uid: str = ""
    instance_id: str = ""
    transfer_id: str = ""
    destination: str = ""
    job_id: str = ""
    detail: Mapping[str, str | int | None] = field(default_factory=dict)


def record(work: Work, happened: Sequence[Event]) -> None:
    """Write events, in this transaction and at its time."""
    if not happened:
        return
    rows = [
        {
            "at": work.now,
            "kind": event.kind.value,
            "study_instance_uid": event.study_instance_uid,
            "instance_id": event.instance_id,
            "transfer_id": event.transfer_id,
            "destination": event.destination,
            "job_id": event.job_id,
            "detail": json.dumps(event.detail, sort_keys=True),
        }
        for event in happened
    ]
    work.connection.execute(insert(events), rows)
