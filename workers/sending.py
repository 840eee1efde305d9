"""A claimed transfer as a delivery: its instances, where their bytes are, and what the ledger is told of each."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from dicomrelay.delivery import Answer, Instance, Target, deliver
from dicomrelay.delivery.reasons import reason_of
from dicomrelay.dicom.status import Outcome
from dicomrelay.errors import AssociationError, AssociationTimeout, ServiceUnavailable, SpoolCorrupt
from dicomrelay.ledger.values import ClaimedTransfer, DeliveryOutcome, DeliveryState, InstanceFacts
from dicomrelay.ledger.values_evidence import SentFacts
from dicomrelay.net.outcomes import judge
from dicomrelay.net.requestor import StoreItem
from dicomrelay.routing import Destination, target_of
from workers.lease import LeaseKeeper
from workers.outcomes import OutcomeWriter
from workers.plan import Plan
from workers.rooms import Rooms
from workers.shared_pace import SharedPace
from workers.watch import Watch

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
    *,
    watch: Watch | None = None,
    reached: Callable[[], None] = lambda: None,
) -> bool:
    """Send what a transfer has left, until all is done, the lease is lost, or it was handed back.

    When an association dies, what was under way has failed, and the rest goes on over another one (`Plan`).

    Parameters
    ----------
    watch : Watch, optional
        Asked before each instance whether to go on.
    reached : callable
        Told at every answer of the peer.

    Returns
    -------
    bool
        Whether the transfer was handed back, with all that was answered written.

    Raises
    ------
    AssociationError
        No association came about, or one died; what was answered by then is with the writer, and what was under way.
    """
    sending = _Sending(rooms, claimed, destination, writer, lease, reached)
    plan = Plan(claimed.deliveries)
    watch = watch or Watch(claimed, lease)
    problem: AssociationError | None = None
    while not lease.lost and (batch := plan.next_batch()):
        try:
            sending.of(batch, plan, watch)
        except AssociationError as error:
            # Nobody is there, or the fault is no instance's; and silence costs a worker too much to meet it again at once.
            if not sending.under_way or isinstance(error, AssociationTimeout):
                raise
            problem = error
            plan.died(sending.under_way)
            sending.under_way.clear()
        else:
            if not watch.why or plan.is_through(batch):
                plan.sent(batch)
                continue
            writer.flush()
            if watch.hands_back():
                return True
    if problem is not None:
        raise problem
    return False


class _Sending:
    """The batches of one transfer, one after the other, and what its destination and its lease hear of them."""

    def __init__(
        self,
        rooms: Rooms,
        claimed: ClaimedTransfer,
        destination: Destination,
        writer: OutcomeWriter,
        lease: LeaseKeeper,
        reached: Callable[[], None],
    ) -> None:
        self._rooms = rooms
        self._facts = {each.instance.instance_id: each.instance for each in claimed.deliveries}
        self._target = target_of(destination, rooms.settings)
        self._writer = writer
        self._lease = lease
        self._reached = reached
        self._pace = SharedPace(
            destination.max_bytes_per_s,
            associations=destination.associations,
            book=lambda count: rooms.ledger.flow.book(
                claimed.destination, count=count, bytes_per_s=destination.max_bytes_per_s or 1
            ),
            moved=lease.progress,
        )
        self.under_way: list[str] = []
        """What was under way when an association died."""

    def of(self, batch: Sequence[str], plan: Plan, watch: Watch) -> None:
        """Send these.

        Raises
        ------
        AssociationError
            As `deliver`.
        """
        facts, lease = self._facts, self._lease

        def answered(answer: Answer) -> None:
            self._writer.add(_outcome(answer, self._target))
            plan.answered(answer.key)
            lease.progress()
            if answer.status is not None:
                self._reached()

        deliver(
            [Instance(key, _item(facts[key])) for key in batch],
            self._target,
            locate=lambda instance: verified(self._rooms, facts[instance.key], moved=lease.progress),
            answered=answered,
            unanswered=self._unanswered,
            keep_going=watch.goes_on,
            pace=self._pace,
        )

    def _unanswered(
        self, instances: Sequence[Instance], error: AssociationError, association_id: str
    ) -> None:
        self.under_way.extend(instance.key for instance in instances)
        for key in self.under_way:
            self._writer.add(_failed(key, error, association_id, self._target))


def _outcome(answer: Answer, target: Target) -> DeliveryOutcome:
    return DeliveryOutcome(
        answer.key,
        _STATES[answer.outcome],
        status=answer.status,
        reason=reason_of(answer),
        association_id=answer.association_id,
        sent_bytes=answer.sent_bytes,
        duration_ms=round(answer.seconds * 1000),
        sent=_sent(target, answer.words, answer.transfer_syntax_uid, answer.digest),
    )


def _failed(key: str, error: AssociationError, association_id: str, target: Target) -> DeliveryOutcome:
    """It was under way when the association died; nobody knows whether the peer has it."""
    reason = f"the association ended while it was under way: {judge(error).name}"
    return DeliveryOutcome(
        key, DeliveryState.FAILED, reason=reason, association_id=association_id, sent=_sent(target, reason)
    )


def _sent(target: Target, words: str, transfer_syntax_uid: str = "", digest: str = "") -> SentFacts:
    remote = target.peer.remote
    return SentFacts(
        transfer_syntax_uid=transfer_syntax_uid,
        digest=digest,
        calling_ae_title=target.peer.calling_ae_title,
        called_ae_title=remote.ae_title,
        address=f"{remote.host}:{remote.port}",
        words=words,
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
    path = locate(rooms, facts, moved=moved)
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


def locate(rooms: Rooms, facts: InstanceFacts, *, moved: Callable[[], None] = lambda: None) -> Path:
    """Where an instance's bytes are now.

    Raises
    ------
    SpoolCorrupt
        Nowhere.
    OSError
        They are in the archive, and its storage is away.
    """
    elsewhere = facts.released or (facts.host != rooms.host and not facts.source_path)
    if facts.archive_path and elsewhere:
        try:
            return rooms.archive.path_at(facts.archive_path, facts.digest, moved=moved)
        except ServiceUnavailable as error:
            # Of this instance and for now, like a disk that does not answer.
            raise OSError(errno.EAGAIN, str(error)) from error
    return Path(facts.source_path) if facts.source_path else rooms.spool.locate(facts.spool_id)
