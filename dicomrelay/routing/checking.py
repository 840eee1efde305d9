"""What can be said of rules before they are asked: what they name, and which of them never do anything. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dicomrelay.routing.conditions import ALL, ANY, NOT, Node, compiled, faults
from dicomrelay.settings import RuleSettings
from dicomrelay.settings.places import Loc


@dataclass(frozen=True, slots=True)
class Known:
    """The names that rules may use; None where nothing is known of a kind."""

    destinations: Collection[str]
    edits: Collection[str] = ()
    pulls: Collection[str] = ()
    # Profiles that de-identify, and destinations that have no edits of their own.
    deidentifying: Collection[str] = ()
    unedited: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a rule; an error means that the rules cannot be put in force."""

    loc: Loc
    reason: str
    is_error: bool = False


@dataclass(slots=True)
class _Checked:
    rule: RuleSettings
    number: int
    when: Node | None = None
    facts: frozenset[str] = field(default_factory=frozenset)

    @property
    def loc(self) -> Loc:
        return ("rules", self.number)


def check(rules: Sequence[RuleSettings], known: Known) -> list[Finding]:
    """Everything that is wrong, or looks wrong, in the order of the rules."""
    checked = [_Checked(rule, number) for number, rule in enumerate(rules)]
    found: list[Finding] = []
    for each in checked:
        wrong = _errors(each, known)
        found.extend(wrong)
        if not any(error.loc[2:3] == ("when",) for error in wrong):
            each.when = compiled(each.rule.when, (*each.loc, "when"))
            each.facts = frozenset(_wants(each.when))
        found.extend(_alone(each))
        found.extend(_by_hand(each, known))
    found.extend(_twice(checked))
    found.extend(_behind(checked))
    found.extend(_original_too(checked))
    return sorted(found, key=lambda finding: (finding.loc[1], not finding.is_error))


def check_alone(rules: Mapping[int, RuleSettings], known: Known) -> list[Finding]:
    """The errors of single rules, by their positions, where others beside them cannot be read."""
    return [
        finding
        for number, rule in sorted(rules.items())
        for finding in _errors(_Checked(rule, number), known)
    ]


def _errors(each: _Checked, known: Known) -> list[Finding]:
    wrong = [
        Finding(error.loc, str(error), is_error=True) for error in faults(each.rule.when, (*each.loc, "when"))
    ]
    return [*wrong, *_names(each, known)]


def _names(each: _Checked, known: Known) -> Iterator[Finding]:
    for name in each.rule.send_to:
        if name not in known.destinations:
            yield _unknown(each, "send_to", "destination", name, known.destinations)
    if each.rule.edits is not None and each.rule.edits not in known.edits:
        yield _unknown(each, "edits", "profile in [[edits]]", each.rule.edits, known.edits)
    if each.rule.prefetch is not None and each.rule.prefetch not in known.pulls:
        yield _unknown(each, "prefetch", "entry in [[pulls]]", each.rule.prefetch, known.pulls)


def _unknown(each: _Checked, key: str, what: str, name: str, there: Collection[str]) -> Finding:
    listed = ", ".join(sorted(there)) or "none"
    return Finding((*each.loc, key), f"there is no {what} {name!r}; known: {listed}", is_error=True)


def _alone(each: _Checked) -> Iterator[Finding]:
    rule = each.rule
    if each.when is not None and never_holds(each.when):
        yield Finding((*each.loc, "when"), "never holds: what it asks for cannot be")
    for name in {name for name in rule.send_to if rule.send_to.count(name) > 1}:
        yield Finding((*each.loc, "send_to"), f"names {name!r} twice")
    does = rule.send_to or rule.renditions or rule.prefetch or rule.stop or rule.archive is not None
    if not does and rule.priority != "normal":
        yield Finding((*each.loc, "priority"), "has nothing to hasten: the rule sends nothing")
    if rule.archive is False and not rule.send_to:
        yield Finding(
            (*each.loc, "archive"),
            "what only this rule matches goes nowhere: it stays in the spool, listed as unrouted",
        )


def _by_hand(each: _Checked, known: Known) -> Iterator[Finding]:
    """Names that only a rule keeps back: not every way to a destination asks rules."""
    if each.rule.edits in known.deidentifying:
        for name in each.rule.send_to:
            if name in known.unedited:
                yield Finding(
                    (*each.loc, "edits"),
                    f"{name} has no edits of its own: what is moved (C-MOVE) or replayed there by hand goes as it arrived. With "
                    f"edits = {each.rule.edits!r} at the destination nothing does",
                )


def _twice(checked: Sequence[_Checked]) -> Iterator[Finding]:
    names: dict[str, int] = {}
    for each in checked:
        if not each.rule.name:
            continue
        if each.rule.name in names:
            first = names[each.rule.name]
            yield Finding(
                (*each.loc, "name"), f"{each.rule.name!r} is the name of rule {first} too", is_error=True
            )
        names.setdefault(each.rule.name, each.number)


def _behind(checked: Sequence[_Checked]) -> Iterator[Finding]:
    """Rules that are never asked, for all that they could match ends with one before."""
    for each in checked:
        for before in checked[: each.number]:
            if before.rule.stop and _asked_first(before, each) and before.facts <= each.facts:
                why = "matches everything" if not before.facts else "matches all that this one does"
                yield Finding(each.loc, f"is never asked: rule {before.number} {why}, and says stop")
                break


def _asked_first(before: _Checked, each: _Checked) -> bool:
    """Whether a rule is asked of no more than the other: of one kind, or of the parts of what the other is asked of."""
    if before.when is None or each.when is None:
        return False
    if before.rule.trigger == each.rule.trigger:
        return True
    # Every instance ended there: whatever its series or study is.
    return before.rule.trigger == "instance" and not before.facts


def _original_too(checked: Sequence[_Checked]) -> Iterator[Finding]:
    """A destination that is to get edited copies by one rule, and the original by another."""
    for each in checked:
        for name in each.rule.send_to:
            others = [
                other for other in checked if other.number != each.number and name in other.rule.send_to
            ]
            if each.rule.edits is None:
                edited = [other for other in others if other.rule.edits is not None]
                if edited:
                    yield Finding(
                        (*each.loc, "edits"),
                        f"{name} gets the original by this rule and edited copies by rule {edited[0].number}: where only this "
                        "one matches, nothing is edited",
                    )
            else:
                differ = [
                    other
                    for other in others
                    if other.number < each.number and other.rule.edits not in (None, each.rule.edits)
                ]
                if differ:
                    yield Finding(
                        (*each.loc, "edits"),
                        f"{name} gets {each.rule.edits!r} by this rule and {differ[0].rule.edits!r} by rule {differ[0].number}: "
                        "where both match, the first counts",
                    )


def _wants(node: Node) -> Iterator[str]:
    """What must hold for a condition to hold, each as a text that is the same for the same."""
    if node.test is None and node.kind == ALL:
        for below in node.below:
            yield from _wants(below)
    else:
        yield _shape(node)


def _shape(node: Node) -> str:
    if node.test is not None:
        return node.test.key
    return f"{node.kind}({','.join(sorted(map(_shape, node.below)))})"


def never_holds(node: Node) -> bool:
    """Whether a condition contradicts itself as it stands: an empty list, a test and its `not`, one that never holds in `all`."""
    if node.test is not None:
        return node.test.words.endswith(("= nothing", "= never"))
    if node.kind == ANY:
        return all(map(never_holds, node.below))
    if node.kind == NOT:
        return always_holds(node.below[0])
    wanted = set(_wants(node))
    return any(map(never_holds, node.below)) or any(
        _shape(below.below[0]) in wanted for below in _flat(node) if below.kind == NOT and below.test is None
    )


def _flat(node: Node) -> Iterator[Node]:
    for below in node.below:
        if below.test is None and below.kind == ALL:
            yield from _flat(below)
        else:
            yield below


def always_holds(node: Node) -> bool:
    """Whether a condition asks for nothing."""
    if node.test is not None:
        return False
    if node.kind == ALL:
        return all(map(always_holds, node.below))
    if node.kind == NOT:
        return never_holds(node.below[0])
    return any(map(always_holds, node.below))
