"""What rules decided, as the ledger keeps it: frozen values, no SQL (docs/design/rules.md)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dicomrelay.ledger.values import InstanceFacts


class Level(StrEnum):
    """What a decision is about."""

    INSTANCE = "instance"
    SERIES = "series"
    STUDY = "study"


@dataclass(frozen=True, slots=True)
class Terms:
    """How a delivery is made: the profile of [[edits]], "" for none; epoch milliseconds before which it does not begin."""

    edits: str = ""
    not_before_ms: int = 0


PLAIN: Final = Terms()


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision: positions of the rules that matched, what was asked and what came of it, both as JSON.

    `body` and `origin` are of the version, for a ledger that does not know it; "" of what was read from one.
    """

    version: str
    rules: str
    inputs: str
    outcome: str
    body: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """A decision as it is kept. `subject` is the id of an instance, or the UID of a series or a study."""

    number: int
    at: int
    level: Level
    subject: str
    study_instance_uid: str
    job_id: str
    decided: Decided


@dataclass(frozen=True, slots=True)
class InstanceDecision:
    """The last decision about an instance, with the instance and where it came from."""

    facts: InstanceFacts
    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    row: DecisionRow


@dataclass(frozen=True, slots=True)
class LaterDecision:
    """What the rules of series or studies say of some instances of a study.

    `members` are ids of instances, each with the destinations that it is to have, and how.
    """

    level: Level
    subject: str
    decided: Decided
    members: dict[str, dict[str, Terms]]
    priority: str


@dataclass(frozen=True, slots=True)
class RuleVersion:
    """A version of the rules: its text, where it was read from, since when, and how much it decided and when last."""

    version: str
    body: str
    origin: str
    first_at: int
    decisions: int = 0
    last_at: int | None = None


@dataclass(frozen=True, slots=True)
class Activation:
    """Somebody put rules in force: how many decisions of how many would have been others."""

    at: int
    version: str
    previous: str
    changed: int
    decisions: int
    forced: bool
