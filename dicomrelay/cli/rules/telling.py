"""Explanations and replays in words and as JSON. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from dicomrelay.cli.operating.words import counted, plural
from dicomrelay.ledger.values_decisions import DecisionRow
from dicomrelay.routing.conditions import Explained
from dicomrelay.routing.facts import Scope
from dicomrelay.routing.recording import read
from dicomrelay.routing.replay import Change, Replay
from dicomrelay.routing.rules import Rule
from dicomrelay.text import shown

_HOLDS: Final = {True: "yes", False: "no", None: "unknown"}
HIDDEN: Final = "(not shown: --verbose shows it)"
_FEW: Final = 5


def rule_lines(rule: Rule, scope: Scope, *, verbose: bool, asked: bool) -> Iterator[str]:
    """A rule with every test and what it saw; values that may be a patient's only on demand."""
    explained = rule.when.explain(scope)
    what = {True: "matches", False: "does not match", None: "not known"}[explained.holds]
    behind = "" if asked else ", not asked: a rule before said stop"
    yield f"rule {rule.shown}, of {rule.settings.trigger}: {what}{behind}"
    of_then = any(each.recorded is not None for each in scope.members)
    yield from _lines(explained, 1, of_then=of_then, verbose=verbose)


def _lines(node: Explained, depth: int, *, of_then: bool, verbose: bool) -> Iterator[str]:
    seen = f"  <- {_seen(node, of_then=of_then, verbose=verbose)}" if node.test is not None else ""
    if node.test is not None or node.words != "all" or depth > 1:
        yield shown(f"{'    ' * depth}{_HOLDS[node.holds]:<8}{node.words}{seen}")
        depth += 1
    for below in node.below:
        yield from _lines(below, depth, of_then=of_then, verbose=verbose)


def _seen(node: Explained, *, of_then: bool, verbose: bool) -> str:
    if node.test is not None and node.test.attribute is not None:
        if node.holds is None:
            return "not stored, and its bytes are not in this house"
        if not node.seen:
            return "nothing, or what is not stored" if of_then else "nothing"
        if not node.test.attribute.may_be_stored and not verbose:
            return HIDDEN
    more = f" and {len(node.seen) - _FEW} more" if len(node.seen) > _FEW else ""
    return ", ".join(repr(each) for each in node.seen[:_FEW]) + more or "nothing"


def node_json(node: Explained, *, verbose: bool) -> dict[str, Any]:
    """The same for machines."""
    told: dict[str, Any] = {"words": node.words, "holds": node.holds}
    if node.test is not None:
        hidden = node.test.attribute is not None and not node.test.attribute.may_be_stored and not verbose
        told["seen"] = None if hidden else list(node.seen)
    if node.below:
        told["below"] = [node_json(below, verbose=verbose) for below in node.below]
    return told


def outcome_words(outcome: Mapping[str, Any], *, archived: bool) -> str:
    """What came of it, in one line."""
    parts = []
    for name, terms in outcome.get("destinations", {}).items():
        how = [f"edited by {terms['edits']}"] if terms.get("edits") else []
        how += ["later"] if terms.get("not_before") else []
        parts.append(name + (f" ({', '.join(how)})" if how else ""))
    if outcome.get("archive", archived):
        parts.append("archive")
    told = [f"to {', '.join(parts) or 'nowhere'}, priority {outcome.get('priority', 'normal')}"]
    told.extend(f"{key} {', '.join(outcome[key])}" for key in ("renditions", "prefetch") if outcome.get(key))
    return ", ".join(told)


def decision_line(row: DecisionRow, *, archived: bool) -> str:
    """A stored decision."""
    rules = f"rules {row.decided.rules}" if row.decided.rules else "no rule"
    about = "" if row.level.value == "instance" else f" of {row.level.value} {row.subject}"
    later = row.level.value != "instance"
    outcome = read(row.decided.outcome)
    words = outcome_words(outcome, archived=archived and not later)
    if later and not outcome.get("destinations"):
        words = "to nowhere else"
    return shown(f"decided{about}: {rules} of version {row.decided.version}: {words}")


def replay_lines(found: Replay, limit: int) -> Iterator[str]:
    """What a replay found: counts first."""
    yield (
        f"{counted(found.decisions, 'decision')} in {plural(found.studies, 'study', 'studies')}: "
        f"{found.changed} would be others ({found.percent:.1f} % with those not known), in "
        f"{plural(len(found.changed_studies), 'study', 'studies')}"
    )
    if found.what:
        yield f"    what: {_counts(found.what)}"
    for name, count in sorted(found.gained.items()):
        yield f"    {name} gains {counted(count, 'instance')}"
    for name, count in sorted(found.lost.items()):
        yield f"    {name} loses {counted(count, 'instance')}"
    if found.nowhere:
        yield f"    {counted(found.nowhere, 'instance')} would go nowhere: no destination, and no archive"
    if found.unknown:
        yield (
            f"    {found.unknown} not known: the rules ask for {_counts(found.asked_for)}, which is not stored, and the bytes "
            "are not in this home"
        )
    for change in found.changes[:limit]:
        yield _change(change)
    if found.changed > limit:
        yield f"    and {found.changed - limit} more: --limit shows more, --json the first thousand"


def _change(change: Change) -> str:
    signs = [f"+{name}" for name in change.gained] + [f"-{name}" for name in change.lost]
    nowhere = ", goes nowhere" if change.nowhere else ""
    what = " ".join([", ".join(change.what), *signs])
    return shown(f"    {change.study_instance_uid}  {change.sop_instance_uid}  {what}{nowhere}")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda each: -each[1]))


def replay_json(found: Replay, version: str) -> dict[str, Any]:
    """The same for machines; the first thousand changes."""
    return {
        "version": version,
        "studies": found.studies,
        "decisions": found.decisions,
        "changed": found.changed,
        "changed_studies": sorted(found.changed_studies),
        "unknown": found.unknown,
        "nowhere": found.nowhere,
        "percent": round(found.percent, 3),
        "what": dict(found.what),
        "gained": dict(found.gained),
        "lost": dict(found.lost),
        "asked_for": dict(found.asked_for),
        "changes": [_change_json(change) for change in found.changes],
    }


def _change_json(change: Change) -> dict[str, Any]:
    return {
        "study_instance_uid": change.study_instance_uid,
        "sop_instance_uid": change.sop_instance_uid,
        "what": list(change.what),
        "gained": list(change.gained),
        "lost": list(change.lost),
        "nowhere": change.nowhere,
    }
