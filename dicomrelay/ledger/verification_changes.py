"""What answers change on deliveries, transfers and instances, and what evidence says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import update
from sqlalchemy.sql.expression import bindparam

from dicomrelay.ledger import evidence_chain
from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.evidence_chain import Fact, FactKind
from dicomrelay.ledger.schema import deliveries, transfers
from dicomrelay.ledger.texts import storable
from dicomrelay.ledger.values import DeliveryState, TransferState
from dicomrelay.ledger.values_verification import Found, Reference, Verified

_AT_REST: Final = (
    TransferState.DONE.value,
    TransferState.NEEDS_ATTENTION.value,
    TransferState.WAITING.value,
)


def fail(work: Work, transfer_id: str, gone: Mapping[Reference, Found]) -> None:
    """Back to what another attempt sends."""
    work.connection.execute(
        update(deliveries)
        .where(deliveries.c.instance_id == bindparam("key"), deliveries.c.transfer_id == transfer_id)
        .values(
            state=DeliveryState.FAILED.value,
            # Not as if an association had died over it.
            association_id="",
            verification=Verified.NOT_ASKED.value,
            updated_at=work.now,
        ),
        [
            {"key": each.instance_id, "reason": storable(f"missing at the destination: {what.words}")}
            for each, what in gone.items()
        ],
    )


def make_ready(work: Work, transfer: AnyRow) -> None:
    """Due now, with all its attempts; one that is held or runs is left as it is, and has more to do."""
    if transfer.state not in _AT_REST:
        return
    work.connection.execute(
        update(transfers)
        .where(transfers.c.id == transfer.id)
        .values(
            state=TransferState.READY.value,
            due_at=work.now,
            attempt=0,
            reason="",
            advice="",
            finished_at=None,
        )
    )


def mark(
    work: Work, transfer_id: str, instance_ids: Sequence[str], verified: Verified, **values: object
) -> None:
    """What is known of deliveries of a transfer."""
    for part in chunks(instance_ids):
        work.connection.execute(
            update(deliveries)
            .where(deliveries.c.transfer_id == transfer_id, deliveries.c.instance_id.in_(part))
            .values(verification=verified.value, **values)
        )


def tell(
    work: Work,
    transfer: AnyRow,
    kind: FactKind,
    found: Mapping[Reference, Found],
    verification: AnyRow | None,
) -> None:
    """One fact of each, by what the verification asked; None where nobody was asked."""
    evidence_chain.append(
        work,
        [
            Fact(
                kind,
                transfer.study_instance_uid,
                instance_id=each.instance_id,
                destination=transfer.destination,
                job_id=transfer.job_id,
                transfer_id=transfer.id,
                detail=_detail(each, what, verification),
            )
            for each, what in found.items()
        ],
    )


def _detail(each: Reference, what: Found, verification: AnyRow | None) -> dict[str, str | int | None]:
    detail: dict[str, str | int | None] = {"sop_instance_uid": each.sop_instance_uid}
    if verification is not None:
        detail["method"] = verification.method
        if verification.transaction_uid:
            detail["transaction_uid"] = verification.transaction_uid
    if what.words:
        detail["words"] = what.words
    if what.failure_reason is not None:
        detail["failure_reason"] = what.failure_reason
    return detail
