"""What goes into the ledger and what comes out: frozen values, no SQL.

Times are epoch milliseconds by the database's clock. Ids of instances, transfers and claims are opaque strings. The
path in the archive begins with the patient id; nothing else here is an attribute of a patient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum

from dicomrelay.ledger.values_decisions import Decided, Terms
from dicomrelay.ledger.values_evidence import SentFacts


class Priority(StrEnum):
    """Which forward queue a transfer takes; the most urgent first."""

    URGENT = "urgent"
    NORMAL = "normal"
    BULK = "bulk"


class Verdict(StrEnum):
    """What an arrival is to the ledger, and so what becomes of its spool item."""

    NEW = "new"  # the spool item is the instance's file from now on: settle it
    DUPLICATE = "duplicate"  # same SOP Instance UID, same bytes: we have them, the spool item may go
    CONFLICT = "conflict"  # same SOP Instance UID, other bytes: set the spool item aside
    KNOWN = "known"  # this spool item is in the ledger already: settle it, nothing was written


class InstanceState(StrEnum):
    """Whether an instance is the one that counts for its SOP Instance UID."""

    KEPT = "kept"
    SET_ASIDE = "set_aside"


class TransferState(StrEnum):
    """States of a transfer (docs/design/ledger.md draws them)."""

    READY = "ready"
    RUNNING = "running"  # leased
    WAITING = "waiting"  # for the time of its next attempt
    DONE = "done"
    NEEDS_ATTENTION = "needs_attention"
    HELD = "held"  # on somebody's word, until it is released
    CANCELLED = "cancelled"  # on somebody's word, for good


class DeliveryState(StrEnum):
    """States of one instance for one destination."""

    PENDING = "pending"
    DELIVERED = "delivered"
    WARNING = "warning"  # delivered; the peer had a remark (Bxxx)
    FAILED = "failed"  # worth another attempt
    REFUSED = "refused"  # the peer will refuse the same bytes again: needs attention
    CANCELLED = "cancelled"  # on somebody's word, for good

    @property
    def is_delivered(self) -> bool:
        """Whether the peer has it."""
        return self in (DeliveryState.DELIVERED, DeliveryState.WARNING)

    @property
    def is_final(self) -> bool:
        """Whether another attempt of the same transfer leaves it alone."""
        return self.is_delivered or self in (DeliveryState.REFUSED, DeliveryState.CANCELLED)


class Stage(StrEnum):
    """Work on an instance inside the house."""

    ARCHIVE = "archive"
    FRAMES = "frames"


class StageState(StrEnum):
    """States of a stage of an instance."""

    PENDING = "pending"
    DONE = "done"
    NEEDS_ATTENTION = "needs_attention"


class DestinationKind(StrEnum):
    """Where a destination's address is from."""

    CONFIGURED = "configured"  # [[destinations]] of the settings
    WEB = "web"  # of the settings too; what is known of it here does not make a URL
    AD_HOC = "ad_hoc"  # AET@host:port of one job
    UNKNOWN = "unknown"  # named by an arrival, described by nobody yet


class AttentionKind(Enum):
    """Why a person has to look."""

    CONFLICT = "conflict"  # set aside: same SOP Instance UID, other bytes
    REFUSED = "refused"  # a destination will not take it
    GAVE_UP = "gave_up"  # the attempts are used up
    SUSPECT = "suspect"  # associations ended while it was sent, again and again; it is tried again by itself, last and alone
    BLOCKED = "blocked"  # no attempt can succeed until somebody mends something; it is tried again by itself, seldom
    ARCHIVE = "archive"  # could not be archived
    FRAMES = "frames"  # frames could not be prepared
    UNROUTED = "unrouted"  # no destination and no archive wanted it
    UNVERIFIED = "unverified"  # a destination acknowledged it and does not confirm that it has it


@dataclass(frozen=True, slots=True)
class DestinationInfo:
    """A destination as the ledger knows it; `associations` is how many transfers may run at once."""

    name: str
    ae_title: str
    host: str
    port: int
    kind: DestinationKind = DestinationKind.CONFIGURED
    associations: int = 2
    calling_ae_title: str = ""
    verification: str = "none"  # how it is asked afterwards: none, commitment, find


@dataclass(frozen=True, slots=True)
class Arrival:
    """A spool record, which spool it is in (`host`), and what was decided for it.

    `destinations` are names; `job_id` is "" for what rules decided, else deliveries belong to that job. `rules` are the
    positions of those that matched, from 0, and `rules_version` which rules that were.
    """

    spool_id: str
    host: str
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    modality: str
    data_set_offset: int
    data_set_bytes: int
    digest: str
    calling_ae_title: str = ""
    called_ae_title: str = ""
    peer_address: str = ""
    association_id: str = ""
    received_at_ms: int = 0
    source_path: str = ""
    destinations: tuple[str, ...] = ()
    priority: Priority = Priority.NORMAL
    archive: bool = True
    job_id: str = ""
    rules: str = ""
    rules_version: str = ""
    aside: bool = (
        False  # known to be other bytes under a UID that is taken: in aside/, or by the archive's word
    )
    quiet_ms: int | None = None  # of its source; None for that of all studies
    count_at: str = ""  # whom to ask how many instances its study has
    protocol: str = ""  # how it came, where that was not DIMSE
    user: str = ""  # who brought it over that
    terms: Mapping[str, Terms] = field(
        default_factory=dict
    )  # how it goes to a destination, where a rule says so
    decided: Decided | None = None  # by the rules; None for a person's word
    undecided: bool = False  # rules of series or studies are to be asked yet


@dataclass(frozen=True, slots=True)
class Registered:
    """What became of an arrival. `kept_spool_id` is the spool item that holds the instance's bytes."""

    spool_id: str
    verdict: Verdict
    instance_id: str
    kept_spool_id: str


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """What a worker needs of an instance: where its bytes are and what they are.

    `archive_path` is relative to the archive ("" until archived), `source_path` a file that is read where it lies.
    """

    instance_id: str
    spool_id: str
    host: str
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    modality: str
    digest: str
    data_set_offset: int
    data_set_bytes: int
    archive_path: str
    source_path: str
    released: bool  # the spool item is gone


@dataclass(frozen=True, slots=True)
class DueTransfer:
    """A transfer to wake up."""

    id: str
    priority: Priority
    destination: str


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done now. The three counts stop at the limit that was asked for."""

    transfers: tuple[DueTransfer, ...]
    archive_pending: int
    frames_pending: int
    releasable: int


@dataclass(frozen=True, slots=True)
class PendingDelivery:
    """An instance that a claimed transfer has yet to deliver; `attempts` made so far.

    `suspect` when an association ended in the last attempt while it was under way. `edits` is the profile of [[edits]] by
    which what goes out is changed; "" for the bytes that arrived.
    """

    instance: InstanceFacts
    attempts: int
    suspect: bool = False
    edits: str = ""


@dataclass(frozen=True, slots=True)
class ClaimedTransfer:
    """A transfer under lease. `attempt` counts from 1; `address` is the destination's row.

    `trial` when the destination's breaker is half open: ask by C-ECHO first; `in_trouble` when its last contact failed; `host` is
    the claimer's where several hosts are at the ledger, else "".
    """

    id: str
    fence: int
    destination: str
    address: DestinationInfo
    study_instance_uid: str
    priority: Priority
    job_id: str
    attempt: int
    deliveries: tuple[PendingDelivery, ...]
    trial: bool = False
    in_trouble: bool = False
    host: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """What came of sending one instance; `state` is anything but PENDING, `status` None without a response."""

    instance_id: str
    state: DeliveryState
    status: int | None = None
    reason: str = ""
    association_id: str = ""
    sent_bytes: int = 0
    duration_ms: int = 0
    sent: SentFacts | None = None  # for the evidence


@dataclass(frozen=True, slots=True)
class StageItem:
    """An instance of a stage claim; `attempt` counts from 1."""

    instance: InstanceFacts
    attempt: int


@dataclass(frozen=True, slots=True)
class StageClaim:
    """Instances under lease for one stage; `id` is the fence."""

    id: str
    stage: Stage
    owner: str
    items: tuple[StageItem, ...]


@dataclass(frozen=True, slots=True)
class StageResult:
    """What came of one instance: done with its facts, or failed with a reason.

    Parameters
    ----------
    archive_path : str
        Stage.ARCHIVE, done: where it is, relative to the archive.
    frames : int
        Stage.FRAMES, done: how many frames can be addressed; 0 where there are none.
    retry_in_ms : int, optional
        Failed: when to try again; None means that it needs attention.
    """

    instance_id: str
    done: bool
    archive_path: str = ""
    frames: int = 0
    reason: str = ""
    retry_in_ms: int | None = None


@dataclass(frozen=True, slots=True)
class DestinationSummary:
    """Deliveries of a study or a job to one destination, by state."""

    destination: str
    pending: int = 0
    delivered: int = 0  # warnings too
    warnings: int = 0
    failed: int = 0  # to be tried again
    refused: int = 0
    gave_up: int = 0  # pending or failed, and the transfer needs attention
    held: int = 0  # pending or failed, and the transfer is held
    cancelled: int = 0
    bytes: int = 0
    delivered_bytes: int = 0


@dataclass(frozen=True, slots=True)
class StudySummary:
    """A study as a whole. `frames` counts frames, `framed` the instances whose frames were prepared."""

    study_instance_uid: str
    first_received_at_ms: int
    last_received_at_ms: int
    instances: int
    set_aside: int
    series: int
    bytes: int
    archived: int
    framed: int
    frames: int
    destinations: tuple[DestinationSummary, ...] = ()


@dataclass(frozen=True, slots=True)
class JobInstance:
    """One delivery of a job, for its summary; `destination` is "" where nothing is to be sent."""

    spool_id: str
    sop_instance_uid: str
    study_instance_uid: str
    destination: str
    state: DeliveryState | None
    verdict: Verdict
    status: int | None
    reason: str
    bytes: int
    attempts: int
    duration_ms: int
    gave_up: bool = False  # will not be tried again by itself
    held: bool = False  # goes on when somebody releases it
    set_aside: bool = False  # its bytes are not the ones that count for its SOP Instance UID
    archive_problem: str = ""  # why the archive did not take it


@dataclass(frozen=True, slots=True)
class Waiting:
    """Transfers to one destination that failed and will be tried again.

    `attempts` is the least that any has had, `reason` the last words of one, `due_in_ms` when the next is tried.
    """

    destination: str
    transfers: int
    instances: int
    attempts: int
    reason: str
    due_in_ms: int


@dataclass(frozen=True, slots=True)
class WaitingStage:
    """Instances of which a stage failed and will be tried again; the fields are those of `Waiting`."""

    stage: Stage
    instances: int
    attempts: int
    reason: str
    due_in_ms: int


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is; `expected` is how many spool items were submitted."""

    job_id: str
    kind: str
    created_at_ms: int
    expected: int
    registered: int
    verdicts: dict[Verdict, int]
    destinations: tuple[DestinationSummary, ...]
    archived: int
    studies: tuple[StudySummary, ...] = ()
    instances: tuple[JobInstance, ...] = field(default=())
    active: int = 0  # deliveries and transfers that are under way by themselves
    waiting: tuple[Waiting, ...] = ()
    undecided: int = 0  # studies of which rules are to be asked yet

    @property
    def delivered(self) -> int:
        """Deliveries that a peer acknowledged."""
        return sum(row.delivered for row in self.destinations)

    @property
    def failed(self) -> int:
        """Deliveries that need attention or were cancelled, and instances that were set aside."""
        lost = sum(row.refused + row.gave_up + row.cancelled for row in self.destinations)
        return lost + self.verdicts.get(Verdict.CONFLICT, 0)

    @property
    def open(self) -> int:
        """Deliveries that will still be tried, by themselves or when they are released."""
        return sum(row.pending + row.failed + row.held for row in self.destinations)

    @property
    def held(self) -> int:
        """Deliveries that wait for somebody to release them."""
        return sum(row.held for row in self.destinations)

    @property
    def finished(self) -> bool:
        """Whether all that was submitted is in the ledger and no delivery will be tried again by itself."""
        return self.registered >= self.expected and self.open == 0 and self.undecided == 0


@dataclass(frozen=True, slots=True)
class Attention:
    """Something that will not get better by itself; `advice` is what to do, where that is known."""

    kind: AttentionKind
    instance_id: str
    spool_id: str
    sop_instance_uid: str
    study_instance_uid: str
    since_ms: int
    destination: str = ""
    transfer_id: str = ""
    status: int | None = None
    reason: str = ""
    advice: str = ""
