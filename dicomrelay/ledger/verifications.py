"""The room of verifications in the ledger: one transaction a call (docs/design/verification.md)."""

from __future__ import annotations

from sqlalchemy import case, func, select, union_all

from dicomrelay.ledger import verification_claims, verification_results, verification_verbs
from dicomrelay.ledger.engine import AnyRow, Database, Work
from dicomrelay.ledger.schema import DUE, NEEDS_ATTENTION, destinations, transfers, verifications
from dicomrelay.ledger.values_verification import (
    ClaimedVerification,
    DueVerification,
    Findings,
    KnownTransaction,
    Settled,
    Unverified,
    VerificationRules,
    VerificationState,
)
from dicomrelay.ledger.verification_claims import locked_transfer

_CURRENT = (VerificationState.READY, VerificationState.ASKING, VerificationState.ASKED)


class Verifications:
    """Verifications, asked and answered.

    Every method raises ServiceUnavailable when the database does not answer; nothing of its call is then written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, *, limit: int) -> tuple[DueVerification, ...]:
        """What is to be asked now: one a destination, none where one is asked, and with an open breaker at its probe only."""
        with self._database.read() as work:
            return verification_claims.due(work, limit=limit)

    def claim(self, verification_id: str, *, owner: str, lease_ms: int) -> ClaimedVerification | None:
        """Take a verification for `lease_ms`; for storage commitment with a Transaction UID that is durable by then.

        None when it is leased, over, not due, unknown, another one of its destination is asked, its transfer runs, or the
        destination's breaker lets nobody through. At the probe of an open breaker it is the trial. One whose report did not
        come in time is replaced: the id of what is claimed may be another.
        """
        return self._database.transact(
            lambda work: verification_claims.claim(work, verification_id, owner=owner, lease_ms=lease_ms)
        )

    def renew(self, verification_id: str, fence: int, *, lease_ms: int) -> bool:
        """Hold the lease for `lease_ms` from now. False when it is ours no more: it was answered, or taken over."""
        return self._database.transact(
            lambda work: verification_claims.renew(work, verification_id, fence, lease_ms=lease_ms)
        )

    def await_report(self, verification_id: str, fence: int, *, within_ms: int) -> bool:
        """The request was taken; ask again when no report has come within that time. False as `renew`."""
        return self._database.transact(
            lambda work: verification_claims.await_report(work, verification_id, fence, within_ms=within_ms)
        )

    def hand_back(
        self,
        verification_id: str,
        fence: int,
        *,
        retry_in_ms: int | None,
        reason: str,
        advice: str = "",
        counted: bool = True,
    ) -> bool:
        """It could not be asked. False as `renew`.

        Parameters
        ----------
        retry_in_ms : int, optional
            When to try again, and no sooner with what else is due for the destination; None: somebody has to look.
        counted : bool
            Whether it was an attempt; the trial of an open breaker that found nobody is none.
        """
        return self._database.transact(
            lambda work: verification_claims.hand_back(
                work,
                verification_id,
                fence,
                retry_in_ms=retry_in_ms,
                reason=reason,
                advice=advice,
                counted=counted,
            )
        )

    def answer(
        self, verification_id: str, fence: int, findings: Findings, rules: VerificationRules
    ) -> Settled | None:
        """Write what a C-FIND found, by SOP Instance UID; what is left out is in doubt. None when the lease is not ours."""

        def settle(work: Work) -> Settled | None:
            found = _locked(work, verification_id)
            if found is None:
                return None
            transfer, row = found
            if row.fence != fence or row.state != VerificationState.ASKING.value:
                return None
            return verification_results.settle(work, transfer, row, findings, rules)

        return self._database.transact(settle)

    def report(
        self, transaction_uid: str, ae_title: str, findings: Findings, rules: VerificationRules
    ) -> Settled | None:
        """Write what a report says, by SOP Instance UID; what is left out is in doubt.

        A report that comes again changes nothing; of one that comes late, what it says is there is believed, and of what was
        given up as unknown too.

        Parameters
        ----------
        ae_title : str
            Who says so; it must be who was asked.

        Returns
        -------
        Settled or None
            None when there is no such transaction with that destination.
        """

        def settle(work: Work) -> Settled | None:
            known = _of_transaction(work, transaction_uid)
            found = None if known is None or known.ae_title != ae_title else _locked(work, known.id)
            if found is None:
                return None
            transfer, row = found
            is_current = VerificationState(row.state) in _CURRENT
            return verification_results.settle(
                work, transfer, row, findings, rules, only_there=not is_current
            )

        return self._database.transact(settle)

    def known(self, transaction_uid: str) -> KnownTransaction | None:
        """A transaction by its UID; None when it is none of ours."""
        with self._database.read() as work:
            known = _of_transaction(work, transaction_uid)
            return None if known is None else KnownTransaction(known.destination, known.doubts)

    def is_asking(self, verification_id: str, fence: int) -> bool:
        """Whether it is still as it was claimed: no report was taken in meanwhile."""
        query = select(verifications.c.id).where(
            verifications.c.id == verification_id,
            verifications.c.fence == fence,
            verifications.c.state == VerificationState.ASKING.value,
        )
        with self._database.read() as work:
            return work.connection.execute(query).one_or_none() is not None

    def retry(self, transfer_id: str) -> int:
        """Send again what is missing, ask again about the rest; how many instances that were.

        Raises
        ------
        LedgerError
            No such transfer.
        """
        return self._database.transact(
            lambda work: verification_verbs.retry(work, locked_transfer(work, transfer_id))
        )

    def take_its_word(self, transfer_id: str) -> int:
        """Count as delivered what the destination acknowledged and did not confirm; how many instances that were.

        Raises
        ------
        LedgerError
            No such transfer.
        """
        return self._database.transact(
            lambda work: verification_verbs.take_its_word(work, locked_transfer(work, transfer_id))
        )

    def unverified(self) -> tuple[Unverified, ...]:
        """Verifications that are not over, by destination."""
        fields = verifications.c.destination, verifications.c.state, verifications.c.created_at
        # Each half in the words of its index: of an OR a planner makes a walk through all that ever was.
        columns = union_all(select(*fields).where(DUE), select(*fields).where(NEEDS_ATTENTION)).subquery().c
        asked = columns.state == VerificationState.ASKED.value
        listed = columns.state == VerificationState.NEEDS_ATTENTION.value
        query = (
            select(
                columns.destination,
                func.sum(case((asked | listed, 0), else_=1)),
                func.sum(case((asked, 1), else_=0)),
                func.sum(case((listed, 1), else_=0)),
                func.min(columns.created_at),
            )
            .group_by(columns.destination)
            .order_by(columns.destination)
        )
        with self._database.read() as work:
            return tuple(
                Unverified(name, int(ready), int(waits), int(lost), oldest)
                for name, ready, waits, lost, oldest in work.connection.execute(query)
            )


def _of_transaction(work: Work, transaction_uid: str) -> AnyRow | None:
    if not transaction_uid:
        return None
    return work.connection.execute(
        select(
            verifications.c.id, verifications.c.destination, verifications.c.doubts, destinations.c.ae_title
        )
        .join(destinations, destinations.c.name == verifications.c.destination)
        .where(verifications.c.transaction_uid == transaction_uid, verifications.c.transaction_uid != "")
    ).one_or_none()


def _locked(work: Work, verification_id: str) -> tuple[AnyRow, AnyRow] | None:
    """A verification with its transfer, locked in that order."""
    transfer_id = work.connection.execute(
        select(verifications.c.transfer_id).where(verifications.c.id == verification_id)
    ).scalar_one_or_none()
    if transfer_id is None:
        return None
    transfer = work.connection.execute(
        select(transfers).where(transfers.c.id == transfer_id).with_for_update(key_share=True)
    ).one()
    row = work.connection.execute(
        select(verifications).where(verifications.c.id == verification_id).with_for_update(key_share=True)
    ).one()
    return transfer, row
