"""What a chain says of each delivery: rows in, deliveries out. No I/O.

Whoever checks a report makes its deliveries anew from its evidence, and finds the ones that were changed; so nothing here
may depend on anything but the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from dicomrelay.ledger.evidence_chain import FactKind
from dicomrelay.ledger.evidence_check import EvidenceRow
from dicomrelay.ledger.values import DeliveryState

_PEER_HAS_IT = (DeliveryState.DELIVERED.value, DeliveryState.WARNING.value)
# Taken as done on a person's word, which is not the peer's.
CLOSED = "closed"
CANCELLED = "cancelled"
VERIFIED, MISSING = "verified", "missing"


@dataclass(slots=True)
class Instance:
    """An instance as its rows tell of it; times are epoch milliseconds, None when it did not happen."""

    study_instance_uid: str
    instance_id: str
    sop_instance_uid: str = ""
    sop_class_uid: str = ""
    transfer_syntax_uid: str = ""
    digest: str = ""
    source: str = ""
    received_at: int | None = None
    archived_at: int | None = None
    set_aside: bool = False


@dataclass(slots=True)
class Delivery:
    """One instance for one destination and job, as its rows tell of it.

    `digest` is of the data set that went out, `status` the response's, four hexadecimal digits; `evidence` is the number
    of the row that decided.
    """

    instance: Instance
    destination: str
    job_id: str
    state: str = DeliveryState.PENDING.value
    transfer_id: str = ""
    status: str = ""
    attempts: int = 0
    late_answers: int = 0
    association_id: str = ""
    bytes: int = 0
    transfer_syntax_uid: str = ""
    digest: str = ""
    calling_ae_title: str = ""
    called_ae_title: str = ""
    address: str = ""
    started_at: int | None = None
    ended_at: int | None = None
    verification: str = ""
    verified_at: int | None = None
    words: str = ""
    evidence: int = 0

    def as_json(self) -> dict[str, Any]:
        """As it stands in a report; the digest of what arrived beside that of what went out."""
        own = {name: getattr(self, name) for name in self.__slots__ if name != "instance"}
        instance = asdict(self.instance)
        arrived = {
            "received_digest": instance.pop("digest"),
            "received_transfer_syntax_uid": instance.pop("transfer_syntax_uid"),
        }
        return {**instance, **arrived, **own}


@dataclass(slots=True)
class Deliveries:
    """Follows the chains of one report, study by study.

    Parameters
    ----------
    job_id, transfer_id : str
        Only deliveries of this job or transfer; "" for all.
    """

    job_id: str = ""
    transfer_id: str = ""
    instances: dict[str, Instance] = field(default_factory=dict)
    found: dict[tuple[str, str, str], Delivery] = field(default_factory=dict)
    jobs: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def take(self, row: EvidenceRow) -> None:
        """One more row. What is in no row of a kind that matters here changes nothing."""
        facts = row.facts
        detail = facts.get("detail", {})
        instance_id = facts.get("instance_id", "")
        if row.kind == FactKind.REOPENED:
            self._reopen(facts.get("transfer_id", ""), row.number)
        if not instance_id:
            return
        instance = self._instance(row.study_instance_uid, instance_id, detail)
        if row.kind in (FactKind.RECEIVED, FactKind.SET_ASIDE):
            self._received(row, instance, facts.get("job_id", ""), detail)
        elif row.kind == FactKind.ARCHIVED:
            instance.archived_at = row.at
        elif destination := facts.get("destination", ""):
            for delivery in self._meant(instance, destination, facts):
                _apply(delivery, row, facts.get("transfer_id", ""), detail)

    def in_order(self) -> Iterator[Delivery]:
        """The deliveries; an instance that goes nowhere stands once, with destination and state "" or set_aside."""
        wanted = {
            key: delivery
            for key, delivery in self.found.items()
            if (not self.job_id or delivery.job_id == self.job_id)
            and (not self.transfer_id or delivery.transfer_id == self.transfer_id)
        }
        with_one = {key[0] for key in self.found}
        if not self.job_id and not self.transfer_id:
            for instance_id, instance in self.instances.items():
                if instance_id not in with_one:
                    state = "set_aside" if instance.set_aside else ""
                    wanted[instance_id, "", ""] = Delivery(instance, "", "", state=state)
        for key in sorted(wanted, key=lambda key: (wanted[key].instance.study_instance_uid, *key)):
            yield wanted[key]

    def _instance(self, study: str, instance_id: str, detail: dict[str, Any]) -> Instance:
        instance = self.instances.setdefault(instance_id, Instance(study, instance_id))
        instance.sop_instance_uid = instance.sop_instance_uid or detail.get("sop_instance_uid", "")
        return instance

    def _received(self, row: EvidenceRow, instance: Instance, job_id: str, detail: dict[str, Any]) -> None:
        if instance.received_at is None:
            instance.received_at = detail.get("received_at") or row.at
            instance.sop_class_uid = detail.get("sop_class_uid", "")
            instance.transfer_syntax_uid = detail.get("transfer_syntax_uid", "")
            instance.digest = detail.get("digest", "")
            instance.source = detail.get("calling_ae_title", "")
            instance.set_aside = row.kind == FactKind.SET_ASIDE
        if row.kind == FactKind.RECEIVED and not instance.set_aside:
            for name in filter(None, detail.get("destinations", "").split("\\")):
                self._delivery(instance, name, job_id)

    def _delivery(self, instance: Instance, destination: str, job_id: str) -> Delivery:
        key = instance.instance_id, destination, job_id
        if key not in self.found:
            self.found[key] = Delivery(instance, destination, job_id)
            self.jobs.setdefault((instance.instance_id, destination), []).append(job_id)
        return self.found[key]

    def _meant(self, instance: Instance, destination: str, facts: dict[str, Any]) -> list[Delivery]:
        """The delivery of that job; of a fact that names no job, all to that destination."""
        if "job_id" not in facts and "transfer_id" not in facts:
            own = self.jobs.get((instance.instance_id, destination), [""])
            return [self._delivery(instance, destination, job_id) for job_id in own]
        return [self._delivery(instance, destination, facts.get("job_id", ""))]

    def _reopen(self, transfer_id: str, number: int) -> None:
        for delivery in self.found.values():
            if delivery.transfer_id == transfer_id and delivery.state == DeliveryState.REFUSED.value:
                delivery.state, delivery.evidence = DeliveryState.PENDING.value, number


def _apply(delivery: Delivery, row: EvidenceRow, transfer_id: str, detail: dict[str, Any]) -> None:
    kind = row.kind
    if kind == FactKind.SENT:
        _sent(delivery, row, transfer_id, detail)
    elif kind == FactKind.SENT_LATE:
        delivery.late_answers += 1
    elif kind in (FactKind.VERIFIED, FactKind.MISSING):
        delivery.verification = VERIFIED if kind == FactKind.VERIFIED else MISSING
        delivery.verified_at = row.at
        if kind == FactKind.MISSING and delivery.state in _PEER_HAS_IT:
            delivery.state = MISSING
    elif kind == FactKind.CANCELLED and delivery.state not in _PEER_HAS_IT:
        delivery.state, delivery.evidence = CANCELLED, row.number
    elif kind == FactKind.CLOSED and delivery.state not in _PEER_HAS_IT:
        delivery.state, delivery.evidence = CLOSED, row.number
        delivery.words = detail.get("words", "")


def _sent(delivery: Delivery, row: EvidenceRow, transfer_id: str, detail: dict[str, Any]) -> None:
    delivery.attempts += 1
    state = detail.get("state", "")
    if delivery.state in _PEER_HAS_IT and state not in _PEER_HAS_IT:
        return
    if delivery.verification == MISSING:
        delivery.verification, delivery.verified_at = "", None
    status = detail.get("status")
    delivery.state, delivery.transfer_id, delivery.evidence = state, transfer_id, row.number
    delivery.status = "" if status is None else f"{status:04X}"
    delivery.bytes = detail.get("bytes", 0)
    delivery.started_at, delivery.ended_at = detail.get("started_at"), detail.get("ended_at")
    for name in (
        "association_id",
        "transfer_syntax_uid",
        "digest",
        "calling_ae_title",
        "called_ae_title",
        "address",
        "words",
    ):
        setattr(delivery, name, detail.get(name, ""))
