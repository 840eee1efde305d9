"""Sends one transfer: the instances of a study that one destination has yet to get.

The ledger says what is left, so a retry never sends a delivered instance again; only a response of the peer makes an
instance delivered. The bytes are those that arrived: from the archive where it has them, else from the spool.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Final

from dicomrelay.errors import RelayError
from dicomrelay.ledger.values import ClaimedTransfer, DestinationKind, TransferState
from dicomrelay.log import get_logger
from dicomrelay.routing import Address, Destination, RetryPolicy, ad_hoc, closed, resolve
from dicomrelay.runtime import home
from workers.answers import AnswerJournal, take_up
from workers.attempt import Attempt, Problem, problem_of
from workers.audited import Witness
from workers.contacts import Contacts
from workers.figures import attempt_over
from workers.lease import LEASE_MS, LeaseKeeper
from workers.outcomes import OutcomeWriter
from workers.probe import probe
from workers.rooms import Rooms
from workers.sending import send_all
from workers.speeds import Speeds
from workers.watch import Watch

_log = get_logger("dicomrelay.forward")
_SPEEDS: Final = Speeds()
_ONCE_MORE_S: Final = 0.5
# Between two steps of a request there may be a token and a handshake, or a piece that is taken late.
_WEB_PATIENCE_S: Final = 90.0
# For a destination whose own schedule is not known.
_NO_ADDRESS = RetryPolicy(60.0, 600.0, 1000)


def forward_transfer(rooms: Rooms, transfer_id: str) -> str | None:
    """Claim a transfer and send what is left of it.

    Returns
    -------
    str or None
        The destination, when there was something to do: there may be more for it.
    """
    claimed = rooms.ledger.claim_transfer(
        transfer_id, owner=rooms.owner, lease_ms=LEASE_MS, host=rooms.reads_as
    )
    if claimed is None:
        return None
    send_claimed(rooms, claimed)
    return claimed.destination


def forward_next(rooms: Rooms, destination: str) -> bool:
    """Claim and send what goes first at a destination; False when nothing is due there, or it takes nothing now."""
    claimed = rooms.ledger.claim_next_transfer(
        destination, owner=rooms.owner, lease_ms=LEASE_MS, host=rooms.reads_as
    )
    if claimed is None:
        return False
    send_claimed(rooms, claimed)
    return True


def closed_now(rooms: Rooms) -> frozenset[str]:
    """The destinations that are outside of their time windows, by the clock on this host's wall."""
    return closed(rooms.settings.destinations, _minute())


def _minute() -> int:
    now = time.localtime()
    return now.tm_hour * 60 + now.tm_min


def send_claimed(rooms: Rooms, claimed: ClaimedTransfer) -> TransferState:
    """Send a transfer that is ours, and give it back: done, to be tried again, ready as before, or in need of attention."""
    started = time.monotonic()
    journal = AnswerJournal(home.answers_folder(rooms.settings), claimed)
    claimed = take_up(rooms, claimed)
    writer = OutcomeWriter(rooms.ledger, claimed, journal=journal)
    attempt = Attempt(claimed, _NO_ADDRESS)
    contacts: Contacts | None = None
    problem: Problem | None = None
    handed_back = False
    witness = Witness(rooms.audit, claimed, rooms.settings.gateway.ae_title)
    try:
        destination = _destination(rooms, claimed)
        attempt = Attempt(claimed, destination.retry)
        contacts = Contacts(
            rooms,
            claimed.destination,
            destination.breaker,
            adaptive=destination.adaptive,
            in_trouble=claimed.in_trouble,
        )
        if attempt.is_beyond_the_last:
            problem = Problem("the attempts are used up: its runners died each time")
        elif not destination.is_open(_minute()):
            handed_back = rooms.ledger.flow.hand_back(claimed, "outside of the time windows")
        elif not _is_alive(rooms, claimed, destination, contacts):
            handed_back = True
        else:
            witness.begins(destination)
            handed_back = _send(rooms, claimed, destination, writer, contacts)
            _adapt(rooms, destination, writer)
    except Exception as error:  # noqa: BLE001 - whatever it is, the transfer is handed back and not left to its lease
        problem = problem_of(error)
    if handed_back:
        # It is ours no more, so this asks only: ready, waiting when it had failed before, or what others made of it since.
        state = rooms.ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=None)
    else:
        state = _finish(rooms, claimed, attempt, contacts, problem, writer)
    journal.end(keep=writer.has_unwritten)
    attempt_over(claimed.destination, state, time.monotonic() - started)
    witness.ended(writer.delivered, state)
    everywhere = handed_back or writer.delivered == len(claimed.deliveries)
    _log.log(
        logging.INFO if everywhere else logging.WARNING,
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


def _is_alive(rooms: Rooms, claimed: ClaimedTransfer, destination: Destination, contacts: Contacts) -> bool:
    """Whether a destination whose breaker is half open answers; of any other it is not asked."""
    if not claimed.trial:
        return True
    try:
        with _lease(rooms, claimed, destination):
            probe(destination, rooms.settings.gateway)
    except (RelayError, OSError) as error:
        contacts.probe_failed(claimed, problem_of(error))
        return False
    return True


def _send(
    rooms: Rooms,
    claimed: ClaimedTransfer,
    destination: Destination,
    writer: OutcomeWriter,
    contacts: Contacts,
) -> bool:
    """Whether it was handed back on the way."""
    flow = rooms.ledger.flow
    with _lease(rooms, claimed, destination) as lease:
        watch = Watch(
            claimed,
            lease,
            signal=flow.signal,
            give_way=flow.give_way,
            hand_back=flow.hand_back,
            is_open=lambda: destination.is_open(_minute()),
            is_stopping=rooms.stopping.is_set,
        )
        try:
            return send_all(
                rooms, claimed, destination, writer, lease, watch=watch, reached=contacts.answered
            )
        finally:
            writer.flush()


def _adapt(rooms: Rooms, destination: Destination, writer: OutcomeWriter) -> None:
    """Use fewer associations when it became much slower. A limit of ours makes waits that say nothing about it."""
    if not destination.adaptive or destination.max_bytes_per_s is not None:
        return
    if _SPEEDS.is_much_slower(
        destination.name,
        answers=writer.answers,
        sent_bytes=writer.sent_bytes,
        seconds=writer.answer_ms / 1000,
    ) and rooms.ledger.flow.slower(destination.name):
        _log.info("destination became slower, fewer associations", destination=destination.name)


def _lease(rooms: Rooms, claimed: ClaimedTransfer, destination: Destination) -> LeaseKeeper:
    return LeaseKeeper(
        lambda: rooms.ledger.renew_transfer(claimed.id, claimed.fence, lease_ms=LEASE_MS),
        patience_s=destination.response_timeout_s
        + destination.connect_timeout_s
        + (_WEB_PATIENCE_S if destination.web is not None else 0),
    )


def _finish(
    rooms: Rooms,
    claimed: ClaimedTransfer,
    attempt: Attempt,
    contacts: Contacts | None,
    problem: Problem | None,
    writer: OutcomeWriter,
) -> TransferState:
    retry_in_ms = attempt.retry_in_ms(problem, delivered=writer.delivered)
    try:
        if contacts is not None and contacts.ended(problem) and retry_in_ms is not None:
            retry_in_ms = 0  # an open breaker lets nobody through before its probe
    except RelayError as error:  # what it says of the destination, the next attempt will say again
        _log.warning("not told of the destination", destination=claimed.destination, reason=str(error))
    finish = partial(
        rooms.ledger.finish_transfer,
        claimed.id,
        claimed.fence,
        retry_in_ms=retry_in_ms,
        reason=problem.reason if problem else writer.retry_reason,
        advice=problem.advice if problem else "",
        words=problem.reason if problem else writer.retry_status,
        delivered=writer.delivered,
    )
    try:
        return finish()
    except RelayError as error:
        # Else nobody has it until the lease ends. What was written after all is not written twice: the lease is over then.
        _log.warning("not given back, once more", transfer_id=claimed.id, reason=str(error))
        time.sleep(_ONCE_MORE_S)
        return finish()


def _destination(rooms: Rooms, claimed: ClaimedTransfer) -> Destination:
    """The settings' word where they still know the name; else the ledger's address, which a job gave.

    Raises
    ------
    ConfigurationError
        Nobody knows where it is.
    """
    known = {destination.name for destination in rooms.settings.destinations}
    only_settings = claimed.address.kind in (DestinationKind.UNKNOWN, DestinationKind.WEB)
    if claimed.destination in known or only_settings:
        return resolve(claimed.destination, rooms.settings.destinations)
    address = claimed.address
    return ad_hoc(str(Address(address.ae_title, address.host, address.port)))
