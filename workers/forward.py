"""Sends one transfer: the instances of a study that one destination has yet to get.

The ledger says what is left, so a retry never sends a delivered instance again; only a response of the peer makes an
instance delivered. The bytes are those that arrived: from the archive where it has them, else from the spool.
"""

from __future__ import annotations

import random
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from dicomrelay.dicom.status import Outcome
from dicomrelay.errors import AssociationAborted, RelayError
from dicomrelay.ledger.values import ClaimedTransfer, DestinationKind, TransferState
from dicomrelay.log import get_logger
from dicomrelay.net.outcomes import judge
from dicomrelay.routing import Address, Destination, RetryPolicy, ad_hoc, resolve
from workers.lease import LEASE_MS, LeaseKeeper
from workers.outcomes import OutcomeWriter
from workers.rooms import Rooms
from workers.sending import send_all

_log = get_logger("dicomrelay.forward")
# Others look for the next transfer too: with a few to choose from, one is left for us.
_CANDIDATES = 4
# For a destination whose own schedule is not known.
_NO_ADDRESS = RetryPolicy(60.0, 600.0, 1000)


def forward_transfer(rooms: Rooms, transfer_id: str) -> str | None:
    """Claim a transfer and send what is left of it.

    Returns
    -------
    str or None
        The destination, when there was something to do: there may be more for it.
    """
    claimed = rooms.ledger.claim_transfer(transfer_id, owner=rooms.owner, lease_ms=LEASE_MS)
    if claimed is None:
        return None
    send_claimed(rooms, claimed)
    return claimed.destination


def forward_next(rooms: Rooms, destination: str) -> bool:
    """Claim and send the next transfer that is due for a destination; False when there is none."""
    due = rooms.ledger.due(limit=_CANDIDATES, destination=destination)
    return any(forward_transfer(rooms, transfer.id) for transfer in due.transfers)


def send_claimed(rooms: Rooms, claimed: ClaimedTransfer) -> TransferState:
    """Send a transfer that is ours, and hand it back: done, to be tried again, or in need of attention."""
    started = time.monotonic()
    writer = OutcomeWriter(rooms.ledger, claimed)
    attempt = _Attempt(claimed, _NO_ADDRESS)
    problem: _Problem | None = None
    try:
        destination = _destination(rooms, claimed)
        attempt = _Attempt(claimed, destination.retry)
        if attempt.is_beyond_the_last:
            problem = _Problem("the attempts are used up: its runners died each time")
        else:
            _send(rooms, claimed, destination, writer)
    except Exception as error:  # noqa: BLE001 - whatever it is, the transfer is handed back and not left to its lease
        problem = _problem_of(error)
    state = rooms.ledger.finish_transfer(
        claimed.id,
        claimed.fence,
        retry_in_ms=attempt.retry_in_ms(problem, delivered=writer.delivered),
        reason=problem.reason if problem else writer.retry_reason,
        advice=problem.advice if problem else "",
        words=problem.reason if problem else writer.retry_status,
    )
    _log.info(
        "transfer",
        transfer_id=claimed.id,
        destination=claimed.destination,
        study_instance_uid=claimed.study_instance_uid,
        attempt=claimed.attempt,
        delivered=writer.delivered,
        not_delivered=len(claimed.deliveries) - writer.delivered,
        bytes=writer.sent_bytes,
        seconds=round(time.monotonic() - started, 3),
        state=state.value,
        # What a peer says in an Error Comment may name a patient: the ledger keeps it, the log does not.
        reason=problem.reason if problem else writer.retry_status,
    )
    return state


def _send(rooms: Rooms, claimed: ClaimedTransfer, destination: Destination, writer: OutcomeWriter) -> None:
    with LeaseKeeper(
        lambda: rooms.ledger.renew_transfer(claimed.id, claimed.fence, lease_ms=LEASE_MS),
        patience_s=destination.response_timeout_s + destination.connect_timeout_s,
    ) as lease:
        try:
            send_all(rooms, claimed, destination, writer, lease)
        finally:
            writer.flush()


def _destination(rooms: Rooms, claimed: ClaimedTransfer) -> Destination:
    """The settings' word where they still know the name; else the ledger's address, which a job gave.

    Raises
    ------
    ConfigurationError
        Nobody knows where it is.
    """
    known = {destination.name for destination in rooms.settings.destinations}
    if claimed.destination in known or claimed.address.kind is DestinationKind.UNKNOWN:
        return resolve(claimed.destination, rooms.settings.destinations)
    address = claimed.address
    return ad_hoc(str(Address(address.ae_title, address.host, address.port)))


@dataclass(frozen=True, slots=True)
class _Problem:
    """Why an attempt ended; `advice` is what somebody has to do first, "" when time may mend it."""

    reason: str
    advice: str = ""


def _problem_of(error: Exception) -> _Problem:
    """By the one table (docs/design/outcomes.md); what is in no row is a fault of our own."""
    if isinstance(error, ConnectionError):  # the peer's end, wherever it came to light
        error = AssociationAborted(f"the connection was lost ({type(error).__name__})")
    if isinstance(error, OSError):  # its text may name a file, and a file a patient
        return _Problem(judge(error).name)
    if not isinstance(error, RelayError):
        at = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(at.filename).name}:{at.lineno}"
        error = RelayError(f"a fault on our side: {type(error).__name__} in {where}")
    verdict = judge(error)
    return _Problem(str(error), verdict.advice if verdict.outcome is Outcome.REFUSED else "")


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One attempt at a transfer, and what its schedule says of the next."""

    claimed: ClaimedTransfer
    retry: RetryPolicy

    @property
    def is_beyond_the_last(self) -> bool:
        """Whether so many runners began it that it must be it that kills them."""
        return self.claimed.attempt > self.retry.attempts

    def retry_in_ms(self, problem: _Problem | None, *, delivered: int) -> int | None:
        """When to try again; None when a person has to look."""
        if self.claimed.attempt >= self.retry.attempts:
            return None
        if problem is not None and problem.advice:
            # What an administrator has to mend, there or here: no hurry, and no end either.
            return round(self.retry.maximum_s * 1000)
        # What moved forward starts the schedule anew.
        attempt = 1 if delivered else self.claimed.attempt
        delay_s = self.retry.delay_s(attempt, jitter=random.random())  # noqa: S311 - spreads load, keeps no secret
        return None if delay_s is None else round(delay_s * 1000)
