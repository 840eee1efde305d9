"""Conditions: tests in trees of all, any and not, and why one holds. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from dicomrelay.routing import questions
from dicomrelay.routing.facts import NotRecorded, Scope
from dicomrelay.routing.naming import attribute
from dicomrelay.routing.questions import Test
from dicomrelay.settings import RuleCondition

_FIELDS: Final = ("modality", "source_ae_title", "called_ae_title", "sop_class_uid", "transfer_syntax_uid")
ALL: Final = "all"
ANY: Final = "any"
NOT: Final = "not"


class RuleError(ValueError):
    """A rule that cannot be asked; `loc` is where it stands in the settings, as pydantic names places."""

    def __init__(self, message: str, loc: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.loc = loc


@dataclass(frozen=True, slots=True)
class Explained:
    """A node of a condition: whether it holds, None where that is not known, and what a test saw."""

    words: str
    holds: bool | None
    test: Test | None = None
    seen: tuple[str, ...] = ()
    below: tuple[Explained, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """`all`, `any` and `not` of what is below, or one test."""

    kind: str
    below: tuple[Node, ...] = ()
    test: Test | None = None

    def holds(self, scope: Scope) -> bool:
        """Whether it holds. Raises NotRecorded where that depends on what a stored decision does not say."""
        if self.test is not None:
            return self.test.holds(scope)
        if self.kind == NOT:
            return not self.below[0].holds(scope)
        return self._among(scope, settles=self.kind == ANY)

    def _among(self, scope: Scope, *, settles: bool) -> bool:
        """One that is `settles` settles it, also where another is not known."""
        unknown: NotRecorded | None = None
        for node in self.below:
            try:
                if node.holds(scope) is settles:
                    return settles
            except NotRecorded as error:
                unknown = error
        if unknown is not None:
            raise unknown
        return not settles

    def explain(self, scope: Scope) -> Explained:
        """Every node with what became of it, also those that `holds` has no need to ask."""
        try:
            held: bool | None = self.holds(scope)
        except NotRecorded:
            held = None
        if self.test is not None:
            return Explained(self.test.words, held, self.test, tuple(self.test.seen(scope)))
        return Explained(self.kind, held, below=tuple(node.explain(scope) for node in self.below))

    def tests(self) -> Iterator[Test]:
        """All of them, from left to right."""
        if self.test is not None:
            yield self.test
        for node in self.below:
            yield from node.tests()


def compiled(when: RuleCondition, loc: tuple[str | int, ...] = ("when",)) -> Node:
    """A condition of the settings, ready to be asked.

    Raises
    ------
    RuleError
        An attribute is unknown, or a test does not go with it.
    """
    nodes = [Node("test", test=test) for test in _tests(when, loc)]
    if when.all_of is not None:
        nodes.append(_tree(ALL, when.all_of, (*loc, "all")))
    if when.any_of is not None:
        nodes.append(_tree(ANY, when.any_of, (*loc, "any")))
    if when.not_ is not None:
        nodes.append(Node(NOT, (compiled(when.not_, (*loc, "not")),)))
    return nodes[0] if len(nodes) == 1 else Node(ALL, tuple(nodes))


def faults(when: RuleCondition, loc: tuple[str | int, ...] = ("when",)) -> Iterator[RuleError]:
    """Everything for which `compiled` refuses a condition."""
    for name in when.attributes:
        try:
            compiled(RuleCondition(attributes={name: when.attributes[name]}), loc)
        except RuleError as error:
            yield error
    for kind, below in ((ALL, when.all_of), (ANY, when.any_of)):
        for number, each in enumerate(below or ()):
            yield from faults(each, (*loc, kind, number))
    if when.not_ is not None:
        yield from faults(when.not_, (*loc, NOT))


def _tree(kind: str, conditions: Sequence[RuleCondition], loc: tuple[str | int, ...]) -> Node:
    return Node(kind, tuple(compiled(each, (*loc, number)) for number, each in enumerate(conditions)))


def _tests(when: RuleCondition, loc: tuple[str | int, ...]) -> Iterator[Test]:
    for name in _FIELDS:
        patterns = getattr(when, name)
        if patterns is not None:
            yield questions.of_field(name, patterns)
    if when.peer is not None:
        yield questions.of_peer(when.peer)
    if when.bytes is not None:
        yield questions.of_count("bytes", when.bytes, lambda scope: scope.data_set_bytes)
    if when.instances is not None:
        yield questions.of_count("instances", when.instances, lambda scope: len(scope.members))
    if when.time is not None:
        yield questions.of_time(when.time)
    if when.weekday is not None:
        yield questions.of_weekday(when.weekday)
    for name, wanted in when.attributes.items():
        place = (*loc, "attributes", name)
        try:
            yield questions.of_attribute(attribute(name), wanted)
        except ValueError as error:
            raise RuleError(str(error), place) from None
