"""What goes into and comes out of verification after sending (docs/design/verification.md). No SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from dicomrelay.ledger.values import DestinationInfo


class VerificationState(StrEnum):
    """States of a verification."""

    READY = "ready"  # to be asked when it is due
    ASKING = "asking"  # leased
    ASKED = "asked"  # the report is to come
    VERIFIED = "verified"  # all there
    MISSING = "missing"  # what was missing is sent again
    SUPERSEDED = "superseded"  # asked anew, in another transaction
    CANCELLED = "cancelled"  # nobody wants to know any more
    NEEDS_ATTENTION = "needs_attention"

    @property
    def is_open(self) -> bool:
        """Whether it goes on by itself."""
        return self in (VerificationState.READY, VerificationState.ASKING, VerificationState.ASKED)


class Verified(StrEnum):
    """`deliveries.verification`."""

    NOT_ASKED = ""
    PENDING = "pending"
    VERIFIED = "verified"
    MISSING = "missing"  # and not sent again: somebody has to look
    UNKNOWN = "unknown"  # and not asked again: somebody has to look


class Finding(StrEnum):
    """What an answer says of one instance."""

    THERE = "there"
    GONE = "gone"  # send it again
    DOUBT = "doubt"  # ask again
    HOPELESS = "hopeless"  # neither would help


@dataclass(frozen=True, slots=True)
class Found:
    """A finding, in words of ours and with the peer's Failure Reason (0008,1197) where it gave one."""

    finding: Finding
    words: str = ""
    failure_reason: int | None = None
    advice: str = ""


@dataclass(frozen=True, slots=True)
class VerificationRules:
    """How often, and when.

    Attributes
    ----------
    attempts : int
        Answers in a row that may settle nothing, 1 or more.
    resends : int
        How often what is missing is sent again.
    again_in_ms : int
        When to ask again after an answer that settles nothing.
    """

    attempts: int = 5
    resends: int = 2
    again_in_ms: int = 60_000


@dataclass(frozen=True, slots=True)
class Reference:
    """A delivery that is to be verified."""

    instance_id: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True, slots=True)
class DueVerification:
    """A verification to wake up."""

    id: str
    destination: str


@dataclass(frozen=True, slots=True)
class ClaimedVerification:
    """A verification under lease.

    Attributes
    ----------
    attempt, doubts : int
        How often it was claimed, this time too; answers in a row that settled nothing.
    transaction_uid : str
        Of the request that is to be made; known to the ledger already. "" where none is made.
    trial : bool
        The destination's breaker is open, and this is its trial: the breaker waits to hear what came of it.
    """

    id: str
    fence: int
    transfer_id: str
    destination: str
    address: DestinationInfo
    study_instance_uid: str
    method: str
    attempt: int
    doubts: int
    transaction_uid: str
    references: tuple[Reference, ...]
    trial: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """What an answer changed, in instances."""

    state: VerificationState
    there: int = 0
    sent_again: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class KnownTransaction:
    """A storage commitment transaction that we made; `doubts` as of `ClaimedVerification`."""

    destination: str
    doubts: int


@dataclass(frozen=True, slots=True)
class Unverified:
    """Verifications of a destination that are not over: how many are to be asked, await a report, need attention."""

    destination: str
    to_ask: int
    awaiting_report: int
    need_attention: int
    oldest_ms: int  # epoch milliseconds, when the oldest of them was made


Findings = Mapping[str, Found]
