"""What other rules would have decided: two outcomes of the same instances, held against each other. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from dicomrelay.ledger.values_decisions import DecisionRow, InstanceDecision
from dicomrelay.routing.facts import Facts, NotRecorded
from dicomrelay.routing.recording import asks_for_more, decided_at, outcome, read, stored_facts
from dicomrelay.routing.rules import Member, RuleSet

# The facts of an instance with what its bytes say, for these rules; None where its bytes are gone.
Reader: TypeAlias = Callable[[InstanceDecision, RuleSet, Facts], Facts | None]
_FEW = 1000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an instance by all rules together."""

    destinations: Mapping[str, tuple[str, int, str]]  # profile of edits, when it may begin, priority
    archive: bool | None = None
    renditions: frozenset[str] = frozenset()
    prefetch: frozenset[str] = frozenset()

    def goes_nowhere(self, *, archived: bool) -> bool:
        """Whether no destination and no archive gets it; `archived` by the settings."""
        return not self.destinations and not (archived if self.archive is None else self.archive)

    def differs(self, other: Outcome) -> list[str]:
        """In what: destinations, edits, times, priority, archive, renditions, prefetch."""
        mine, theirs = self.destinations, other.destinations
        both = mine.keys() & theirs.keys()
        told = (
            ("destinations", mine.keys() != theirs.keys()),
            ("edits", any(mine[name][0] != theirs[name][0] for name in both)),
            ("times", any(mine[name][1] != theirs[name][1] for name in both)),
            ("priority", any(mine[name][2] != theirs[name][2] for name in both)),
            ("archive", self.archive != other.archive),
            ("renditions", self.renditions != other.renditions),
            ("prefetch", self.prefetch != other.prefetch),
        )
        return [name for name, differs in told if differs]


@dataclass(frozen=True, slots=True)
class Change:
    """An instance that other rules would have treated otherwise."""

    study_instance_uid: str
    sop_instance_uid: str
    what: tuple[str, ...]
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    nowhere: bool


@dataclass(slots=True)
class Replay:
    """What was found so far; `changes` are the first thousand."""

    decisions: int = 0
    changed: int = 0
    unknown: int = 0
    nowhere: int = 0
    studies: int = 0
    changed_studies: set[str] = field(default_factory=set)
    what: Counter[str] = field(default_factory=Counter)
    gained: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    asked_for: Counter[str] = field(default_factory=Counter)
    changes: list[Change] = field(default_factory=list)

    @property
    def percent(self) -> float:
        """Of the decisions those that would be others, or of which nobody knows: 0 to 100."""
        return 100 * (self.changed + self.unknown) / self.decisions if self.decisions else 0.0


def merged(parts: Sequence[Mapping[str, Any]]) -> Outcome:
    """Stored outcomes of an instance, its own first, as one: what is there already stays as it is."""
    destinations: dict[str, tuple[str, int, str]] = {}
    for part in parts:
        priority = part.get("priority", "normal")
        for name, terms in part.get("destinations", {}).items():
            destinations.setdefault(name, (terms.get("edits", ""), terms.get("not_before", 0), priority))
    own = parts[0] if parts else {}
    return Outcome(
        destinations,
        own.get("archive"),
        frozenset(own.get("renditions", ())),
        frozenset(each for part in parts for each in part.get("prefetch", ())),
    )


def replay_study(
    found: Replay,
    instances: Sequence[InstanceDecision],
    later: Sequence[DecisionRow],
    rules: RuleSet,
    *,
    reader: Reader,
    archived: bool,
) -> None:
    """Ask rules about a study that was decided, and add what would be otherwise.

    Parameters
    ----------
    later : sequence of DecisionRow
        Of the study and its series, the last of each.
    archived : bool
        Whether the settings archive what no rule speaks of.
    """
    found.studies += 1
    # What was said before the last time was said of other instances, or by other rules.
    last = max((decided_at(row.decided) for row in later), default=0)
    later = [row for row in later if decided_at(row.decided) == last]
    before = {row.subject: row for row in later}
    members: list[Member] = []
    own: dict[str, Mapping[str, Any]] = {}
    unknown: dict[str, str] = {}
    for each in instances:
        facts = _facts(each, rules, reader)
        try:
            decision = rules.decide(facts, decided_at(each.row.decided))
        except NotRecorded as error:
            unknown[each.facts.instance_id] = error.words
            members.append(Member(each.facts.instance_id, each.facts.series_instance_uid, facts))
            continue
        own[each.facts.instance_id] = outcome(decision)
        members.append(
            Member(each.facts.instance_id, each.facts.series_instance_uid, facts, decision.stopped)
        )
    # At the time of then; where none were asked then, when the last instance had come.
    asked_at = last or max((decided_at(each.row.decided) for each in instances), default=0)
    others, not_recorded = _later(rules, members, asked_at)
    for each in instances:
        found.decisions += 1
        words = unknown.get(each.facts.instance_id, not_recorded)
        if words:
            found.unknown += 1
            found.asked_for[words] += 1
            continue
        old = merged([read(each.row.decided.outcome), *_stored_later(each, before)])
        new = merged([own[each.facts.instance_id], *others.get(each.facts.instance_id, ())])
        _compare(found, each, old, new, archived=archived)


def _facts(each: InstanceDecision, rules: RuleSet, reader: Reader) -> Facts:
    stored = stored_facts(each)
    if not asks_for_more(rules, stored):
        return stored
    return reader(each, rules, stored) or stored


def _later(
    rules: RuleSet, members: Sequence[Member], at_ms: int
) -> tuple[dict[str, list[Mapping[str, Any]]], str]:
    """What rules of series and studies would say, by instance, and what they ask that is not known."""
    others: dict[str, list[Mapping[str, Any]]] = {}
    if not members or not rules.decides_later:
        return others, ""
    try:
        for part in rules.decide_later("", members, at_ms):
            for instance_id, decision in part.of_members.items():
                others.setdefault(instance_id, []).append(outcome(decision))
    except NotRecorded as error:
        return {}, error.words
    return others, ""


def _stored_later(each: InstanceDecision, before: Mapping[str, DecisionRow]) -> Iterator[Mapping[str, Any]]:
    """What was said of its series and its study, of the rules before the one that ended its own."""
    stopped = read(each.row.decided.outcome).get("stopped")
    for subject in (each.facts.series_instance_uid, each.row.study_instance_uid):
        row = before.get(subject)
        if row is None:
            continue
        told = read(row.decided.outcome)
        if stopped is None:
            yield told
        else:
            yield told.get("before", {}).get(str(stopped), {})


def _compare(found: Replay, each: InstanceDecision, old: Outcome, new: Outcome, *, archived: bool) -> None:
    what = old.differs(new)
    if not what:
        return
    gained = tuple(sorted(new.destinations.keys() - old.destinations.keys()))
    lost = tuple(sorted(old.destinations.keys() - new.destinations.keys()))
    nowhere = new.goes_nowhere(archived=archived) and not old.goes_nowhere(archived=archived)
    found.changed += 1
    found.nowhere += nowhere
    found.changed_studies.add(each.row.study_instance_uid)
    found.what.update(what)
    found.gained.update(gained)
    found.lost.update(lost)
    if len(found.changes) < _FEW:
        found.changes.append(
            Change(
                each.row.study_instance_uid, each.facts.sop_instance_uid, tuple(what), gained, lost, nowhere
            )
        )


def total(parts: Iterable[Replay]) -> Replay:
    """Several as one."""
    whole = Replay()
    for part in parts:
        for name in ("decisions", "changed", "unknown", "nowhere", "studies"):
            setattr(whole, name, getattr(whole, name) + getattr(part, name))
        whole.changed_studies |= part.changed_studies
        for name in ("what", "gained", "lost", "asked_for"):
            getattr(whole, name).update(getattr(part, name))
        whole.changes = (whole.changes + part.changes)[:_FEW]
    return whole
