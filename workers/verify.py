"""Asks one destination about one transfer: whether it has what it acknowledged (docs/design/verification.md)."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from dicomrelay.dicom.commitment import ReportStatus
from dicomrelay.dicom.status import Status, is_warning, status_name
from dicomrelay.dimse.commitment import ReportRefused, read_report
from dicomrelay.dimse.messages import NEventReportRequest
from dicomrelay.errors import AssociationError, NoAcceptedContext, RelayError
from dicomrelay.ledger.breaker import Contact
from dicomrelay.ledger.values_verification import (
    ClaimedVerification,
    Findings,
    Settled,
    VerificationRules,
)
from dicomrelay.log import get_logger
from dicomrelay.net.commitment import COMMITMENT_CONTEXTS, CommitmentRequest
from dicomrelay.routing import Destination, resolve
from dicomrelay.settings import VerificationMethod
from workers import findings
from workers.attempt import Problem, problem_of
from workers.contacts import Contacts
from workers.lease import LEASE_MS, LeaseKeeper
from workers.look import FIND_CONTEXTS, Look
from workers.rooms import Rooms

_log = get_logger("dicomrelay.verify")
_NO_REPORT = Problem(
    "no report came in time, again and again",
    "Let the destination's administrator look whether it can call our gateway with its reports, then `jobs retry`; or set its "
    'verification to "find".',
)
_NO_SERVICE = {
    VerificationMethod.COMMITMENT: Problem(
        "the destination does no storage commitment",
        'Let its administrator enable it, or set its verification to "find".',
        Contact.REACHED,
    ),
    VerificationMethod.FIND: Problem(
        "the destination answers no C-FIND",
        "Let its administrator allow it for our AE title, or set its verification to another one.",
        Contact.REACHED,
    ),
}
_LOOK_EVERY_S = 1.0
_DESTINATIONS = 1000
# What somebody has to mend, here or there, is tried again seldom.
_BLOCKED_MS = 60_000


def verify(rooms: Rooms, verification_id: str) -> str | None:
    """Claim a verification and ask; the destination, when there was something to do."""
    claimed = rooms.ledger.verifications.claim(verification_id, owner=rooms.owner, lease_ms=LEASE_MS)
    if claimed is None:
        return None
    started = time.monotonic()
    problem: Problem | None = None
    settled: Settled | None = None
    retry_in_ms: int | None = _BLOCKED_MS
    contacts: Contacts | None = None
    try:
        destination = resolve(claimed.destination, rooms.settings.destinations)
        # With a closed breaker it is told nothing: that a destination confirms nothing does not say that it takes nothing.
        contacts = Contacts(
            rooms, claimed.destination, destination.breaker, adaptive=False, in_trouble=claimed.trial
        )
        retry_in_ms = _retry_in_ms(destination, claimed.attempt)
        method = destination.verification.method
        if method is VerificationMethod.NONE or claimed.method == VerificationMethod.NONE.value:
            count = rooms.ledger.verifications.take_its_word(claimed.transfer_id)
            _log.info(
                "taken at its word: the destination is verified no more",
                transfer_id=claimed.transfer_id,
                destination=claimed.destination,
                instances=count,
            )
        elif claimed.doubts >= destination.verification.attempts:
            problem, retry_in_ms = _NO_REPORT, None
        else:
            settled = _Asking(rooms, claimed, destination, contacts).ask()
    except NoAcceptedContext:
        problem = _NO_SERVICE[VerificationMethod(claimed.method)]
        retry_in_ms = round(destination.retry.maximum_s * 1000)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is handed back and not left to its lease
        problem = problem_of(error)
        if problem.advice and retry_in_ms is not None:
            retry_in_ms = max(retry_in_ms, _BLOCKED_MS)
    if problem is not None:
        # As for transfers: nobody is let through before the next probe, and an outage uses up no attempts.
        nobody_there = claimed.trial and contacts is not None and contacts.ended(problem)
        rooms.ledger.verifications.hand_back(
            claimed.id,
            claimed.fence,
            retry_in_ms=0 if nobody_there else retry_in_ms,
            reason=problem.reason,
            advice=problem.advice,
            counted=not nobody_there,
        )
    _tell(claimed, settled, problem, seconds=time.monotonic() - started)
    return claimed.destination


def verify_from(rooms: Rooms, verification_id: str, *, for_s: float) -> int:
    """That one, and then what else is due for its destination, until there is none or the time is over; how many."""
    until = time.monotonic() + for_s
    count, destination = 0, verify(rooms, verification_id)
    while destination is not None:
        count += 1
        if time.monotonic() >= until or rooms.stopping.is_set():
            break
        due = rooms.ledger.verifications.due(limit=_DESTINATIONS)
        following = next((each.id for each in due if each.destination == destination), None)
        destination = None if following is None else verify(rooms, following)
    return count


def _tell(
    claimed: ClaimedVerification, settled: Settled | None, problem: Problem | None, *, seconds: float
) -> None:
    _log.info(
        "verification",
        verification_id=claimed.id,
        transfer_id=claimed.transfer_id,
        destination=claimed.destination,
        study_instance_uid=claimed.study_instance_uid,
        method=claimed.method,
        attempt=claimed.attempt,
        instances=len(claimed.references),
        seconds=round(seconds, 3),
        **({"reason": problem.reason} if problem else {}),
        **(told(settled) if settled else {}),
    )


def told(settled: Settled) -> dict[str, str | int]:
    """For the log."""
    return {
        "state": settled.state.value,
        "there": settled.there,
        "sent_again": settled.sent_again,
        "left": settled.left,
    }


def _retry_in_ms(destination: Destination, attempt: int) -> int | None:
    delay_s = destination.retry.delay_s(attempt, jitter=random.random())  # noqa: S311 - spreads load, keeps no secret
    return None if delay_s is None else round(delay_s * 1000)


def rules_of(destination: Destination, doubts: int) -> VerificationRules:
    """How often and when, after so many answers in a row that settled nothing."""
    again = _retry_in_ms(destination, min(doubts + 1, destination.retry.attempts - 1) or 1)
    policy = destination.verification
    return VerificationRules(
        policy.attempts,
        policy.resends,
        again if again is not None else round(destination.retry.maximum_s * 1000),
    )


@dataclass(frozen=True, slots=True)
class _Asking:
    """A verification that is ours, and whom it asks."""

    rooms: Rooms
    claimed: ClaimedVerification
    destination: Destination
    contacts: Contacts

    def ask(self) -> Settled | None:
        """What the ledger was told; None while a report is to come, or where another runner was faster."""
        claimed, destination = self.claimed, self.destination
        if not claimed.references:
            return self._answer({})
        ledger = self.rooms.ledger.verifications
        with LeaseKeeper(
            lambda: ledger.renew(claimed.id, claimed.fence, lease_ms=LEASE_MS),
            patience_s=destination.response_timeout_s
            + destination.connect_timeout_s
            + destination.verification.wait_s,
        ) as lease:
            if claimed.method == VerificationMethod.FIND.value:
                return self._look(lease)
            return self._commit(lease)

    def _look(self, lease: LeaseKeeper) -> Settled | None:
        is_last = self.claimed.doubts + 1 >= self.destination.verification.attempts
        peer = self.destination.peer(self.rooms.settings.gateway)
        with peer.associate(FIND_CONTEXTS) as association:
            look = Look(
                association,
                self.claimed.study_instance_uid,
                moved=lambda: self._moved(lease),
                stop=lambda: lease.lost or self.rooms.stopping.is_set(),
            )
            found = look.at(self.claimed.references, is_last=is_last)
            self._moved(lease)
        return self._answer(found)

    def _commit(self, lease: LeaseKeeper) -> Settled | None:
        claimed, policy = self.claimed, self.destination.verification
        ledger = self.rooms.ledger.verifications
        uids = [(each.sop_class_uid, each.sop_instance_uid) for each in claimed.references]
        peer = self.destination.peer(self.rooms.settings.gateway)
        with peer.associate(COMMITMENT_CONTEXTS) as association:
            request = CommitmentRequest(association, claimed.transaction_uid, uids, self._take)
            status = request.ask().status
            self._moved(lease)
            if status != Status.SUCCESS and not is_warning(status):
                words = f"the request was refused: {status_name(status)}"
                return self._answer(findings.all_in_doubt((uid for _, uid in uids), words))
            try:
                request.wait(policy.wait_s, stop=self._no_more_need(lease))
            except AssociationError as error:
                # The request was taken, and its report may come on another association.
                _log.info("the association ended before a report", reason=problem_of(error).reason)
        ledger.await_report(claimed.id, claimed.fence, within_ms=round(policy.report_s * 1000))
        return None

    def _moved(self, lease: LeaseKeeper) -> None:
        """The peer answered."""
        lease.progress()
        self.contacts.answered()

    def _take(self, request: NEventReportRequest, event_information: bytes, transfer_syntax_uid: str) -> int:
        """A `net.commitment.ReportTaker`: into the ledger, and then the answer."""
        try:
            report = read_report(request, event_information, transfer_syntax_uid)
            settled = self.rooms.ledger.verifications.report(
                report.transaction_uid,
                self.destination.ae_title,
                findings.of_report(report),
                rules_of(self.destination, self.claimed.doubts),
            )
        except ReportRefused as error:
            _log.warning("a report is refused", destination=self.destination.name, reason=str(error))
            return error.status
        except RelayError as error:
            _log.warning("a report cannot be kept", destination=self.destination.name, reason=str(error))
            return ReportStatus.PROCESSING_FAILURE
        if settled is None:
            return ReportStatus.INVALID_ARGUMENT_VALUE
        _log.info("commitment report", verification_id=self.claimed.id, **told(settled))
        return ReportStatus.SUCCESS

    def _no_more_need(self, lease: LeaseKeeper) -> _Need:
        return _Need(self.rooms, self.claimed, lease)

    def _answer(self, found: Findings) -> Settled | None:
        return self.rooms.ledger.verifications.answer(
            self.claimed.id, self.claimed.fence, found, rules_of(self.destination, self.claimed.doubts)
        )


class _Need:
    """Says when a report need not be waited for any more: it came by the gateway, the lease is lost, or we are to stop."""

    def __init__(self, rooms: Rooms, claimed: ClaimedVerification, lease: LeaseKeeper) -> None:
        self._rooms = rooms
        self._claimed = claimed
        self._lease = lease
        self._looked_at = time.monotonic()

    def __call__(self) -> bool:
        if self._lease.lost or self._rooms.stopping.is_set():
            return True
        now = time.monotonic()
        if now - self._looked_at < _LOOK_EVERY_S:
            return False
        self._looked_at = now
        return not self._rooms.ledger.verifications.is_asking(self._claimed.id, self._claimed.fence)
