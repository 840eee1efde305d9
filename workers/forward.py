"""Sends one transfer: the instances of a study that one destination has yet to get.

The ledger says what is left, so a retry never sends a delivered instance again; only a response of the peer makes an
instance delivered. The bytes are those that arrived: from the archive where it has them, else from the spool.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicomrelay.dicom.sop_classes import sop_class_name
from dicomrelay.dicom.status import Outcome, c_store_outcome, status_name
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.errors import AssociationError, NoAcceptedContext, SpoolCorrupt
from dicomrelay.ledger.values import (
    ClaimedTransfer,
    DeliveryOutcome,
    DeliveryState,
    InstanceFacts,
    PendingDelivery,
    TransferState,
)
from dicomrelay.log import get_logger
from dicomrelay.net.requestor import Association, RemoteAe, StoreItem, Timeouts, contexts_for
from dicomrelay.net.service import StoreReply
from dicomrelay.routing import Address, Destination, RetryPolicy, ad_hoc, resolve
from workers.lease import LEASE_MS, LeaseKeeper
from workers.outcomes import OutcomeWriter
from workers.pace import Pace
from workers.rooms import Rooms

_log = get_logger("dicomrelay.forward")
_STATES = {
    Outcome.DELIVERED: DeliveryState.DELIVERED,
    Outcome.WARNING: DeliveryState.WARNING,
    Outcome.RETRY: DeliveryState.FAILED,
    Outcome.REFUSED: DeliveryState.REFUSED,
}
# Others look for the next transfer too: with a few to choose from, one is left for us.
_CANDIDATES = 4
# A person waits for a job: after so many attempts it ends, and says why.
_JOB_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class _Ready:
    """A delivery whose file was found."""

    instance: InstanceFacts
    item: StoreItem


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
    destination = _destination(rooms, claimed)
    started = time.monotonic()
    problem: AssociationError | None = None
    writer = OutcomeWriter(rooms.ledger, claimed)
    with LeaseKeeper(
        lambda: rooms.ledger.renew_transfer(claimed.id, claimed.fence, lease_ms=LEASE_MS),
        patience_s=destination.response_timeout_s + destination.connect_timeout_s,
    ) as lease:
        try:
            _send_all(rooms, claimed, destination, writer, lease)
        except AssociationError as error:
            problem = error
        finally:
            writer.flush()
    reason = str(problem or writer.retry_reason)
    # What a peer says in an Error Comment may name a patient: the ledger keeps it, the log does not.
    logged = str(problem or writer.retry_status)
    retry_in_ms = _retry_in_ms(claimed, destination.retry, problem, writer)
    state = rooms.ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=retry_in_ms, reason=reason)
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
        reason=logged,
    )
    return state


def _send_all(
    rooms: Rooms,
    claimed: ClaimedTransfer,
    destination: Destination,
    writer: OutcomeWriter,
    lease: LeaseKeeper,
) -> None:
    ready = list(_find_files(rooms, claimed.deliveries, writer))
    remote = RemoteAe(destination.ae_title, destination.host, destination.port)
    calling = destination.calling_ae_title or rooms.settings.gateway.ae_title
    timeouts = Timeouts(connect_s=destination.connect_timeout_s, response_s=destination.response_timeout_s)
    pace = Pace(destination.max_bytes_per_s, moved=lease.progress)
    for contexts in contexts_for(entry.item for entry in ready):
        ours = {(abstract, syntax) for abstract, syntaxes in contexts for syntax in syntaxes}
        group = [e for e in ready if (e.item.sop_class_uid, e.item.transfer_syntax_uid) in ours]
        with Association.request(
            remote, calling_ae_title=calling, contexts=contexts, timeouts=timeouts
        ) as association:
            for entry in group:
                if lease.lost:
                    return
                writer.add(_send_one(association, entry, pace))
                lease.progress()


def _send_one(association: Association, entry: _Ready, pace: Pace) -> DeliveryOutcome:
    started = time.monotonic()
    item = entry.item
    try:
        reply = association.store(item, pace=pace)
    except NoAcceptedContext:
        syntax = transfer_syntax(item.transfer_syntax_uid).name
        reason = f"the peer does not accept {sop_class_name(item.sop_class_uid)} in {syntax}"
        return DeliveryOutcome(
            entry.instance.instance_id, DeliveryState.REFUSED, reason=reason, association_id=association.id
        )
    except (OSError, SpoolCorrupt) as error:
        if isinstance(error, AssociationError):
            raise
        return _no_file(entry.instance, error)
    return DeliveryOutcome(
        entry.instance.instance_id,
        _STATES[c_store_outcome(reply.status)],
        status=reply.status,
        reason=_words(reply),
        association_id=association.id,
        sent_bytes=item.data_set_bytes,
        duration_ms=round((time.monotonic() - started) * 1000),
    )


def _words(reply: StoreReply) -> str:
    if reply.status == 0:
        return ""
    return f"{status_name(reply.status)}: {reply.comment}" if reply.comment else status_name(reply.status)


def _find_files(
    rooms: Rooms, deliveries: Sequence[PendingDelivery], writer: OutcomeWriter
) -> Iterator[_Ready]:
    for delivery in deliveries:
        facts = delivery.instance
        try:
            path = locate(rooms, facts)
        except SpoolCorrupt as error:
            writer.add(_no_file(facts, error))
            continue
        item = StoreItem(
            sop_class_uid=facts.sop_class_uid,
            sop_instance_uid=facts.sop_instance_uid,
            transfer_syntax_uid=facts.transfer_syntax_uid,
            path=path,
            data_set_offset=facts.data_set_offset,
            data_set_bytes=facts.data_set_bytes,
        )
        yield _Ready(facts, item)


def locate(rooms: Rooms, facts: InstanceFacts) -> Path:
    """Where an instance's bytes are now.

    Raises
    ------
    SpoolCorrupt
        Nowhere.
    """
    elsewhere = facts.released or (facts.host != rooms.host and not facts.source_path)
    if facts.archive_path and elsewhere:
        return rooms.archive.layout.resolve(facts.archive_path)
    return Path(facts.source_path) if facts.source_path else rooms.spool.locate(facts.spool_id)


def _no_file(facts: InstanceFacts, error: Exception) -> DeliveryOutcome:
    return DeliveryOutcome(
        facts.instance_id, DeliveryState.REFUSED, reason=f"the bytes cannot be read: {error}"
    )


def _destination(rooms: Rooms, claimed: ClaimedTransfer) -> Destination:
    """The settings' word where they still know the name; else the ledger's address, which a job gave."""
    known = {destination.name for destination in rooms.settings.destinations}
    if claimed.destination in known:
        return resolve(claimed.destination, rooms.settings.destinations)
    address = claimed.address
    return ad_hoc(str(Address(address.ae_title, address.host, address.port)))


def _retry_in_ms(
    claimed: ClaimedTransfer, retry: RetryPolicy, problem: AssociationError | None, writer: OutcomeWriter
) -> int | None:
    """When to try again; None when a person has to look."""
    hopeless = problem is not None and not problem.retryable
    if claimed.job_id and (hopeless or claimed.attempt >= _JOB_ATTEMPTS):
        return None
    if hopeless:  # what the peer's administrator has to mend: no hurry
        return round(retry.maximum_s * 1000) if claimed.attempt < retry.attempts else None
    # What moved forward starts the schedule anew.
    attempt = 1 if writer.delivered else claimed.attempt
    delay_s = retry.delay_s(attempt, jitter=random.random())  # noqa: S311 - spreads load, keeps no secret
    return None if delay_s is None else round(delay_s * 1000)
