"""Rules of the settings, applied to one instance. Pure: the same facts always go the same way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from dicomrelay.dicom.wildcards import Wildcards
from dicomrelay.ledger.values import Priority
from dicomrelay.routing.facts import Facts
from dicomrelay.settings import DestinationSettings, RuleCondition, RuleSettings

_MOST_URGENT_FIRST = tuple(Priority)


@dataclass(frozen=True, slots=True)
class Decision:
    """Where an instance goes; `rules` are the positions, from 0 as in messages about settings, of those that matched."""

    destinations: tuple[str, ...]
    priority: Priority
    rules: tuple[int, ...]


def decide(
    rules: Sequence[RuleSettings], destinations: Sequence[DestinationSettings], facts: Facts
) -> Decision:
    """Where an instance goes.

    Without rules to every destination that is not for moves only. With rules to the destinations of all the rules that
    match, with the highest of their priorities; when none matches, or those that do send nowhere, to the archive only.
    """
    if not rules:
        wanted_always = tuple(each.name for each in destinations if not each.moves_only)
        return Decision(wanted_always, Priority.NORMAL, ())
    matched = [(number, rule) for number, rule in enumerate(rules) if matches(rule.when, facts)]
    # A dictionary keeps the order and drops repeats.
    wanted = dict.fromkeys(name for _, rule in matched for name in rule.send_to)
    priorities = {Priority(rule.priority) for _, rule in matched} or {Priority.NORMAL}
    return Decision(
        destinations=tuple(wanted),
        priority=min(priorities, key=_MOST_URGENT_FIRST.index),
        rules=tuple(number for number, _ in matched),
    )


def rules_version(rules: Sequence[RuleSettings], destinations: Sequence[DestinationSettings]) -> str:
    """Which rules these are: 16 hexadecimal digits of SHA-256 over them and the names they choose from.

    Evidence says with it by which rules an instance went.
    """
    told = {
        # Without rules those for moves only are none to choose from.
        "destinations": [each.name for each in destinations if rules or not each.moves_only],
        "rules": [rule.model_dump(mode="json") for rule in rules],
    }
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def matches(when: RuleCondition, facts: Facts) -> bool:
    """Whether all that the condition gives holds; letter case and spaces around do not count."""
    return (
        _any_matches(when.modality, facts.modality)
        and _any_matches(when.source_ae_title, facts.source_ae_title)
        and _any_matches(when.called_ae_title, facts.called_ae_title)
        and _any_matches(when.sop_class_uid, facts.sop_class_uid)
    )


def _any_matches(patterns: str | list[str] | None, value: str) -> bool:
    if patterns is None:
        return True
    given = [patterns] if isinstance(patterns, str) else patterns
    return any(glob_matches(pattern, value) for pattern in given)


def glob_matches(pattern: str, value: str) -> bool:
    """Whether a pattern of `*` and `?` matches the whole value. Leading and trailing spaces are not significant (PS3.5 6.2)."""
    return Wildcards(pattern.strip().upper()).matches(value.strip().upper())
