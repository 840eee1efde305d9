"""What a person asks of deliveries, and what came of it; docs/design/operations.md says what each verb does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from dicomrelay.ledger.values import DeliveryState, Priority, TransferState


class SubjectKind(StrEnum):
    """What an id stands for."""

    JOB = "job"
    TRANSFER = "transfer"
    STUDY = "study"
    ALL = "all"  # every transfer that is open


class Verb(StrEnum):
    """What is done to the transfers of a subject."""

    RETRY = "retry"
    HOLD = "hold"
    RELEASE = "release"
    CANCEL = "cancel"


class OrderKind(StrEnum):
    """What is said of a job or a study for good, until it is released."""

    HOLD = "hold"
    CANCEL = "cancel"
    GO = "go"  # this destination, where an order for all of them is in force


@dataclass(frozen=True, slots=True)
class Subject:
    """What a verb is about; `id` is "" for ALL."""

    kind: SubjectKind
    id: str = ""

    @property
    def takes_orders(self) -> bool:
        """Whether something may join it later."""
        return self.kind in (SubjectKind.JOB, SubjectKind.STUDY)


EVERYTHING = Subject(SubjectKind.ALL)


@dataclass(frozen=True, slots=True)
class StandingOrder:
    """An order in force; `destination` "" means every one."""

    subject: str
    destination: str
    kind: OrderKind
    at_ms: int


@dataclass(frozen=True, slots=True)
class Change:
    """A transfer whose state a verb changed."""

    transfer_id: str
    study_instance_uid: str
    destination: str
    job_id: str
    before: TransferState
    after: TransferState
    instances: int


@dataclass(frozen=True, slots=True)
class Changed:
    """What a verb did.

    `unchanged` counts the transfers that it left, by their state; `ungrouped` the deliveries that have no transfer yet;
    `stages` the instances whose archiving or frames are tried again, `verifications` those whose destination is asked
    again or sent them again; `orders` what is in force for the subject now, `lifted` what no longer is.
    `held_by` names other subjects whose hold keeps something of this one.
    """

    verb: Verb
    subject: Subject
    destination: str
    changes: tuple[Change, ...] = ()
    unchanged: Mapping[TransferState, int] = field(default_factory=dict)
    ungrouped: int = 0
    stages: int = 0
    verifications: int = 0
    orders: tuple[StandingOrder, ...] = ()
    lifted: tuple[StandingOrder, ...] = ()
    held_by: tuple[str, ...] = ()

    @property
    def instances(self) -> int:
        """Of the transfers that were changed."""
        return sum(change.instances for change in self.changes)


@dataclass(frozen=True, slots=True)
class ReplayOrder:
    """What is to be sent again.

    Parameters
    ----------
    job_id : str
        Of the new job.
    destinations : tuple of str
        Names that the ledger knows; empty for those that the subject had.
    sop_instance_uids : frozenset of str
        These only; empty for all.
    again : bool
        What was delivered already too.
    """

    job_id: str
    subject: Subject
    destinations: tuple[str, ...] = ()
    sop_instance_uids: frozenset[str] = frozenset()
    priority: Priority = Priority.NORMAL
    again: bool = False


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay queued and what it left out, in deliveries; `gone` and `unknown` are SOP Instance UIDs."""

    job_id: str
    destinations: tuple[str, ...]
    queued: int = 0
    bytes: int = 0
    delivered_before: int = 0
    open: int = 0
    gone: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoppedDestination:
    """A destination that nothing is sent to at present: somebody holds it, or its breaker is not closed."""

    name: str
    breaker: str
    held_for_ms: int | None
    probe_in_ms: int | None
    last_error: str


@dataclass(frozen=True, slots=True)
class TransferRow:
    """A transfer for people; `due_in_ms` None where nothing is to come by itself."""

    id: str
    study_instance_uid: str
    destination: str
    priority: Priority
    job_id: str
    state: TransferState
    attempt: int
    instances: int
    bytes: int
    due_in_ms: int | None
    reason: str
    advice: str
    created_at_ms: int
    finished_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why deliveries were refused or failed, and how many that are alike."""

    destination: str
    state: DeliveryState
    status: int | None
    reason: str
    instances: int


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job for people: what was submitted together, or what came of one study over the network (kind "study").

    `transfers` counts by their state, `delivery_states` deliveries by how they stand (the names of `DestinationSummary`);
    `ungrouped` deliveries have no transfer yet. `moving` are the destinations of transfers that are ready or wait.
    """

    id: str
    kind: str
    at_ms: int
    transfers: Mapping[TransferState, int]
    delivery_states: Mapping[str, int]
    ungrouped: int
    destinations: tuple[str, ...]
    moving: tuple[str, ...]
    next_due_in_ms: int | None
    reason: str
    advice: str
    orders: tuple[StandingOrder, ...] = ()

    @property
    def state(self) -> str:
        """The most pressing of its transfers' states; `arriving` while there is none yet."""
        for state in _PRESSING:
            if self.transfers.get(state):
                return state.value
        return "arriving" if self.ungrouped else TransferState.DONE.value


_PRESSING = (
    TransferState.NEEDS_ATTENTION,
    TransferState.RUNNING,
    TransferState.WAITING,
    TransferState.READY,
    TransferState.HELD,
    TransferState.CANCELLED,
)
