"""How verifications come to be: with what a transfer delivers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import insert, select, update

from dicomrelay.ledger import delivery_counts
from dicomrelay.ledger.engine import AnyRow, Work, chunks
from dicomrelay.ledger.ids import new_id
from dicomrelay.ledger.schema import deliveries, destinations, verifications
from dicomrelay.ledger.values_verification import VerificationState, Verified

# After the last answer of a transfer: an archive files what it was sent a moment later.
FIRST_LOOK_MS: Final = 2_000
OPEN: Final = tuple(state.value for state in VerificationState if state.is_open)


def begin(work: Work, transfer: AnyRow, delivered: Sequence[str]) -> bool:
    """Let what a transfer has just delivered be verified, where its destination is; the instances stay open then.

    Called with the transfer locked, in the transaction that records the answers.
    """
    if not delivered:
        return False
    method = work.connection.execute(
        select(destinations.c.verification).where(destinations.c.name == transfer.destination)
    ).scalar_one()
    if method == "none":
        return False
    for part in chunks(delivered):
        work.connection.execute(
            update(deliveries)
            .where(deliveries.c.transfer_id == transfer.id, deliveries.c.instance_id.in_(part))
            .values(verification=Verified.PENDING.value, verified_at=None)
        )
    last = latest(work, transfer.id)
    if last is None or last.state not in OPEN:
        open_one(work, transfer, method=method, resends=_resends(last))
    return True


def begin_late(work: Work, transfer: AnyRow, delivered: Sequence[str]) -> None:
    """The same for answers to a runner that was stopped, whose instances were closed already."""
    if begin(work, transfer, delivered):
        delivery_counts.change(work, sorted(set(delivered)), open_by=1)


def latest(work: Work, transfer_id: str) -> AnyRow | None:
    """The open verification of a transfer, else the one that was made last."""
    return work.connection.execute(
        select(verifications)
        .where(verifications.c.transfer_id == transfer_id)
        .order_by(
            verifications.c.finished_at.is_not(None),
            verifications.c.created_at.desc(),
            verifications.c.id.desc(),
        )
        .limit(1)
        .with_for_update(key_share=True)
    ).one_or_none()


def _resends(last: AnyRow | None) -> int:
    """They are counted as long as one follows from another."""
    return last.resends if last is not None and last.state == VerificationState.MISSING.value else 0


def open_one(
    work: Work, transfer: AnyRow, *, method: str, resends: int = 0, doubts: int = 0, attempt: int = 0
) -> str:
    """Make a verification; its id."""
    verification_id = new_id()
    work.connection.execute(
        insert(verifications),
        {
            "id": verification_id,
            "transfer_id": transfer.id,
            "destination": transfer.destination,
            "method": method,
            "state": VerificationState.READY.value,
            "due_at": work.now + FIRST_LOOK_MS,
            "fence": 0,
            "owner": "",
            "attempt": attempt,
            "doubts": doubts,
            "resends": resends,
            "transaction_uid": "",
            "reason": "",
            "advice": "",
            "created_at": work.now,
            "asked_at": None,
            "finished_at": None,
        },
    )
    return verification_id
