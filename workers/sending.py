"""A claimed transfer as a delivery: its instances, where their bytes are, and what the ledger is told of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from dicomrelay.delivery import Answer, Instance, Target, deliver
from dicomrelay.delivery.reasons import reason_of
from dicomrelay.dicom.status import Outcome
from dicomrelay.edits import Profile, profile
from dicomrelay.errors import AssociationError, AssociationTimeout, ConfigurationError
from dicomrelay.ledger.values import ClaimedTransfer, DeliveryOutcome, DeliveryState, InstanceFacts
from dicomrelay.ledger.values_evidence import SentFacts
from dicomrelay.net.outcomes import judge
from dicomrelay.net.requestor import StoreItem
from dicomrelay.routing import Destination, target_of
from dicomrelay.settings import Settings, TransferSyntaxPolicy, VerificationMethod
from dicomrelay.spool.layout import begun_ms
from workers.lease import LeaseKeeper
from workers.locating import verified
from workers.outcomes import OutcomeWriter
from workers.plan import Plan
from workers.rooms import Rooms
from workers.shared_pace import SharedPace
from workers.watch import Watch

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
        self._edits = {
            each.instance.instance_id: _profiles(each.edits, destination, rooms.settings)
            for each in claimed.deliveries
            if each.edits
        }
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
            if answer.status is not None or answer.http_status is not None:
                self._reached()

        deliver(
            [self._instance(key) for key in batch],
            self._target,
            locate=lambda instance: verified(self._rooms, facts[instance.key], moved=lease.progress),
            answered=answered,
            unanswered=self._unanswered,
            keep_going=watch.goes_on,
            pace=self._pace,
        )

    def _instance(self, key: str) -> Instance:
        facts = self._facts[key]
        return Instance(key, _item(facts), edits=self._edits.get(key, ()), at_ms=begun_ms(facts.spool_id))

    def _unanswered(
        self, instances: Sequence[Instance], error: AssociationError, association_id: str
    ) -> None:
        keys = [instance.key for instance in instances]
        self.under_way.extend(keys)
        for key in keys:
            self._writer.add(_failed(key, error, association_id, self._target))


def _profiles(name: str, destination: Destination, settings: Settings) -> tuple[Profile, ...]:
    """What a rule said.

    Raises
    ------
    ConfigurationError
        The settings do not have it any more, its key cannot be used, or what it makes cannot be verified.
    """
    if destination.policy is TransferSyntaxPolicy.NEVER:
        raise ConfigurationError(
            f'{destination.name}: transfer_syntax_policy = "never" forbids any change, and a rule wants {name}: '
            "correct one of them"
        )
    found = profile(settings, name)
    if found.maps_uids and destination.verification.method is not VerificationMethod.NONE:
        raise ConfigurationError(
            f"{destination.name} is verified after sending, and would be asked for UIDs that the profile {name} has replaced: "
            'set verification = "none" there, or the option retain_uids'
        )
    return (found,)


def _outcome(answer: Answer, target: Target) -> DeliveryOutcome:
    return DeliveryOutcome(
        answer.key,
        _STATES[answer.outcome],
        status=answer.status,
        reason=reason_of(answer),
        association_id=answer.association_id,
        sent_bytes=answer.sent_bytes,
        duration_ms=round(answer.seconds * 1000),
        sent=replace(
            _sent(target, answer.words, answer.transfer_syntax_uid, answer.digest),
            http_status=answer.http_status,
            edits=answer.edits,
            sop_instance_uid=answer.sop_instance_uid,
        ),
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
        protocol="STOW-RS" if target.web is not None else "",
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
