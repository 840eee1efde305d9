"""What an entry of the audit says, as values."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Any, Final

# What came over the wire is cut: a user name that failed, a reason.
LONGEST_TEXT: Final = 256
MOST_THINGS: Final = 100


class Kind(StrEnum):
    """Kinds of entries (docs/design/audit.md)."""

    START = "start"
    STOP = "stop"
    BEGIN = "begin"
    TRANSFERRED = "transferred"
    ACCESSED = "accessed"
    EXPORTED = "exported"
    IMPORTED = "imported"
    DELETED = "deleted"
    QUERY = "query"
    LOGIN = "login"
    REFUSED = "refused"
    ACTION = "action"
    AUDIT_USED = "audit_used"


class Outcome(Enum):
    """How it went: the word of the trail, and EventOutcomeIndicator (PS3.15 Section A.5.1)."""

    BEGUN = "begun", 0
    SUCCESS = "success", 0
    MINOR = "minor_failure", 4
    SERIOUS = "serious_failure", 8
    MAJOR = "major_failure", 12

    def __init__(self, word: str, indicator: int) -> None:
        self.word = word
        self.indicator = indicator

    @classmethod
    def of(cls, word: str) -> Outcome:
        """By its word. Raises ValueError for none."""
        for outcome in cls:
            if outcome.word == word:
                return outcome
        raise ValueError(word)


@dataclass(frozen=True, slots=True)
class Party:
    """A person or a process that took part.

    Attributes
    ----------
    id : str
        An AE title, a user's name, an account of the machine.
    address : str
        Where it came from or was; "" when that is here.
    ae_titles : str
        Its AE titles, where the id is something else.
    role : str
        Of a user, what it may.
    """

    id: str
    address: str = ""
    ae_titles: str = ""
    role: str = ""


@dataclass(frozen=True, slots=True)
class Thing:
    """What it was about.

    Attributes
    ----------
    kind : str
        "study", "sop_class", or a word of ours such as "job", "user".
    id : str
        The UID, or the name.
    instances : mapping
        Of a study: SOP Class UID → how many.
    """

    kind: str
    id: str
    instances: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened.

    Attributes
    ----------
    what : str
        In a word: "jobs.hold", "association", "gateway".
    actor : Party
        Who did it, or sent.
    other : Party, optional
        Who received, or was asked; of what was exported or imported the kind of the media.
    by_us : bool
        Whether the actor is this system: it sends, or answers.
    words : str
        A reason, for people; no value of a data set.
    """

    kind: Kind
    what: str
    actor: Party
    other: Party | None = None
    by_us: bool = False
    outcome: Outcome = Outcome.SUCCESS
    words: str = ""
    things: tuple[Thing, ...] = ()
    facts: Mapping[str, str | int] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


def as_json(entry: Entry) -> dict[str, Any]:
    """A line of the trail."""
    found: dict[str, Any] = {
        "id": entry.id,
        "at": entry.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "kind": entry.kind.value,
        "what": entry.what,
        "outcome": entry.outcome.word,
        "who": _party(entry.actor),
    }
    if entry.other is not None:
        found["with"] = _party(entry.other)
    if entry.by_us:
        found["by_us"] = True
    if entry.words:
        found["words"] = cut(entry.words)
    if entry.things:
        found["about"] = [_thing(thing) for thing in entry.things[:MOST_THINGS]]
    if len(entry.things) > MOST_THINGS:
        found["more"] = len(entry.things) - MOST_THINGS
    if entry.facts:
        found["facts"] = {
            key: cut(value) if isinstance(value, str) else value for key, value in entry.facts.items()
        }
    return found


def from_json(found: Mapping[str, Any]) -> Entry:
    """An entry from its line.

    Raises
    ------
    ValueError
        It is none.
    """
    try:
        other = found.get("with")
        return Entry(
            Kind(found["kind"]),
            found["what"],
            Party(**found["who"]),
            Party(**other) if other else None,
            bool(found.get("by_us", False)),
            Outcome.of(found["outcome"]),
            found.get("words", ""),
            tuple(Thing(**thing) for thing in found.get("about", ())),
            found.get("facts", {}),
            datetime.fromisoformat(found["at"]),
            found["id"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no entry of the audit: {type(error).__name__}") from None


def cut(text: str) -> str:
    """Text of bounded length, in one line."""
    plain = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:LONGEST_TEXT]
    )
    return plain + "…" if len(text) > LONGEST_TEXT else plain


def _party(party: Party) -> dict[str, str]:
    named = (
        ("id", party.id),
        ("address", party.address),
        ("ae_titles", party.ae_titles),
        ("role", party.role),
    )
    return {name: cut(value) for name, value in named if value or name == "id"}


def _thing(thing: Thing) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": thing.kind, "id": cut(thing.id)}
    if thing.instances:
        found["instances"] = dict(thing.instances)
    return found
