"""A claimed transfer as a delivery: its instances, where their bytes are, and what the ledger is told of each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from dicomrelay.delivery import Answer, Instance, deliver
from dicomrelay.dicom.status import Outcome
from dicomrelay.errors import SpoolCorrupt
from dicomrelay.ledger.values import ClaimedTransfer, DeliveryOutcome, DeliveryState, InstanceFacts
from dicomrelay.net.requestor import StoreItem
from dicomrelay.routing import Destination, target_of
from workers.lease import LeaseKeeper
from workers.outcomes import OutcomeWriter
from workers.pace import Pace
from workers.rooms import Rooms

_CHUNK_BYTES = 1 << 20
_STATES = {
    Outcome.DELIVERED: DeliveryState.DELIVERED,
    Outcome.WARNING: DeliveryState.WARNING,
    Outcome.RETRY: DeliveryState.FAILED,
    Outcome.REFUSED: DeliveryState.REFUSED,
}


def send_all(
    rooms: Rooms,
    claimed: ClaimedTransfer,
    destination: Destination,
    writer: OutcomeWriter,
    lease: LeaseKeeper,
) -> None:
    """Send what a transfer has left, until all is done or the lease is lost.

    Raises
    ------
    AssociationError
        No association came about, or one died; what was answered by then is with the writer.
    """
    facts = {delivery.instance.instance_id: delivery.instance for delivery in claimed.deliveries}

    def answered(answer: Answer) -> None:
        writer.add(_outcome(answer))
        lease.progress()

    deliver(
        [Instance(key, _item(each)) for key, each in facts.items()],
        target_of(destination, rooms.settings),
        locate=lambda instance: verified(rooms, facts[instance.key], moved=lease.progress),
        answered=answered,
        keep_going=lambda: not lease.lost,
        pace=Pace(destination.max_bytes_per_s, moved=lease.progress),
    )


def _outcome(answer: Answer) -> DeliveryOutcome:
    return DeliveryOutcome(
        answer.key,
        _STATES[answer.outcome],
        status=answer.status,
        reason=": ".join(filter(None, (answer.words, answer.comment))),
        association_id=answer.association_id,
        sent_bytes=answer.sent_bytes,
        duration_ms=round(answer.seconds * 1000),
    )


def _item(facts: InstanceFacts) -> StoreItem:
    """What is to be sent; where it lies is looked up at the last moment."""
    return StoreItem(
        sop_class_uid=facts.sop_class_uid,
        sop_instance_uid=facts.sop_instance_uid,
        transfer_syntax_uid=facts.transfer_syntax_uid,
        path=Path(),
        data_set_offset=facts.data_set_offset,
        data_set_bytes=facts.data_set_bytes,
    )


def verified(rooms: Rooms, facts: InstanceFacts, *, moved: Callable[[], None] = lambda: None) -> Path:
    """Where an instance's bytes are, once they are seen to be the bytes that were acknowledged.

    Parameters
    ----------
    moved : callable
        Called for every MiB that was read: of a large file on a slow disk that takes minutes, in which a lease must live.

    Raises
    ------
    SpoolCorrupt
        Nowhere, or they are others now: a bad disk, or a file that was read where it lay and has changed.
    OSError
        They cannot be read.
    """
    path = locate(rooms, facts)
    if facts.source_path and not path.exists():
        raise SpoolCorrupt("the file that was to be read where it lies is gone")
    digest = hashlib.sha256()
    left = facts.data_set_bytes
    with path.open("rb", buffering=0) as file:
        file.seek(facts.data_set_offset)
        while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
            digest.update(chunk)
            left -= len(chunk)
            moved()
    if left or digest.hexdigest() != facts.digest:
        raise SpoolCorrupt("the bytes are not those that were acknowledged: their digest differs")
    return path


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
