"""Values of pulls: what goes into the ledger and comes out of it (docs/design/pulls.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from dicomrelay.ledger.values import DestinationInfo, Priority


class PullState(StrEnum):
    """Where a pull stands."""

    ASKING = "asking"
    FETCHING = "fetching"
    COMPLETE = "complete"
    PARTIAL = "partial"  # over, and something of it is not here
    FAILED = "failed"  # its question was never answered
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens by itself."""
        return self not in (PullState.ASKING, PullState.FETCHING)


class StepState(StrEnum):
    """Where a step stands."""

    READY = "ready"  # now, or when `due_at` says
    RUNNING = "running"
    DONE = "done"
    GIVEN_UP = "given_up"
    CANCELLED = "cancelled"


class StepKind(StrEnum):
    """What a step does."""

    ASK = "ask"
    FETCH = "fetch"


class PullKind(StrEnum):
    """Why there is a pull."""

    ASKED = "asked"  # by a person
    POLL = "poll"
    PRIORS = "priors"


class Retrieval(StrEnum):
    """How instances come here."""

    MOVE = "move"
    GET = "get"


class Proof(StrEnum):
    """How it is known that a step is done, best first."""

    UIDS = "uids"
    COUNTS = "counts"
    WORD = "word"


@dataclass(frozen=True, slots=True)
class PriorsRule:
    """Which studies of a patient are relevant.

    Attributes
    ----------
    study_instance_uid : str
        What they are priors of: never one of them.
    patient_id, issuer : str
        Whose; `issuer` "" when nobody says.
    modality, body_part : str
        To be shared; "" for any.
    newest : int
        So many at most, 1 or more.
    since : str
        No older than this day, YYYYMMDD; "" for any age.
    """

    study_instance_uid: str
    patient_id: str
    issuer: str = ""
    modality: str = ""
    body_part: str = ""
    newest: int = 3
    since: str = ""


@dataclass(frozen=True, slots=True)
class PullPolicy:
    """How a pull goes about it; kept with it, so that later settings change nothing of it.

    Attributes
    ----------
    level : str
        STUDY or SERIES: what a step fetches.
    associations : int
        Steps of its source at once.
    limit : int
        Answers to its question.
    attempts : int
        Rounds that bring nothing new, before a step is given up.
    windows : tuple of str
        When it may begin a step, as settings.windows writes them; none: always.
    """

    level: str = "STUDY"
    retrieval: Retrieval = Retrieval.MOVE
    associations: int = 1
    limit: int = 10_000
    attempts: int = 5
    windows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewPull:
    """A pull to be.

    Attributes
    ----------
    name : str
        Its entry of [[pulls]], or "".
    source : DestinationInfo
        Written if the ledger does not know it yet.
    question : tuple of str
        Keys as `dimse.query_keys` reads them.
    only_once : str
        Two pulls never have the same, but for "".
    """

    kind: PullKind
    source: DestinationInfo
    question: tuple[str, ...]
    policy: PullPolicy = field(default_factory=PullPolicy)
    name: str = ""
    priority: Priority = Priority.NORMAL
    priors: PriorsRule | None = None
    only_once: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """A study, or a series, that a source named.

    Attributes
    ----------
    announced : int, optional
        How many instances the source counts in it.
    is_here : bool
        So many are here already: nothing to fetch.
    """

    study_instance_uid: str
    series_instance_uid: str = ""
    announced: int | None = None
    is_here: bool = False


@dataclass(frozen=True, slots=True)
class DueStep:
    """A step that can be claimed now."""

    id: str
    source: str


@dataclass(frozen=True, slots=True)
class ClaimedStep:
    """A step under lease.

    Attributes
    ----------
    attempt : int
        Of this step, from 1.
    rounds : int
        Retrievals so far that brought nothing new.
    since_ms : int
        When the pull was ordered: what came since counts as come.
    question : tuple of str
        Of step 0; empty for the others.
    in_trouble : bool
        The last contact with the source failed, or its breaker lets this one through to try.
    """

    id: str
    fence: int
    pull_id: str
    name: str
    kind: StepKind
    source: str
    address: DestinationInfo
    study_instance_uid: str
    series_instance_uid: str
    announced: int | None
    attempt: int
    rounds: int
    since_ms: int
    policy: PullPolicy
    question: tuple[str, ...] = ()
    priors: PriorsRule | None = None
    in_trouble: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """An instance that the source announced and that did not come."""

    series_instance_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """How a step stands after an attempt.

    Attributes
    ----------
    announced : int, optional
        None when the source does not say.
    here : int
        Of those, how many are here now.
    missing : tuple of Missing
        Those that are known by UID; `announced - here` counts them all.
    """

    announced: int | None = None
    here: int = 0
    missing: tuple[Missing, ...] = ()
    proof: Proof | None = None


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step, to be shown."""

    id: str
    number: int
    kind: StepKind
    state: StepState
    study_instance_uid: str
    series_instance_uid: str
    announced: int | None
    here: int
    missing: int
    proof: str
    attempt: int
    due_in_ms: int | None
    reason: str
    advice: str


@dataclass(frozen=True, slots=True)
class PullRow:
    """A pull, to be shown.

    Attributes
    ----------
    asked_for : str
        The names of its keys; never their values.
    steps : mapping of str to int
        Studies, or series, by state.
    announced, here : int
        Instances of all steps whose source counts them; and of these, those that are here.
    uncounted : int
        Steps that are open and whose instances nobody has counted.
    eta_ms : int, optional
        How long it will take at the speed so far.
    """

    id: str
    name: str
    kind: PullKind
    state: PullState
    source: str
    level: str
    retrieval: Retrieval
    priority: Priority
    asked_for: str
    of_study: str
    truncated: bool
    age_ms: int
    took_ms: int | None
    steps: Mapping[str, int]
    announced: int
    here: int
    missing: int
    uncounted: int
    next_due_in_ms: int | None
    reason: str
    advice: str
    eta_ms: int | None = None


@dataclass(frozen=True, slots=True)
class PollState:
    """What is known of a poll.

    Attributes
    ----------
    due_in_ms : int
        0 or less: now.
    known_until_ms : int, optional
        Epoch milliseconds: what the source had then was listed; None at first.
    is_open : bool
        Its last pull is not over.
    """

    name: str
    due_in_ms: int
    known_until_ms: int | None
    is_open: bool
