"""Transfers under lease: claim, renew, record what came of each instance, finish.

A claim adds one to the fence. Everything that a runner writes names its fence, and is not written when another
runner has claimed since.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.sql.expression import bindparam

from dicomrelay.dicom.status import status_row
from dicomrelay.errors import LedgerError
from dicomrelay.ledger import (
    contacts,
    delivery_counts,
    events,
    evidence_chain,
    evidence_facts,
    stopped,
    verification_opening,
)
from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.events import Event, EventKind
from dicomrelay.ledger.evidence_chain import Fact, FactKind
from dicomrelay.ledger.schema import deliveries, instances, transfers
from dicomrelay.ledger.texts import storable
from dicomrelay.ledger.values import (
    DeliveryOutcome,
    DeliveryState,
    TransferState,
)


def renew(work: Work, transfer_id: str, fence: int, *, lease_ms: int) -> bool:
    """Prolong the lease; False when the fence is old."""
    result = work.connection.execute(
        update(transfers)
        .where(
            transfers.c.id == transfer_id,
            transfers.c.fence == fence,
            transfers.c.state == TransferState.RUNNING.value,
        )
        .values(due_at=work.now + lease_ms)
    )
    return result.rowcount == 1


def record_outcomes(work: Work, transfer_id: str, fence: int, outcomes: Sequence[DeliveryOutcome]) -> bool:
    """Write what came of each instance; see `Ledger.record_outcomes`."""
    _refuse_pending(outcomes)
    transfer = _locked(work, transfer_id)
    if not _holds(transfer, fence):
        _keep_late(work, transfer, outcomes)
        return False
    latest: dict[str, DeliveryOutcome] = {}
    for outcome in outcomes:
        if outcome.instance_id not in latest or not latest[outcome.instance_id].state.is_delivered:
            latest[outcome.instance_id] = outcome
    before = _members(work, transfer_id, sorted(latest))
    if len(before) != len(latest):
        raise LedgerError(f"Transfer {transfer_id} has not all the instances that outcomes were given for")
    open_ones = {key for key, row in before.items() if not DeliveryState(row.state).is_delivered}
    changed = [latest[key] for key in sorted(open_ones)]
    if changed:
        _write_outcomes(work, transfer_id, changed)
        delivered = [outcome.instance_id for outcome in changed if outcome.state.is_delivered]
        if not verification_opening.begin(work, transfer, delivered):
            delivery_counts.close(work, delivered)
        made = [outcome for outcome in outcomes if outcome.instance_id in open_ones]
        facts = evidence_facts.of_outcomes(FactKind.SENT, transfer, made, before, now=work.now)
        evidence_chain.append(work, list(facts))
    return True


def _refuse_pending(outcomes: Sequence[DeliveryOutcome]) -> None:
    for outcome in outcomes:
        if outcome.state is DeliveryState.PENDING:
            raise LedgerError(f"The outcome for instance {outcome.instance_id} is pending, which is none")


def _locked(work: Work, transfer_id: str) -> AnyRow:
    row = work.connection.execute(
        select(transfers).where(transfers.c.id == transfer_id).with_for_update(key_share=True)
    ).one_or_none()
    if row is None:
        raise LedgerError(f"There is no transfer {transfer_id}")
    return row


def _holds(transfer: AnyRow, fence: int) -> bool:
    return bool(transfer.fence == fence and transfer.state == TransferState.RUNNING.value)


def _members(work: Work, transfer_id: str, instance_ids: Sequence[str]) -> dict[str, AnyRow]:
    """Their deliveries in this transfer as they are, with what evidence says of an instance."""
    found: dict[str, AnyRow] = {}
    for part in chunks(instance_ids):
        rows = work.connection.execute(
            select(
                deliveries.c.instance_id,
                deliveries.c.state,
                deliveries.c.attempts,
                instances.c.sop_instance_uid,
                instances.c.transfer_syntax_uid,
                instances.c.digest,
            )
            .join(instances, instances.c.id == deliveries.c.instance_id)
            .where(deliveries.c.transfer_id == transfer_id, deliveries.c.instance_id.in_(part))
        )
        found.update((row.instance_id, row) for row in rows)
    return found


def _write_outcomes(work: Work, transfer_id: str, outcomes: Sequence[DeliveryOutcome]) -> None:
    work.connection.execute(
        update(deliveries)
        .where(
            deliveries.c.instance_id == bindparam("key"),
            deliveries.c.transfer_id == transfer_id,
        )
        .values(attempts=deliveries.c.attempts + 1, updated_at=work.now),
        [
            {
                "key": outcome.instance_id,
                "state": outcome.state.value,
                "status": outcome.status,
                "reason": storable(outcome.reason),
                "association_id": outcome.association_id,
                "sent_bytes": outcome.sent_bytes,
                "duration_ms": outcome.duration_ms,
                "sent_digest": outcome.sent.digest if outcome.sent else "",
                "sent_transfer_syntax_uid": outcome.sent.transfer_syntax_uid if outcome.sent else "",
            }
            for outcome in outcomes
        ],
    )


def _keep_late(work: Work, transfer: AnyRow, outcomes: Sequence[DeliveryOutcome]) -> None:
    """What a peer acknowledged to a runner that had lost its lease: a fact worth keeping, and no more where others are at it."""
    late = [outcome for outcome in outcomes if outcome.state.is_delivered]
    events.record(
        work,
        [
            Event(
                EventKind.LATE_OUTCOME,
                study_instance_uid=transfer.study_instance_uid,
                instance_id=outcome.instance_id,
                transfer_id=transfer.id,
                destination=transfer.destination,
                job_id=transfer.job_id,
                detail={"status": outcome.status, "association_id": outcome.association_id},
            )
            for outcome in late
        ],
    )
    known = _members(work, transfer.id, sorted({outcome.instance_id for outcome in late}))
    states = {key: DeliveryState(row.state) for key, row in known.items()}
    if counting := stopped.taken(transfer, states, late):
        stopped.count_again(work, states, counting)
        _write_outcomes(work, transfer.id, counting)
        verification_opening.begin_late(work, transfer, [outcome.instance_id for outcome in counting])
    counted = {outcome.instance_id for outcome in counting}
    others = [outcome for outcome in late if outcome.instance_id not in counted]
    facts = [
        fact
        for kind, some in ((FactKind.SENT, counting), (FactKind.SENT_LATE, others))
        for fact in evidence_facts.of_outcomes(kind, transfer, some, known, now=work.now)
    ]
    evidence_chain.append(work, facts)


def finish(
    work: Work,
    transfer_id: str,
    fence: int,
    *,
    retry_in_ms: int | None,
    reason: str,
    advice: str,
    words: str = "",
    delivered: int = 0,
) -> TransferState:
    """Give the lease back; see `Ledger.finish_transfer`."""
    if delivered:
        contacts.delivered(work, _destination_of(work, transfer_id), whole=not reason, also=transfer_id)
    transfer = _locked(work, transfer_id)
    if not _holds(transfer, fence):
        return TransferState(transfer.state)
    counts = {
        DeliveryState(row.state): row.instances
        for row in work.connection.execute(
            select(deliveries.c.state, func.count().label("instances"))
            .where(deliveries.c.transfer_id == transfer_id)
            .group_by(deliveries.c.state)
        )
    }
    to_do = counts.get(DeliveryState.PENDING, 0) + counts.get(DeliveryState.FAILED, 0)
    refused = counts.get(DeliveryState.REFUSED, 0)
    if refused and not to_do and not reason:
        reason, advice = _of_refusals(work, transfer_id, refused)
    due_at: int | None = None
    if to_do and retry_in_ms is not None:
        state, due_at = TransferState.WAITING, work.now + retry_in_ms
    else:
        state = TransferState.NEEDS_ATTENTION if to_do or refused else TransferState.DONE
    work.connection.execute(
        update(transfers)
        .where(transfers.c.id == transfer_id)
        .values(
            state=state.value,
            due_at=due_at,
            owner="",
            reason=storable(reason),
            advice="" if state is TransferState.DONE else storable(advice),
            finished_at=None if due_at is not None else work.now,
        )
    )
    if state is not TransferState.WAITING:
        kind = EventKind.TRANSFER_DONE if state is TransferState.DONE else EventKind.TRANSFER_NEEDS_ATTENTION
        events.record(
            work, [_about(transfer, kind, {"reason": storable(reason), "to_do": to_do, "refused": refused})]
        )
    if state is not TransferState.DONE:
        evidence_chain.append(
            work, [_attempt_ended(transfer, state, to_do=to_do, refused=refused, words=words)]
        )
    return state


def _of_refusals(work: Work, transfer_id: str, refused: int) -> tuple[str, str]:
    """Reason and advice of a transfer whose every instance was answered, some by a refusal: those of the most frequent."""
    row = work.connection.execute(
        select(deliveries.c.status, deliveries.c.reason)
        .where(deliveries.c.transfer_id == transfer_id, deliveries.c.state == DeliveryState.REFUSED.value)
        .group_by(deliveries.c.status, deliveries.c.reason)
        .order_by(func.count().desc(), deliveries.c.reason)
        .limit(1)
    ).one()
    if row.status is None:
        return f"{refused} refused: {row.reason or 'no reason given'}", ""
    row_of_status = status_row(row.status)
    words = (row.reason or row_of_status.name).removesuffix(f" 0x{row.status:04X}")  # it stands before them
    return f"{refused} refused: {row.status:04X} {words}", row_of_status.advice


def _destination_of(work: Work, transfer_id: str) -> str:
    """Read before anything is locked: destinations are locked first."""
    query = select(transfers.c.destination).where(transfers.c.id == transfer_id)
    return str(work.connection.execute(query).scalar_one())


def reopen(work: Work, transfer_id: str) -> bool:
    """Make a transfer that needs attention ready again; False when it does not."""
    transfer = _locked(work, transfer_id)
    if transfer.state != TransferState.NEEDS_ATTENTION.value:
        return False
    work.connection.execute(
        update(deliveries)
        .where(
            deliveries.c.transfer_id == transfer_id,
            deliveries.c.state == DeliveryState.REFUSED.value,
        )
        .values(state=DeliveryState.PENDING.value, updated_at=work.now)
    )
    work.connection.execute(
        update(transfers)
        .where(transfers.c.id == transfer_id)
        .values(
            state=TransferState.READY.value,
            due_at=work.now,
            attempt=0,
            reason="",
            advice="",
            finished_at=None,
        )
    )
    events.record(work, [_about(transfer, EventKind.TRANSFER_REOPENED, {})])
    evidence_chain.append(work, [_fact(transfer, FactKind.REOPENED, {"attempt": transfer.attempt})])
    return True


def _attempt_ended(transfer: AnyRow, state: TransferState, *, to_do: int, refused: int, words: str) -> Fact:
    """An attempt that left something: also where no association came about, and so no instance has an outcome."""
    return _fact(
        transfer,
        FactKind.ATTEMPT_ENDED,
        {
            "state": state.value,
            "attempt": transfer.attempt,
            "to_do": to_do,
            "refused": refused,
            "words": storable(words),
        },
    )


def _fact(transfer: AnyRow, kind: FactKind, detail: dict[str, str | int | None]) -> Fact:
    return Fact(
        kind,
        transfer.study_instance_uid,
        destination=transfer.destination,
        job_id=transfer.job_id,
        transfer_id=transfer.id,
        detail=detail,
    )


def _about(transfer: AnyRow, kind: EventKind, detail: dict[str, str | int | None]) -> Event:
    return Event(
        kind,
        study_instance_uid=transfer.study_instance_uid,
        transfer_id=transfer.id,
        destination=transfer.destination,
        job_id=transfer.job_id,
        detail=detail,
    )
