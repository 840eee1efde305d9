"""Rules of the settings, applied to one instance, a series or a study. Pure: the same facts always go the same way.

What the decisions mean is in docs/design/rules.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

from dicomrelay.ledger.values import Priority
from dicomrelay.ledger.values_decisions import Level, Terms
from dicomrelay.routing.beginning import begins_at
from dicomrelay.routing.conditions import Node, compiled
from dicomrelay.routing.facts import Facts, Scope
from dicomrelay.routing.questions import Test, glob_matches
from dicomrelay.settings import DestinationSettings, RuleCondition, RuleSettings
from dicomrelay.settings.windows import Window, parse_window

__all__ = ["Decision", "Later", "Member", "RuleSet", "decide", "glob_matches", "matches", "rules_version"]

_MOST_URGENT_FIRST = tuple(Priority)
_INSTANCE = Level.INSTANCE.value


@dataclass(frozen=True, slots=True)
class Decision:
    """Where an instance goes; `rules` are the positions, from 0 as in messages about settings, of those that matched.

    Attributes
    ----------
    terms : mapping
        How it goes there, by destination.
    archive : bool, optional
        What the rules say of it; None for the settings' word.
    stopped : int, optional
        The position of the rule behind which none is asked.
    """

    destinations: tuple[str, ...]
    priority: Priority
    rules: tuple[int, ...]
    terms: Mapping[str, Terms] = field(default_factory=dict)
    archive: bool | None = None
    renditions: tuple[str, ...] = ()
    prefetch: tuple[str, ...] = ()
    stopped: int | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """An instance of a study that is complete; `stopped` as its own decision has it."""

    instance_id: str
    series_instance_uid: str
    facts: Facts
    stopped: int | None = None


@dataclass(frozen=True, slots=True)
class Later:
    """What the rules of series and studies say of these members: of all of them, and by its id of each.

    `before` has what those say that stand before a rule which ended the instances' own, by its position.
    """

    level: Level
    subject: str
    decision: Decision
    scope: Scope
    of_members: Mapping[str, Decision]
    before: Mapping[int, Decision] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, ready to be asked."""

    position: int
    settings: RuleSettings
    when: Node
    windows: tuple[Window, ...]

    @property
    def shown(self) -> str:
        """Its position, and its name where it has one."""
        return f"{self.position} ({self.settings.name})" if self.settings.name else str(self.position)

    def begins(self, at_ms: int) -> int:
        """When what it sends may begin, decided at `at_ms`; 0 for at once."""
        return begins_at(at_ms, self.settings.delay_s, self.windows)


class RuleSet:
    """Rules, ready to be asked, and the destinations that they choose from.

    Parameters
    ----------
    origin : str
        Where they were read from, for people.

    Raises
    ------
    RuleError
        A rule asks for an attribute that is unknown, or in a way that does not go with it.
    """

    def __init__(
        self, rules: Sequence[RuleSettings], destinations: Sequence[DestinationSettings], *, origin: str = ""
    ) -> None:
        self.origin = origin
        self.settings = tuple(rules)
        self.always = tuple(each.name for each in destinations if not each.moves_only)
        self.version = rules_version(rules, destinations)
        self.body = json.dumps(_told(rules, destinations), sort_keys=True)
        self.rules = tuple(
            Rule(
                number,
                rule,
                compiled(rule.when, ("rules", number, "when")),
                tuple(parse_window(text) for text in rule.windows),
            )
            for number, rule in enumerate(rules)
        )

    @cached_property
    def attribute_tests(self) -> dict[str, Test]:
        """Every test that asks the data set, by its key."""
        found = (test for rule in self.rules for test in rule.when.tests())
        return {test.key: test for test in found if test.attribute is not None}

    @cached_property
    def tags(self) -> tuple[int, ...]:
        """What of a data set is asked, in order."""
        return tuple(sorted({test.attribute.tag for test in self.attribute_tests.values() if test.attribute}))

    @cached_property
    def decides_later(self) -> bool:
        """Whether there are rules of series or studies."""
        return any(rule.settings.trigger != _INSTANCE for rule in self.rules)

    @cached_property
    def makes_renditions(self) -> bool:
        """Whether a rule has renditions made."""
        return any(rule.settings.renditions for rule in self.rules)

    def decide(self, facts: Facts, at_ms: int = 0) -> Decision:
        """What the rules of instances say of one, at a time in epoch milliseconds.

        Raises
        ------
        NotRecorded
            That depends on what a stored decision does not say.
        """
        if not self.rules:
            return Decision(self.always, Priority.NORMAL, ())
        scope = Scope.at((facts,), at_ms)
        own = (rule for rule in self.rules if rule.settings.trigger == _INSTANCE)
        return combined(list(_matching(own, lambda rule: rule.when.holds(scope))), at_ms)

    def edits_where_named(self, name: str, decision: Decision) -> str:
        """The edits of what a person sends to a destination, "" for none: that it gets no original is the rules' word too.

        Those that the rules which match have for it; else, where every rule that sends there has some, those of the first.
        """
        by_rule = decision.terms.get(name)
        if by_rule is not None and by_rule.edits:
            return by_rule.edits
        edits = [rule.settings.edits for rule in self.rules if name in rule.settings.send_to]
        return edits[0] or "" if edits and all(edits) else ""

    def decide_later(self, study_instance_uid: str, members: Sequence[Member], at_ms: int) -> list[Later]:
        """What the rules of series and of studies say of a study that is complete.

        Raises
        ------
        NotRecorded
            As `decide`.
        """
        later = [rule for rule in self.rules if rule.settings.trigger != _INSTANCE]
        if not later or not members:
            return []
        whole = Scope.at([member.facts for member in members], at_ms)
        of_study: dict[int, bool] = {}

        def holds(rule: Rule, scope: Scope) -> bool:
            if rule.settings.trigger != Level.STUDY.value:
                return rule.when.holds(scope)
            if rule.position not in of_study:
                of_study[rule.position] = rule.when.holds(whole)
            return of_study[rule.position]

        found = []
        for level, subject, part in _parts(later, study_instance_uid, members):
            scope = whole if level is Level.STUDY else Scope.at([member.facts for member in part], at_ms)
            matched = list(_matching(later, partial(holds, scope=scope)))
            found.append(_later(level, subject, scope, matched, part, at_ms))
        return found


def _parts(
    later: Sequence[Rule], study: str, members: Sequence[Member]
) -> list[tuple[Level, str, Sequence[Member]]]:
    if not any(rule.settings.trigger == Level.SERIES.value for rule in later):
        return [(Level.STUDY, study, members)]
    series: dict[str, list[Member]] = {}
    for member in members:
        series.setdefault(member.series_instance_uid, []).append(member)
    return [(Level.SERIES, uid, part) for uid, part in series.items()]


def _later(
    level: Level, subject: str, scope: Scope, matched: list[Rule], part: Sequence[Member], at_ms: int
) -> Later:
    by_stop: dict[int | None, Decision] = {None: combined(matched, at_ms)}
    for member in part:
        if member.stopped not in by_stop:
            before = [rule for rule in matched if rule.position < (member.stopped or 0)]
            by_stop[member.stopped] = combined(before, at_ms)
    of_members = {member.instance_id: by_stop[member.stopped] for member in part}
    decision = by_stop.pop(None)
    of_stopped = {stopped: each for stopped, each in by_stop.items() if stopped is not None}
    return Later(level, subject, decision, scope, of_members, of_stopped)


def _matching(rules: Iterable[Rule], holds: Callable[[Rule], bool]) -> Iterator[Rule]:
    """Those that match, up to one that says stop."""
    for rule in rules:
        if holds(rule):
            yield rule
            if rule.settings.stop:
                return


def combined(matched: Sequence[Rule], at_ms: int) -> Decision:
    """What these rules say together."""
    priorities = {Priority(rule.settings.priority) for rule in matched} or {Priority.NORMAL}
    # A dictionary keeps the order and drops repeats.
    wanted = dict.fromkeys(name for rule in matched for name in rule.settings.send_to)
    said = {rule.settings.archive for rule in matched} - {None}
    return Decision(
        destinations=tuple(wanted),
        priority=min(priorities, key=_MOST_URGENT_FIRST.index),
        rules=tuple(rule.position for rule in matched),
        terms={name: _terms(name, matched, at_ms) for name in wanted},
        archive=None if not said else True in said,
        renditions=tuple(dict.fromkeys(each for rule in matched for each in rule.settings.renditions)),
        prefetch=tuple(dict.fromkeys(rule.settings.prefetch for rule in matched if rule.settings.prefetch)),
        stopped=next((rule.position for rule in matched if rule.settings.stop), None),
    )


def _terms(name: str, matched: Sequence[Rule], at_ms: int) -> Terms:
    """The edits of the first rule that has some; the earliest beginning."""
    senders = [rule for rule in matched if name in rule.settings.send_to]
    edits = next((rule.settings.edits for rule in senders if rule.settings.edits), "")
    return Terms(edits, min(rule.begins(at_ms) for rule in senders))


def decide(
    rules: Sequence[RuleSettings], destinations: Sequence[DestinationSettings], facts: Facts
) -> Decision:
    """Where an instance goes.

    Without rules to every destination that is not for moves only. With rules to the destinations of all the rules that
    match, with the highest of their priorities; when none matches, or those that do send nowhere, to the archive only.
    """
    return RuleSet(rules, destinations).decide(facts)


def rules_version(rules: Sequence[RuleSettings], destinations: Sequence[DestinationSettings]) -> str:
    """Which rules these are: 16 hexadecimal digits of SHA-256 over them and the names they choose from.

    Evidence says with it by which rules an instance went.
    """
    text = json.dumps(_told(rules, destinations), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _told(rules: Sequence[RuleSettings], destinations: Sequence[DestinationSettings]) -> dict[str, object]:
    return {
        # Without rules those for moves only are none to choose from.
        "destinations": [each.name for each in destinations if rules or not each.moves_only],
        "rules": [rule.model_dump(mode="json", by_alias=True, exclude_defaults=True) for rule in rules],
    }


def matches(when: RuleCondition, facts: Facts) -> bool:
    """Whether all that the condition gives holds; letter case and spaces around do not count.

    Raises
    ------
    RuleError
        It asks for an attribute that is unknown, or in a way that does not go with it.
    """
    return compiled(when).holds(Scope((facts,)))
