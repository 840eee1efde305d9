"""Decisions as they are stored, and facts again of what was stored: nothing about a patient among it. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dicomrelay.ledger.values_decisions import Decided, InstanceDecision
from dicomrelay.routing.facts import Facts, NotRecorded, Scope
from dicomrelay.routing.naming import MAX_STORED
from dicomrelay.routing.rules import Decision, Later, RuleSet


def of_instance(rules: RuleSet, facts: Facts, decision: Decision, at_ms: int) -> Decided:
    """The decision of one instance.

    Values of attributes are stored that are not about a patient, and of the others whether each test held.
    """
    return Decided(
        rules.version,
        ", ".join(map(str, decision.rules)),
        _text({"at": at_ms, "from": _origin(facts), **inputs(rules, facts)}),
        _text(outcome(decision)),
        rules.body,
        rules.origin,
    )


def _origin(facts: Facts) -> list[str]:
    """What may be otherwise when the same bytes come again."""
    return [facts.source_ae_title, facts.called_ae_title, facts.peer_address, facts.transfer_syntax_uid]


def of_later(rules: RuleSet, later: Later, at_ms: int) -> Decided:
    """The decision of a series or a study, with what each test of its rules said."""
    asked = {
        test.key: _held(test.holds, later.scope)
        for rule in rules.rules
        if rule.settings.trigger != "instance"
        for test in rule.when.tests()
    }
    told = {
        "at": at_ms,
        "instances": len(later.scope.members),
        "bytes": later.scope.data_set_bytes,
        "tests": {key: held for key, held in asked.items() if held is not None},
    }
    came = outcome(later.decision)
    if later.before:
        came["before"] = {str(stopped): outcome(each) for stopped, each in later.before.items()}
    return Decided(
        rules.version,
        ", ".join(map(str, later.decision.rules)),
        _text(told),
        _text(came),
        rules.body,
        rules.origin,
    )


def _held(holds: Any, scope: Scope) -> bool | None:
    try:
        return bool(holds(scope))
    except NotRecorded:
        return None


def inputs(rules: RuleSet, facts: Facts) -> dict[str, Any]:
    """What was asked of the data set; {} where the rules ask nothing of it."""
    attributes: dict[str, list[str]] = {}
    tests: dict[str, bool] = {}
    for test in rules.attribute_tests.values():
        if test.attribute is None or test.of_one is None:
            continue
        values = facts.attributes.get(test.attribute.tag, ())
        if not values or (test.attribute.may_be_stored and all(len(v) <= MAX_STORED for v in values)):
            attributes[f"{test.attribute.tag:08X}"] = list(values)
        else:
            tests[test.key] = test.of_one(tuple(values))
    return {name: told for name, told in (("attributes", attributes), ("tests", tests)) if told}


def outcome(decision: Decision) -> dict[str, Any]:
    """What came of it; what says nothing is left out."""
    told: dict[str, Any] = {
        "destinations": {
            name: {
                key: value
                for key, value in (
                    ("edits", decision.terms[name].edits),
                    ("not_before", decision.terms[name].not_before_ms),
                )
                if value
            }
            if name in decision.terms
            else {}
            for name in decision.destinations
        },
        "priority": decision.priority.value,
        "archive": decision.archive,
        "renditions": list(decision.renditions),
        "prefetch": list(decision.prefetch),
        "stopped": decision.stopped,
    }
    return {name: value for name, value in told.items() if value not in (None, [], {})}


def stored_facts(instance: InstanceDecision) -> Facts:
    """The facts of then, as far as they were stored."""
    told = read(instance.row.decided.inputs)
    source, called, address, syntax = told.get("from") or (
        instance.calling_ae_title,
        instance.called_ae_title,
        instance.peer_address,
        instance.facts.transfer_syntax_uid,
    )
    return Facts(
        modality=instance.facts.modality,
        source_ae_title=source,
        called_ae_title=called,
        sop_class_uid=instance.facts.sop_class_uid,
        transfer_syntax_uid=syntax,
        peer_address=address,
        data_set_bytes=instance.facts.data_set_bytes,
        attributes={int(tag, 16): tuple(values) for tag, values in told.get("attributes", {}).items()},
        recorded=told.get("tests", {}),
    )


def asks_for_more(rules: RuleSet, facts: Facts) -> bool:
    """Whether stored facts do not say all that these rules ask of a data set."""
    if facts.recorded is None:
        return False
    return any(
        test.attribute is not None
        and test.attribute.tag not in facts.attributes
        and test.key not in facts.recorded
        for test in rules.attribute_tests.values()
    )


def decided_at(decided: Decided) -> int:
    """When the rules were asked, by the clock of the machine that asked: epoch milliseconds."""
    return int(read(decided.inputs).get("at", 0))


def read(text: str) -> Mapping[str, Any]:
    """What was stored; {} of what is none of ours."""
    try:
        told = json.loads(text)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _text(told: Mapping[str, Any]) -> str:
    # ASCII, all else escaped: every database takes it.
    return json.dumps(told, separators=(",", ":"))
