"""Sends the instances of a claimed transfer over one association after another, and says what became of each."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from dicomrelay.dicom.sop_classes import sop_class_name
from dicomrelay.dicom.status import Outcome, c_store_outcome, status_name
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.errors import AssociationAborted, NoAcceptedContext, SpoolCorrupt, SpoolError
from dicomrelay.ledger.values import ClaimedTransfer, DeliveryOutcome, DeliveryState, InstanceFacts
from dicomrelay.net.requestor import Association, RemoteAe, StoreItem, Timeouts, contexts_for
from dicomrelay.net.service import StoreReply
from dicomrelay.routing import Destination
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
    items = {delivery.instance.instance_id: _item(delivery.instance) for delivery in claimed.deliveries}
    remote = RemoteAe(destination.ae_title, destination.host, destination.port)
    calling = destination.calling_ae_title or rooms.settings.gateway.ae_title
    timeouts = Timeouts(connect_s=destination.connect_timeout_s, response_s=destination.response_timeout_s)
    pace = Pace(destination.max_bytes_per_s, moved=lease.progress)
    for contexts in contexts_for(items.values()):
        ours = {(abstract, syntax) for abstract, syntaxes in contexts for syntax in syntaxes}
        group = [
            delivery.instance
            for delivery in claimed.deliveries
            if (delivery.instance.sop_class_uid, delivery.instance.transfer_syntax_uid) in ours
        ]
        with Association.request(
            remote, calling_ae_title=calling, contexts=contexts, timeouts=timeouts
        ) as association:
            if not _send_group(rooms, association, group, writer, lease, pace):
                return


def _send_group(
    rooms: Rooms,
    association: Association,
    group: Iterable[InstanceFacts],
    writer: OutcomeWriter,
    lease: LeaseKeeper,
    pace: Pace,
) -> bool:
    for facts in group:
        if lease.lost:
            return False
        writer.add(_send_one(rooms, association, facts, pace))
        lease.progress()
        if not association.is_open:
            # A file that fails in the middle of a data set takes the association with it; the rest goes over a new one.
            raise AssociationAborted(
                "the association was given up because a file could not be read to its end"
            )
    return True


def _send_one(rooms: Rooms, association: Association, facts: InstanceFacts, pace: Pace) -> DeliveryOutcome:
    started = time.monotonic()
    try:
        reply = _store(rooms, association, facts, pace)
    except NoAcceptedContext:
        syntax = transfer_syntax(facts.transfer_syntax_uid).name
        reason = f"the peer does not accept {sop_class_name(facts.sop_class_uid)} in {syntax}"
        return DeliveryOutcome(
            facts.instance_id, DeliveryState.REFUSED, reason=reason, association_id=association.id
        )
    except SpoolCorrupt as error:  # nowhere, or damaged: trying again will not bring it back
        return DeliveryOutcome(
            facts.instance_id, DeliveryState.REFUSED, reason=f"the bytes cannot be read: {error}"
        )
    except (OSError, SpoolError) as error:  # this machine's trouble of the moment
        return DeliveryOutcome(
            facts.instance_id, DeliveryState.FAILED, reason=f"the bytes cannot be read now: {error}"
        )
    return DeliveryOutcome(
        facts.instance_id,
        _STATES[c_store_outcome(reply.status)],
        status=reply.status,
        reason=_words(reply),
        association_id=association.id,
        sent_bytes=facts.data_set_bytes,
        duration_ms=round((time.monotonic() - started) * 1000),
    )


def _store(rooms: Rooms, association: Association, facts: InstanceFacts, pace: Pace) -> StoreReply:
    """Store from where the bytes are now; a spool item that is being moved is looked for once more."""
    item = _item(facts)
    try:
        return association.store(replace(item, path=verified(rooms, facts)), pace=pace)
    except FileNotFoundError:
        return association.store(replace(item, path=verified(rooms, facts)), pace=pace)


def _words(reply: StoreReply) -> str:
    if reply.status == 0:
        return ""
    return f"{status_name(reply.status)}: {reply.comment}" if reply.comment else status_name(reply.status)


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


def verified(rooms: Rooms, facts: InstanceFacts) -> Path:
    """Where an instance's bytes are, once they are seen to be the bytes that were acknowledged.

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
