"""The lines that the code may write to the log, read from the calls that write them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path

from tests.support.markdown import ROOT

PACKAGES = ("dicomrelay", "scp_gateway", "workers", "archive", "streamer", "monitor")
LEVELS = ("debug", "info", "warning", "error", "exception", "critical")
# What another module, or a value, says: by the file and the expression in it.
ELSEWHERE: Mapping[tuple[str, str], frozenset[str]] = {
    ("dicomrelay/audit/auditing.py", "entry.kind.value"): frozenset({"action", "login", "refused"}),
    ("dicomrelay/runtime/children.py", "name"): frozenset({"gateway", "streamer"}),
    ("scp_gateway/query/answering.py", "self._name"): frozenset({"query", "worklist"}),
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Line:
    """One `action` of the log, and what its lines may say; the action is "" for lines that have none."""

    action: str
    levels: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    rooms: set[str] = field(default_factory=set)


@cache
def calls() -> tuple[tuple[Line, ...], tuple[str, ...]]:
    """The lines of each call; and the places of calls whose action cannot be read from the code."""
    lines: list[Line] = []
    unread: list[str] = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text("utf-8")
            if "log" in text:
                module = _Module(path.relative_to(ROOT), ast.parse(text))
                lines += module.lines()
                unread += module.unread
    return tuple(lines), tuple(unread)


class _Module:
    def __init__(self, path: Path, tree: ast.Module) -> None:
        self._path = path.as_posix()
        parts = path.parts
        room = "/".join(parts[:2]) if parts[0] == "dicomrelay" else parts[0]
        self._room = room.removesuffix(".py")
        inside = [
            (call, function)
            for function in ast.walk(tree)
            if isinstance(function, Function)
            for call in ast.walk(function)
            if isinstance(call, ast.Call)
        ]
        # Of functions in each other the inner one comes last, and is the one.
        self._calls = list({id(call): (call, function) for call, function in inside}.values())
        self.unread: list[str] = []

    def lines(self) -> Iterator[Line]:
        """Of each call in it."""
        for call, function in self._calls:
            levels = _levels(call, function)
            given = {each.arg: each.value for each in call.keywords if each.arg}
            said = given.pop("action", None)
            if not levels or (said is None and not _is_logger(call)):
                continue
            actions = self._texts(said, function) if said is not None else frozenset({""})
            if not actions:
                self.unread.append(f"{self._path}:{call.lineno}")
            words = self._texts(call.args[0], function) if call.args else frozenset()
            for action in actions:
                yield Line(action, levels, set(words), set(given) - {"exc_info"}, {self._room})

    def _texts(self, value: ast.expr, function: Function) -> frozenset[str]:
        """What an expression may be; nothing when that cannot be read."""
        known = ELSEWHERE.get((self._path, ast.unparse(value)))
        if known is not None:
            return known
        if isinstance(value, ast.Constant):
            return frozenset({value.value}) if isinstance(value.value, str) else frozenset()
        if isinstance(value, ast.IfExp):
            return self._texts(value.body, function) | self._texts(value.orelse, function)
        if isinstance(value, ast.JoinedStr):
            parts = [
                self._texts(each.value if isinstance(each, ast.FormattedValue) else each, function)
                for each in value.values
            ]
            return frozenset("".join(each) for each in product(*parts))
        if isinstance(value, ast.Name):
            return self._of_name(value.id, function)
        return frozenset()

    def _of_name(self, name: str, function: Function) -> frozenset[str]:
        """What the function gives a name; of a parameter what the calls in this module do."""
        assigned = [
            each.value
            for each in ast.walk(function)
            if isinstance(each, ast.Assign)
            and any(isinstance(to, ast.Name) and to.id == name for to in each.targets)
        ]
        if assigned:
            return frozenset().union(*(self._texts(each, function) for each in assigned))
        names = [each.arg for each in function.args.args if each.arg not in {"self", "cls"}]
        if name not in names:
            return frozenset()
        place = names.index(name)
        given = [
            self._texts(call.args[place], caller)
            for call, caller in self._calls
            if _called(call) == function.name and caller is not function and len(call.args) > place
        ]
        return frozenset().union(*given)


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _is_logger(call: ast.Call) -> bool:
    """Whether it is a line although it has no action."""
    if isinstance(call.func, ast.Name):
        return True
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    return isinstance(owner, ast.Name) and owner.id in {"log", "_log"}


def _levels(call: ast.Call, function: Function) -> set[str]:
    """At which a call writes; of `say = _log.info if … else _log.warning` both."""
    if isinstance(call.func, ast.Attribute):
        return {call.func.attr} & set(LEVELS)
    if not isinstance(call.func, ast.Name):
        return set()
    assigned = [
        each.value
        for each in ast.walk(function)
        if isinstance(each, ast.Assign)
        and any(isinstance(to, ast.Name) and to.id == call.func.id for to in each.targets)
    ]
    return {
        part.attr
        for each in assigned
        for part in ast.walk(each)
        if isinstance(part, ast.Attribute)
        and isinstance(part.value, ast.Name)
        and part.value.id in {"log", "_log"}
        and part.attr in LEVELS
    }
