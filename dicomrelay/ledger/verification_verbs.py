"""What a person does about what could not be verified: try again, or take the destination's word."""

from __future__ import annotations

from sqlalchemy import select, update

from dicomrelay.ledger.delivery_counts import close
from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.evidence_chain import FactKind
from dicomrelay.ledger.schema import (
    DUE,
    NEEDS_ATTENTION,
    destinations,
    transfers,
    verifications,
)
from dicomrelay.ledger.subjects import of_transfers
from dicomrelay.ledger.values import TransferState
from dicomrelay.ledger.values_operations import Subject
from dicomrelay.ledger.values_verification import Finding, Found, VerificationState, Verified
from dicomrelay.ledger.verification_changes import fail, make_ready, mark, tell
from dicomrelay.ledger.verification_claims import references
from dicomrelay.ledger.verification_opening import OPEN, latest, open_one


def retry_of(work: Work, subject: Subject, destination: str) -> int:
    """The same for every transfer of a subject, and what waits to be asked is asked now; how many instances that were."""
    waits = verifications.c.due_at.is_not(None) & (verifications.c.advice != "")
    listed = verifications.c.state == VerificationState.NEEDS_ATTENTION.value
    query = (
        select(transfers)
        .where(
            transfers.c.id.in_(select(verifications.c.transfer_id).where(NEEDS_ATTENTION))
            | transfers.c.id.in_(
                select(verifications.c.transfer_id).where(DUE, verifications.c.advice != "")
            ),
            *of_transfers(subject),
        )
        .order_by(transfers.c.id)
        .with_for_update(key_share=True)
    )
    if destination:
        query = query.where(transfers.c.destination == destination)
    mine = work.connection.execute(query).all()
    for part in chunks([row.id for row in mine]):
        work.connection.execute(
            update(verifications)
            .where(verifications.c.transfer_id.in_(part), waits, ~listed)
            .values(due_at=work.now, attempt=0)
        )
    return sum(retry(work, row) for row in mine)


def retry(work: Work, transfer: AnyRow) -> int:
    """Send again what is missing, ask again about the rest; how many instances that were. The transfer is locked."""
    missing = references(work, transfer.id, [Verified.MISSING])
    unknown = references(work, transfer.id, [Verified.UNKNOWN])
    _end_attention(work, transfer.id)
    to_ask = [*missing, *unknown]
    if missing and transfer.state != TransferState.CANCELLED.value:
        again = dict.fromkeys(missing, Found(Finding.GONE, "sent again on somebody's word"))
        fail(work, transfer.id, again)
        make_ready(work, transfer)
        tell(work, transfer, FactKind.REOPENED, again, None)
        to_ask = [*unknown]
    if to_ask:
        mark(work, transfer.id, [each.instance_id for each in to_ask], Verified.PENDING)
        last = latest(work, transfer.id)
        if last is None or last.state not in OPEN:
            open_one(work, transfer, method=_method(work, transfer))
    return len(missing) + len(unknown)


def take_its_word(work: Work, transfer: AnyRow) -> int:
    """Count as delivered what it acknowledged and did not confirm; how many instances that were. The transfer is locked."""
    doubtful = references(work, transfer.id, [Verified.PENDING, Verified.MISSING, Verified.UNKNOWN])
    ids = [each.instance_id for each in doubtful]
    mark(work, transfer.id, ids, Verified.NOT_ASKED)
    close(work, ids)
    word = Found(Finding.THERE, "taken as delivered without verification")
    tell(work, transfer, FactKind.CLOSED, dict.fromkeys(doubtful, word), None)
    work.connection.execute(
        update(verifications)
        .where(
            verifications.c.transfer_id == transfer.id,
            verifications.c.state.in_([*OPEN, VerificationState.NEEDS_ATTENTION.value]),
        )
        .values(
            state=VerificationState.CANCELLED.value,
            due_at=None,
            owner="",
            fence=verifications.c.fence + 1,
            finished_at=work.now,
        )
    )
    return len(ids)


def _end_attention(work: Work, transfer_id: str) -> None:
    work.connection.execute(
        update(verifications)
        .where(
            verifications.c.transfer_id == transfer_id,
            verifications.c.state == VerificationState.NEEDS_ATTENTION.value,
        )
        .values(state=VerificationState.SUPERSEDED.value)
    )


def _method(work: Work, transfer: AnyRow) -> str:
    query = select(destinations.c.verification).where(destinations.c.name == transfer.destination)
    return str(work.connection.execute(query).scalar_one())
